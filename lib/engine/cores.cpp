// SPDX-License-Identifier: MIT
#include "engine/cores.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>
#include <thread>

namespace moshi::engine {
namespace {

/// Cores that the quota of the process's control group pays for, rounded up; 0: no quota. A pool larger than its
/// quota is stopped in the middle of a loop, with all its threads waiting for each other.
int quota_cores() {
  double quota = 0;
  double period = 0;
  std::ifstream current("/sys/fs/cgroup/cpu.max");
  if (current) {
    std::string first;
    if (!(current >> first >> period) || first == "max") return 0;
    quota = std::strtod(first.c_str(), nullptr);
  } else {
    std::ifstream quota_file("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
    std::ifstream period_file("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
    if (!(quota_file >> quota) || !(period_file >> period)) return 0;
  }
  if (quota <= 0 || period <= 0) return 0;
  return static_cast<int>(std::ceil(quota / period));
}

}  // namespace

int available_cores() {
  int cores = static_cast<int>(std::thread::hardware_concurrency());
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof mask, &mask) == 0) cores = CPU_COUNT(&mask);
  if (const int quota = quota_cores(); quota > 0) cores = std::min(cores, quota);
  return std::max(cores, 1);
}

}  // namespace moshi::engine

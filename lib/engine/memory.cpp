// SPDX-License-Identifier: MIT
#include "engine/memory.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <limits>
#include <mutex>
#include <optional>
#include <sstream>
#include <utility>

#include "common/error.h"
#include "engine/environment.h"

namespace moshi::engine {
namespace {

constexpr uint64_t kUnknown = std::numeric_limits<uint64_t>::max();

std::mutex ledger_mutex;
uint64_t promised = 0;  // guarded by ledger_mutex

std::optional<uint64_t> read_number(const std::string& path) {
  std::ifstream file(path);
  uint64_t value = 0;
  if (file >> value) return value;
  return std::nullopt;  // absent, or "max"
}

/// A "key value" line of a file such as memory.stat; "key: value kB" of meminfo reads the same way.
std::optional<uint64_t> read_field(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string name;
    uint64_t value = 0;
    if (words >> name >> value && name == key) return value;
  }
  return std::nullopt;
}

/// What one control group leaves. File pages that nobody used for a while are given up under pressure, so they count
/// as free.
uint64_t group_leaves(const std::string& limit, const std::string& usage, const std::string& stat,
                      const std::string& inactive) {
  const auto most = read_number(limit);
  const auto used = read_number(usage);
  if (!most || !used) return kUnknown;
  const uint64_t reclaimable = std::min(read_field(stat, inactive).value_or(0), *used);
  const uint64_t held = *used - reclaimable;
  return *most > held ? *most - held : 0;
}

/// Calls `visit` with a group's folder and with all those around it, up to and including `root`.
template <class Visit>
void up_the_tree(const std::string& root, std::string path, Visit&& visit) {
  while (!path.empty() && path != "/") {
    visit(root + path);
    path.resize(path.find_last_of('/'));
  }
  visit(root);
}

uint64_t groups_leave(const SystemPaths& paths) {
  uint64_t least = kUnknown;
  std::ifstream groups(paths.proc + "/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    if (controllers.empty()) {
      up_the_tree(paths.cgroup, path, [&](const std::string& at) {
        least = std::min(
            least, group_leaves(at + "/memory.max", at + "/memory.current", at + "/memory.stat", "inactive_file"));
      });
    } else if (("," + controllers + ",").find(",memory,") != std::string::npos) {
      up_the_tree(paths.cgroup + "/memory", path, [&](const std::string& at) {
        least = std::min(least, group_leaves(at + "/memory.limit_in_bytes", at + "/memory.usage_in_bytes",
                                             at + "/memory.stat", "total_inactive_file"));
      });
    }
  }
  return least;
}

}  // namespace

uint64_t free_memory(const SystemPaths& paths) {
  const auto available = read_field(paths.proc + "/meminfo", "MemAvailable:");
  return std::min(available ? *available * 1024 : kUnknown, groups_leave(paths));
}

Reservation::Reservation(Reservation&& other) noexcept : bytes_(std::exchange(other.bytes_, 0)) {}

Reservation& Reservation::operator=(Reservation&& other) noexcept {
  if (this != &other) {
    release();
    bytes_ = std::exchange(other.bytes_, 0);
  }
  return *this;
}

void Reservation::release() noexcept {
  if (!bytes_) return;
  std::lock_guard lock(ledger_mutex);
  promised -= std::exchange(bytes_, 0);
}

uint64_t unreserved_memory() {
  const uint64_t free = environment().free_bytes();
  std::lock_guard lock(ledger_mutex);
  return free > promised ? free - promised : 0;
}

Reservation reserve_memory(uint64_t bytes, const std::string& what) {
  const uint64_t free = environment().free_bytes();
  std::lock_guard lock(ledger_mutex);
  const uint64_t left = free > promised ? free - promised : 0;
  if (bytes > left) {
    throw Error(MOSHI_ERR_NO_MEMORY, what + " needs " + describe_bytes(bytes) + " of memory, and only " +
                                         describe_bytes(left) + " are free: close other sessions or programs");
  }
  promised += bytes;
  return Reservation(bytes);
}

std::string describe_bytes(uint64_t bytes) {
  const char* unit = "kB";
  double value = static_cast<double>(bytes) / 1e3;
  if (value >= 1e6) {
    value /= 1e6;
    unit = "GB";
  } else if (value >= 1e3) {
    value /= 1e3;
    unit = "MB";
  }
  char text[64];
  std::snprintf(text, sizeof text, "%.1f %s (%llu bytes)", value, unit, static_cast<unsigned long long>(bytes));
  return text;
}

}  // namespace moshi::engine

// SPDX-License-Identifier: MIT
//
// How fast the machine reads memory at best: N threads touch every cache line of their part of a gibibyte in huge
// pages. Prints {"gbytes": GB/s}.
//
//   memory-bench [--threads N]
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

namespace {

constexpr size_t kBytes = size_t{1} << 30;
constexpr size_t kLine = 64 / sizeof(uint64_t);
constexpr int kTimes = 9;

uint64_t touch(const uint64_t* from, const uint64_t* to) {
  uint64_t sums[4] = {};
  for (; from + 4 * kLine <= to; from += 4 * kLine) {
    for (size_t i = 0; i < 4; ++i) sums[i] += from[i * kLine];
  }
  return sums[0] + sums[1] + sums[2] + sums[3];
}

double seconds(const uint64_t* words, int threads, std::atomic<uint64_t>& sink) {
  const size_t part = kBytes / sizeof(uint64_t) / static_cast<size_t>(threads);
  std::vector<std::thread> pool;
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < threads; ++i)
    pool.emplace_back([&, i] { sink += touch(words + i * part, words + (i + 1) * part); });
  for (std::thread& thread : pool) thread.join();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc == 3 && strcmp(argv[1], "--threads") == 0 ? std::max(1, atoi(argv[2])) : 1;
  void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 1;
  madvise(memory, kBytes, MADV_HUGEPAGE);
  memset(memory, 1, kBytes);
  std::atomic<uint64_t> sink{0};
  std::array<double, kTimes> times;
  for (double& time : times) time = seconds(static_cast<const uint64_t*>(memory), threads, sink);
  const double least = *std::min_element(times.begin(), times.end());
  printf("{\"gbytes\": %.1f}\n", static_cast<double>(kBytes) / least / 1e9);
  return sink == 0;
}

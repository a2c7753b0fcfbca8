// SPDX-License-Identifier: MIT
#include "kernels/pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace moshi::kernels {
namespace {

TEST(Pool, RunsEveryIndexOnceHoweverManyThreads) {
  for (const int threads : {1, 2, 3, 8}) {
    Pool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (int round = 0; round < 500; ++round) {
      const int count = round % 37;
      std::vector<std::atomic<int>> seen(count);
      pool.run(count, [&](int index) { seen[index].fetch_add(1); });
      for (const auto& times : seen) ASSERT_EQ(times.load(), 1);
    }
  }
}

TEST(Pool, ResultsOfALoopAreVisibleWhenItReturns) {
  Pool pool(4);
  std::vector<int> values(1000);
  for (int round = 1; round < 200; ++round) {
    pool.run(static_cast<int>(values.size()), [&](int index) { values[index] = round * index; });
    for (int i = 0; i < 1000; ++i) ASSERT_EQ(values[i], round * i);
  }
}

TEST(Pool, WorkersThatSleepWakeForTheNextLoop) {
  Pool pool(2);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    std::atomic<int> sum{0};
    pool.run(100, [&](int index) { sum += index; });
    EXPECT_EQ(sum.load(), 4950);
  }
}

}  // namespace
}  // namespace moshi::kernels

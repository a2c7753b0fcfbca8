// SPDX-License-Identifier: MIT
// How many conversations are found, with a model whose steps take a known time.
#include "capacity.h"

#include "helpers.h"
#include "reaper.h"

using server::Capacity;
using server::CapacityProbe;

namespace {

struct Result {
  bool done = false;
  std::optional<Capacity> capacity;
  std::string problem;
};

Result probe() {
  Result result;
  auto running = CapacityProbe::run({}, [&](const Capacity* capacity, std::string problem) {
    result.done = true;
    if (capacity) result.capacity = *capacity;
    result.problem = std::move(problem);
  });
  test::run_until([&] { return result.done; }, 90);
  return result;
}

class Probe : public testing::Test {
 protected:
  void TearDown() override { server::reaper::wait(); }
  const test::FakeCore core;
};

TEST_F(Probe, CarriesManyOfAModelThatTakesNoTime) {
  const Result result = probe();
  ASSERT_TRUE(result.capacity) << result.problem;
  EXPECT_GT(result.capacity->sessions, 1);
  EXPECT_GE(result.capacity->real_time * 0.5, result.capacity->sessions);
}

// Steps of 40 ms, three in a frame one after the other: slower than real time already alone.
TEST_F(Probe, ASlowModelHasOnePlaceAndIsSaidToBeSlow) {
  core.set("STEP_MS", "120");
  const Result result = probe();
  ASSERT_TRUE(result.capacity) << result.problem;
  EXPECT_EQ(result.capacity->sessions, 1);
  EXPECT_EQ(result.capacity->together, 1);
  EXPECT_LT(result.capacity->real_time, 1);
}

TEST_F(Probe, AModelThatFailsIsAProblem) {
  core.set("FAIL_FRAME", "0");
  const Result result = probe();
  EXPECT_FALSE(result.capacity);
  EXPECT_FALSE(result.problem.empty());
}

TEST_F(Probe, WhatDoesNotFitIsNotCounted) {
  core.set("SESSIONS_MAX", "2");
  const Result result = probe();
  ASSERT_TRUE(result.capacity) << result.problem;
  EXPECT_LE(result.capacity->sessions, 2);
}

TEST_F(Probe, CanBeGivenUp) {
  bool called = false;
  auto running = CapacityProbe::run({}, [&](const Capacity*, const std::string&) { called = true; });
  test::run_for(0.05);
  running.reset();
  test::run_for(0.2);
  EXPECT_FALSE(called);
}

}  // namespace

// SPDX-License-Identifier: MIT
// What is played of what came in time, too late, or too early.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "playout.h"

namespace client {
namespace {

constexpr size_t kFrame = 1920, kBlock = 240;
constexpr size_t kBlocks = kFrame / kBlock;
constexpr size_t kMargin = 480;

class PlayoutTest : public ::testing::Test {
 protected:
  void push(float level) { playout.push(std::vector<float>(kFrame, level)); }

  std::vector<float> pull() {
    std::vector<float> block(kBlock);
    playout.pull(block);
    for (const float sample : block) {
      largest_step = std::max(largest_step, std::abs(sample - last));
      last = sample;
    }
    return block;
  }

  void pull(size_t blocks) {
    for (size_t i = 0; i < blocks; ++i) pull();
  }

  /// Frames that come when they should.
  void talk(int frames, float level) {
    for (int i = 0; i < frames; ++i) {
      push(level);
      pull(kBlocks);
    }
  }

  Playout playout{0.3};
  float last = 0, largest_step = 0;
};

TEST_F(PlayoutTest, WaitsForAFrameAndAMargin) {
  pull(3);
  push(0.5f);
  EXPECT_EQ(pull()[kBlock - 1], 0.0f);
  EXPECT_EQ(playout.waiting(), kFrame);
  push(0.5f);
  EXPECT_EQ(pull()[kBlock - 1], 0.5f);
  EXPECT_EQ(playout.waiting(), 2 * kFrame - kBlock);
  EXPECT_EQ(playout.stats().underruns, 0u);
  EXPECT_EQ(playout.stats().concealed, 0u);  // nothing is missing before the beginning
}

TEST_F(PlayoutTest, PlaysAllOfIt) {
  std::vector<float> ramp(10 * kFrame), heard;
  for (size_t i = 0; i < ramp.size(); ++i) ramp[i] = 0.2f + 1e-5f * static_cast<float>(i);
  playout.push(std::span(ramp).first(2 * kFrame));
  for (size_t frame = 2; frame < 10; ++frame) {
    for (size_t i = 0; i < kBlocks; ++i) {
      const auto block = pull();
      heard.insert(heard.end(), block.begin(), block.end());
    }
    playout.push(std::span(ramp).subspan(frame * kFrame, kFrame));
  }
  playout.finish();
  while (playout.waiting() > 0) {
    const auto block = pull();
    heard.insert(heard.end(), block.begin(), block.end());
  }
  ASSERT_EQ(heard.size(), ramp.size());
  for (size_t i = 120; i < ramp.size(); ++i) ASSERT_EQ(heard[i], ramp[i]) << i;
  EXPECT_EQ(playout.stats().underruns, 0u);
}

TEST_F(PlayoutTest, UnderrunIsFadedAndCounted) {
  push(0.5f);
  talk(3, 0.5f);
  pull(2 * kBlocks);
  EXPECT_EQ(playout.stats().underruns, 1u);
  EXPECT_EQ(playout.stats().concealed, kFrame);
  EXPECT_EQ(last, 0.0f);
  EXPECT_EQ(playout.margin(), 2 * kMargin);
  push(0.5f);
  push(0.5f);
  pull(1);
  EXPECT_EQ(last, 0.5f);
  EXPECT_LT(largest_step, 0.03f);  // no clicks
}

TEST_F(PlayoutTest, MarginStaysWithinTheLag) {
  for (int i = 0; i < 30; ++i) {
    push(0.5f);
    push(0.5f);
    push(0.5f);
    pull(4 * kBlocks);
  }
  EXPECT_GT(playout.stats().underruns, 10u);
  EXPECT_LE(playout.margin(), 7200 - 2 * kFrame);
}

TEST_F(PlayoutTest, MarginShrinksAfterALongTime) {
  push(0.5f);
  push(0.5f);
  pull(3 * kBlocks);
  const size_t grown = playout.margin();
  EXPECT_GT(grown, kMargin);
  push(0.5f);
  push(0.5f);
  talk(30 * 25 / 2 + 10, 0.5f);
  EXPECT_LT(playout.margin(), grown);
}

TEST_F(PlayoutTest, TheOldestIsDroppedBeyondTheLag) {
  for (int i = 0; i < 3; ++i) push(0.1f * static_cast<float>(i));
  EXPECT_EQ(playout.stats().dropped, 0u);
  push(0.3f);
  EXPECT_EQ(playout.waiting(), kFrame + kMargin);
  EXPECT_EQ(playout.stats().dropped, 3 * kFrame - kMargin);
  EXPECT_LE(playout.stats().most_waiting, 7200u);
  pull(1);
  push(0.3f);
  pull(10);
  EXPECT_EQ(last, 0.3f);  // the newest
}

TEST_F(PlayoutTest, LagNeverGrows) {
  push(0.5f);
  for (int i = 0; i < 500; ++i) {
    push(0.5f);
    if (i % 10 == 0) push(0.5f);  // a server that is faster than the speaker
    pull(kBlocks);
    EXPECT_LE(playout.waiting(), 7200u);
  }
  EXPECT_GT(playout.stats().dropped, 0u);
  EXPECT_EQ(playout.stats().underruns, 0u);
}

TEST_F(PlayoutTest, SilenceIsSkippedFirst) {
  push(0.5f);
  push(0.5f);
  talk(60, 0.5f);
  const size_t excess = playout.waiting() - kMargin;
  EXPECT_GE(excess, kFrame - kMargin);
  EXPECT_EQ(playout.stats().skipped_silence, 0u);  // somebody speaks
  talk(4, 0.001f);
  EXPECT_GE(playout.stats().skipped_silence, excess - 2 * kBlock);
  EXPECT_LE(playout.waiting(), kMargin + kBlock);
  EXPECT_EQ(playout.stats().dropped, 0u);
  talk(60, 0.5f);
  EXPECT_EQ(playout.stats().underruns, 0u);
}

TEST_F(PlayoutTest, SeamsAreFaded) {
  std::vector<float> ramp(5 * kFrame);
  for (size_t i = 0; i < ramp.size(); ++i) ramp[i] = static_cast<float>(i) / static_cast<float>(ramp.size());
  playout.push(std::span(ramp).first(2 * kFrame));
  pull(2);
  playout.push(std::span(ramp).subspan(2 * kFrame));
  EXPECT_GT(playout.stats().dropped, 0u);
  pull(5);
  EXPECT_GT(last, 0.7f);
  EXPECT_LT(largest_step, 0.01f);
}

TEST_F(PlayoutTest, JitterThatWasNeededIsKept) {
  push(0.001f);
  push(0.001f);
  for (int i = 0; i < 200; ++i) {  // every third frame comes with the next
    if (i % 3 != 1) push(0.001f);
    if (i % 3 == 2) push(0.001f);
    pull(kBlocks);
  }
  EXPECT_LE(playout.stats().underruns, 1u);
}

TEST_F(PlayoutTest, TheRestIsPlayedAtTheEnd) {
  playout.push(std::vector<float>(100, 0.5f));
  pull(1);
  EXPECT_EQ(playout.waiting(), 100u);
  playout.finish();
  pull(1);
  EXPECT_EQ(playout.waiting(), 0u);
  pull(20);
  EXPECT_EQ(playout.stats().underruns, 0u);
  EXPECT_EQ(playout.stats().concealed, 0u);
}

}  // namespace
}  // namespace client

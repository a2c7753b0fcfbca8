// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <vector>

#include "lm/token_ring.h"
#include "moshi/core.h"

namespace moshi::lm {
namespace {

constexpr int32_t kText = 100;  // the initial tokens
constexpr int32_t kCode = 50;

Config three_by_three() {
  Config config;
  config.n_q = 6;
  config.dep_q = 3;
  config.card = kCode;
  config.text_card = kText;
  config.delays = {0, 0, 1, 1, 0, 1, 1};
  return config;
}

std::vector<int32_t> step(TokenRing& ring, int32_t frame, std::vector<int32_t>* out) {
  const int32_t user[] = {frame, frame + 10, frame + 20};
  ring.write_user(user);
  std::vector<int32_t> input(7);
  ring.read_input(input.data());
  const int32_t made[] = {1000 + frame, 2000 + frame, 3000 + frame, 4000 + frame};
  ring.commit(made);
  out->resize(4);
  ring.read_frame(out->data());
  return input;
}

using Tokens = std::vector<int32_t>;

TEST(TokenRing, LinesUpStreamsByTheirDelays) {
  TokenRing ring(three_by_three());
  Tokens out;
  EXPECT_EQ(step(ring, 0, &out), (Tokens{kText, kCode, kCode, kCode, kCode, kCode, kCode}));
  EXPECT_EQ(out, Tokens(4, MOSHI_TOKEN_NONE));
  EXPECT_EQ(step(ring, 1, &out), (Tokens{1000, 2000, kCode, kCode, 1, kCode, kCode}));
  EXPECT_EQ(out, (Tokens{1000, 2000, 3001, 4001}));
  EXPECT_EQ(step(ring, 2, &out), (Tokens{1001, 2001, 3001, 4001, 2, 11, 21}));
  EXPECT_EQ(out, (Tokens{1001, 2001, 3002, 4002}));
  for (int frame = 3; frame < 50; ++frame) {
    EXPECT_EQ(step(ring, frame, &out),
              (Tokens{999 + frame, 1999 + frame, 2999 + frame, 3999 + frame, frame, frame + 9, frame + 19}));
    EXPECT_EQ(out, (Tokens{999 + frame, 1999 + frame, 3000 + frame, 4000 + frame}));
  }
}

TEST(TokenRing, AResetForgetsEverything) {
  TokenRing ring(three_by_three());
  Tokens out;
  for (int frame = 0; frame < 5; ++frame) step(ring, frame, &out);
  ring.reset();
  EXPECT_EQ(step(ring, 7, &out), (Tokens{kText, kCode, kCode, kCode, kCode, kCode, kCode}));
  EXPECT_EQ(out, Tokens(4, MOSHI_TOKEN_NONE));
}

TEST(TokenRing, WithoutDelaysTheFirstStepHasAFrame) {
  Config config = three_by_three();
  config.delays.assign(7, 0);
  TokenRing ring(config);
  Tokens out;
  step(ring, 0, &out);
  EXPECT_EQ(out, (Tokens{1000, 2000, 3000, 4000}));
}

TEST(TokenRing, NoUserFrameFeedsNothing) {
  TokenRing ring(three_by_three());
  Tokens out;
  step(ring, 0, &out);
  step(ring, 1, &out);
  ring.write_user(nullptr);
  Tokens input(7);
  ring.read_input(input.data());
  EXPECT_EQ(input[4], MOSHI_TOKEN_ZERO);
  EXPECT_EQ(input[5], 11);
}

}  // namespace
}  // namespace moshi::lm

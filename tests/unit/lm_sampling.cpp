// SPDX-License-Identifier: MIT
#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

#include "lm/philox.h"
#include "lm/sampling.h"

namespace moshi::lm {
namespace {

TEST(Philox, GivesItsAuthorsKnownAnswers) {
  using Four = std::array<uint32_t, 4>;
  EXPECT_EQ(philox(0, {0, 0, 0, 0}), (Four{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox(~uint64_t{0}, {~0u, ~0u, ~0u, ~0u}), (Four{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox(0x299f31d0a4093822, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}),
            (Four{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(StableLog, IsTheLogarithm) {
  for (double x = 1e-300; x < 1e300; x *= 1.7)
    EXPECT_NEAR(stable_log(x), std::log(x), 1e-13 * (1 + std::fabs(std::log(x))));
  for (double x = 0.9; x < 1.1; x += 0.001) EXPECT_NEAR(stable_log(x), std::log(x), 1e-15);
}

class SamplerTest : public testing::Test {
 protected:
  /// How often each token is drawn over `draws` steps.
  std::vector<int> counts(const std::vector<float>& logits, float temperature, int top_k, int draws) {
    std::vector<int> result(logits.size());
    for (int step = 0; step < draws; ++step) {
      ++result[sampler_.draw(logits.data(), static_cast<int>(logits.size()), temperature, top_k, {7, step, 3})];
    }
    return result;
  }

  Sampler sampler_{kernels::select_kernels()};
};

TEST_F(SamplerTest, FollowsTheDistribution) {
  const std::vector<float> logits{0.3f, -1.0f, 2.0f, 0.9f, -3.0f, 1.5f};
  const float temperature = 0.8f;
  constexpr int kDraws = 20000;
  const std::vector<int> drawn = counts(logits, temperature, 0, kDraws);
  double total = 0;
  for (const float logit : logits) total += std::exp(logit / temperature);
  double chi_square = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    const double expected = kDraws * std::exp(logits[i] / temperature) / total;
    chi_square += (drawn[i] - expected) * (drawn[i] - expected) / expected;
  }
  EXPECT_LT(chi_square, 20.5);  // five degrees of freedom: one in a thousand
}

TEST_F(SamplerTest, TopKTakesNoOther) {
  const std::vector<float> logits{0.0f, 3.0f, 1.0f, 2.9f, 1.0f, 1.0f};
  const std::vector<int> drawn = counts(logits, 2.0f, 3, 3000);
  EXPECT_GT(drawn[1], 0);
  EXPECT_GT(drawn[3], 0);
  EXPECT_GT(drawn[2], 0) << "of equals the first";
  EXPECT_EQ(drawn[0] + drawn[4] + drawn[5], 0);
  EXPECT_EQ(counts(logits, 2.0f, 1, 100)[1], 100);
}

TEST_F(SamplerTest, DependsOnSeedStepAndStreamAlone) {
  std::vector<float> logits(500, 0.0f);
  const auto draw = [&](uint64_t seed, int64_t step, int stream) {
    return sampler_.draw(logits.data(), static_cast<int>(logits.size()), 1.0f, 0, {seed, step, stream});
  };
  EXPECT_EQ(draw(1, 2, 3), draw(1, 2, 3));
  std::set<int> different;
  for (int i = 0; i < 20; ++i) different.insert({draw(1 + i, 2, 3), draw(1, 100 + i, 3), draw(1, 2, 4 + i)});
  EXPECT_GT(different.size(), 40u);
  EXPECT_NE(draw(1, 5, 0), draw(1, 5 + (int64_t{1} << 32), 0));
}

TEST_F(SamplerTest, GreedyTakesTheFirstOfEquals) {
  const std::vector<float> logits{1.0f, 4.0f, 2.0f, 4.0f};
  EXPECT_EQ(sampler_.greedy(logits.data(), 4), 1);
}

}  // namespace
}  // namespace moshi::lm

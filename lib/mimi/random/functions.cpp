// SPDX-License-Identifier: MIT
#include "mimi/random/functions.h"

#include <bit>
#include <cmath>
#include <cstdint>

namespace moshi::mimi::random {
namespace {

constexpr double kLog2High = 6.93147180369123816490e-01;  // ln 2 in two parts, the first with trailing zero bits
constexpr double kLog2Low = 1.90821492927058770002e-10;
constexpr double kHalfPiHigh = 1.57079632673412561417e+00;  // pi / 2 likewise
constexpr double kHalfPiLow = 6.07710050650619224932e-11;

double power_of_two(int64_t exponent) { return std::bit_cast<double>(static_cast<uint64_t>(exponent + 1023) << 52); }

double sine_near_zero(double x) {
  const double s = x * x;
  double sum = 1.0;
  for (int n = 15; n >= 3; n -= 2) sum = 1.0 - s / (n * (n - 1)) * sum;
  return x * sum;
}

double cosine_near_zero(double x) {
  const double s = x * x;
  double sum = 1.0;
  for (int n = 16; n >= 2; n -= 2) sum = 1.0 - s / (n * (n - 1)) * sum;
  return sum;
}

/// sin(x + quarters * pi / 2)
double shifted_sine(double x, int quarters) {
  const double turns = std::floor(x * 6.36619772367581382433e-01 + 0.5);
  const double rest = (x - turns * kHalfPiHigh) - turns * kHalfPiLow;
  const auto quadrant = static_cast<int>((static_cast<int64_t>(turns) + quarters) & 3);
  const double value = quadrant & 1 ? cosine_near_zero(rest) : sine_near_zero(rest);
  return quadrant & 2 ? -value : value;
}

}  // namespace

double exponential(double x) {
  if (x < -700.0) return 0.0;
  if (x > 700.0) x = 700.0;
  const double exponent = std::floor(x * 1.44269504088896338700e+00 + 0.5);
  const double rest = (x - exponent * kLog2High) - exponent * kLog2Low;
  double sum = 1.0;
  for (int n = 13; n >= 1; --n) sum = 1.0 + rest / n * sum;
  return sum * power_of_two(static_cast<int64_t>(exponent));
}

double logarithm(double x) {
  auto bits = std::bit_cast<uint64_t>(x);
  auto exponent = static_cast<int64_t>(bits >> 52) - 1023;
  double mantissa = std::bit_cast<double>((bits & 0xfffffffffffffu) | uint64_t{1023} << 52);
  if (mantissa > 1.4) {
    mantissa *= 0.5;
    ++exponent;
  }
  const double s = (mantissa - 1.0) / (mantissa + 1.0);
  double sum = 0.0;
  for (int n = 23; n >= 1; n -= 2) sum = sum * s * s + 1.0 / n;
  return 2.0 * s * sum + static_cast<double>(exponent) * (kLog2High + kLog2Low);
}

double sine(double x) { return shifted_sine(x, 0); }
double cosine(double x) { return shifted_sine(x, 1); }

// Abramowitz and Stegun, 7.1.26.
double error_function(double x) {
  const double a = x < 0.0 ? -x : x;
  const double t = 1.0 / (1.0 + 0.3275911 * a);
  const double polynomial =
      ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  const double value = 1.0 - polynomial * exponential(-a * a);
  return x < 0.0 ? -value : value;
}

}  // namespace moshi::mimi::random

// SPDX-License-Identifier: MIT
#include "nn/rope.h"

#include <cmath>

#include "nn/rope_frequencies.h"

namespace moshi::nn {
namespace {

// pi / 2 in three parts; the first two have trailing zeros, so that products with whole numbers below 2^30 are exact.
constexpr double kHalfPi1 = 0x1.921fb54400000p+0;
constexpr double kHalfPi2 = 0x1.0b4611a600000p-34;
constexpr double kHalfPi3 = 0x1.3198a2e037073p-69;

// Taylor polynomials: on [-pi/4, pi/4] their error is below the rounding to f32 by far.
double sine_of(double r) {
  const double s = r * r;
  double p = 1.0 / 6227020800.0;
  p = p * s - 1.0 / 39916800.0;
  p = p * s + 1.0 / 362880.0;
  p = p * s - 1.0 / 5040.0;
  p = p * s + 1.0 / 120.0;
  p = p * s - 1.0 / 6.0;
  return r + r * s * p;
}

double cosine_of(double r) {
  const double s = r * r;
  double p = 1.0 / 479001600.0;
  p = p * s - 1.0 / 3628800.0;
  p = p * s + 1.0 / 40320.0;
  p = p * s - 1.0 / 720.0;
  p = p * s + 1.0 / 24.0;
  p = p * s - 0.5;
  return 1.0 + s * p;
}

}  // namespace

void sin_cos(double angle, float* sine, float* cosine) {
  const double quadrant = std::floor(angle * (2.0 / 3.14159265358979323846) + 0.5);
  const double r = ((angle - quadrant * kHalfPi1) - quadrant * kHalfPi2) - quadrant * kHalfPi3;
  const double s = sine_of(r);
  const double c = cosine_of(r);
  switch (static_cast<int64_t>(quadrant) & 3) {
    case 0:
      *sine = static_cast<float>(s);
      *cosine = static_cast<float>(c);
      break;
    case 1:
      *sine = static_cast<float>(c);
      *cosine = static_cast<float>(-s);
      break;
    case 2:
      *sine = static_cast<float>(-s);
      *cosine = static_cast<float>(-c);
      break;
    default:
      *sine = static_cast<float>(-c);
      *cosine = static_cast<float>(s);
      break;
  }
}

Rope::Rope(int head_dim, float max_period, bool interleaved)
    : frequencies_(rope_frequencies(head_dim, max_period)), interleaved_(interleaved) {}

void Rope::angles(int64_t position, float* cos_sin) const {
  const int count = half();
  for (int i = 0; i < count; ++i) {
    const float angle = static_cast<float>(position) * frequencies_[i];
    sin_cos(angle, &cos_sin[count + i], &cos_sin[i]);
  }
}

void Rope::rotate(const float* cos_sin, float* head) const {
  const int count = half();
  for (int i = 0; i < count; ++i) {
    float& real = interleaved_ ? head[2 * i] : head[i];
    float& imaginary = interleaved_ ? head[2 * i + 1] : head[count + i];
    const float c = cos_sin[i];
    const float s = cos_sin[count + i];
    const float rotated = real * c - imaginary * s;
    imaginary = real * s + imaginary * c;
    real = rotated;
  }
}

void add_sin_embedding(int64_t position, float max_period, int width, float* x) {
  const int half = width / 2;
  for (int i = 0; i < half; ++i) {
    const float exponent = static_cast<float>(i) / static_cast<float>(half - 1);
    const auto period = static_cast<float>(std::pow(static_cast<double>(max_period), static_cast<double>(exponent)));
    float sine, cosine;
    sin_cos(static_cast<float>(position) / period, &sine, &cosine);
    x[i] += cosine;
    x[half + i] += sine;
  }
}

}  // namespace moshi::nn

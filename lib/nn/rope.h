// SPDX-License-Identifier: MIT
// Positional rotations and embeddings, in the reference's f32 arithmetic: angle = position * frequency, both f32.
#pragma once

#include <cstdint>
#include <vector>

namespace moshi::nn {

/// cos and sin of positions times exp(-ln(max_period) * 2 i / head_dim), i below head_dim / 2.
class Rope {
 public:
  /// `interleaved`: pairs are (2i, 2i + 1); otherwise (i, i + head_dim / 2).
  Rope(int head_dim, float max_period, bool interleaved);

  int half() const { return static_cast<int>(frequencies_.size()); }
  /// Writes half() cosines, then half() sines.
  void angles(int64_t position, float* cos_sin) const;
  /// Rotates one head in place.
  void rotate(const float* cos_sin, float* head) const;

 private:
  std::vector<float> frequencies_;
  bool interleaved_;
};

/// Adds the sinusoidal embedding of `position` to `x`: cosines of position / max_period^(i / (half - 1)), then sines.
void add_sin_embedding(int64_t position, float max_period, int width, float* x);

/// Sine and cosine of a non-negative angle below 2^40, rounded to f32; the same bits on every machine.
void sin_cos(double angle, float* sine, float* cosine);

}  // namespace moshi::nn

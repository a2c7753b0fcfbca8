// SPDX-License-Identifier: MIT
// The shape of a streaming transformer.
#pragma once

namespace moshi::nn {

/// How positions enter: rotating queries and keys (by interleaved pairs, or by halves), adding a sine to the input of
/// the first layer, or both.
enum class Positional { kNone, kRope, kRopeConcat, kSin, kSinRope };

/// kRope and kSinRope rotate interleaved pairs, kRopeConcat halves.
constexpr bool uses_rope(Positional positional) {
  return positional == Positional::kRope || positional == Positional::kRopeConcat || positional == Positional::kSinRope;
}

constexpr bool adds_sine(Positional positional) {
  return positional == Positional::kSin || positional == Positional::kSinRope;
}

struct TransformerConfig {
  int d_model = 512;
  int num_heads = 8;
  int num_layers = 8;
  int context = 250;  ///< steps; also the capacity of the key-value ring
  float max_period = 10000.0f;
  int dim_feedforward = 2048;
  bool layer_scale = true;
  Positional positional = Positional::kRope;
  int input_dimension = 512;
  int output_dimension = 512;
};

}  // namespace moshi::nn

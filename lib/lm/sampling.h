// SPDX-License-Identifier: MIT
// Draws a token from logits.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/kernels.h"

namespace moshi::lm {

/// Where a draw stands: what it depends on besides the logits.
struct DrawPlace {
  uint64_t seed = 0;
  int64_t step = 0;  ///< since the conversation's beginning
  int stream = 0;    ///< 0: text, then the own codebooks
};

/// Draws from softmax(logits / temperature) restricted to the `top_k` most likely tokens (0: all), as argmax of
/// logit / temperature plus Gumbel noise, which has the same distribution and needs no normalization. The noise is a
/// function of place and token, so that candidates may be looked at in any order. Reuses its memory.
class Sampler {
 public:
  explicit Sampler(const kernels::Kernels& kernels) : kernels_(kernels) {}

  /// The most likely token, the first of equals.
  int greedy(const float* logits, int count) const { return kernels_.argmax(logits, count); }
  /// `temperature` above 0. Logits must be finite, or -infinity for tokens that are ruled out, but not all of them.
  int draw(const float* logits, int count, float temperature, int top_k, const DrawPlace& place);

 private:
  const kernels::Kernels& kernels_;
  std::vector<float> sorted_;
};

/// Natural logarithm of a positive, normal number to about 1e-15, the same bits on every machine.
double stable_log(double x);

}  // namespace moshi::lm

// SPDX-License-Identifier: MIT
// The layers of Mimi in their plainest form, on a whole signal at once: what the random model is scaled with. Apart
// from lib/kernels and lib/nn on purpose, so that a model made from a seed does not change when those do. Every
// result is the same bits on every machine and for every number of threads: sums run in one fixed order.
#pragma once

#include <cstddef>
#include <vector>

namespace moshi::mimi::random {

/// Time-major: data[step * width + channel].
struct Signal {
  Signal() = default;
  Signal(size_t steps_, size_t width_) : steps(steps_), width(width_), data(steps_ * width_) {}
  size_t steps = 0;
  size_t width = 0;
  std::vector<float> data;

  float* row(size_t step) { return data.data() + step * width; }
  const float* row(size_t step) const { return data.data() + step * width; }
};

enum class Padding { kZeros, kReplicate };

/// weight: [out][in][kernel]. Causal, no bias. `x.steps` must be a multiple of `stride`.
Signal convolve(const Signal& x, const std::vector<float>& weight, size_t out, size_t kernel, size_t stride,
                size_t dilation, Padding padding, int threads);
/// weight: [in][out][2 * stride]. The steps beyond x.steps * stride are cut.
Signal convolve_transposed(const Signal& x, const std::vector<float>& weight, size_t out, size_t stride, int threads);
/// weight: [width][1][2 * stride], each channel by itself.
Signal upsample(const Signal& x, const std::vector<float>& weight, size_t stride);
/// weight: [out][in].
Signal linear(const Signal& x, const std::vector<float>& weight, size_t out, int threads);

void elu(Signal& x);
void gelu(Signal& x);
Signal layer_norm(const Signal& x, const std::vector<float>& weight, const std::vector<float>& bias);
/// x += scale * update; an empty scale is 1.
void add(Signal& x, const Signal& update, const std::vector<float>& scale = {});

struct AttentionShape {
  size_t heads = 1;
  size_t context = 1;
  double max_period = 10000.0;
  enum { kNone, kInterleaved, kHalves } rotation = kNone;
};
/// `projected` is [steps][3 * width]: queries, keys, values. Causal, over the last `context` steps.
Signal attend(const Signal& projected, const AttentionShape& shape);
/// Adds cosines (first half of the channels) and sines of the positions.
void add_sine_positions(Signal& x, double max_period);

}  // namespace moshi::mimi::random

// SPDX-License-Identifier: MIT
// The codec's streaming transformer: pre-norm layers of causal attention over a ring of `context` steps and a GELU
// feed-forward, with layer scale.
//
// The ring follows the reference at one frame per call: all steps of a frame are written before the first of them
// attends, so that with several steps a frame the early ones have lost their oldest keys. Query q of a frame whose last
// step is L sees the keys at positions p with L - context < p <= q. However frames are grouped into calls, that is the
// result.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/tensor_source.h"
#include "nn/context.h"
#include "nn/kv_ring.h"
#include "nn/rope.h"
#include "nn/stream_buffer.h"
#include "nn/transformer_config.h"

namespace moshi::nn {

class Transformer {
 public:
  Transformer(const TransformerConfig& config, const checkpoint::TensorSource& source, const std::string& name,
              int steps_per_frame, kernels::Arena& arena, StateLayout& layout);

  StreamBuffer input;  ///< [steps][input_dimension]

  void begin(std::span<const Part> parts);
  /// Writes rows of output_dimension to `out`, which must have as many rows per frame.
  void compute(Context& context, std::span<const Part> parts, StreamBuffer& out);

  const KvRing& ring() const { return ring_; }
  int layers() const { return static_cast<int>(layers_.size()); }
  int heads() const { return heads_; }
  /// Where in a stream's state the ring of a layer's head is.
  size_t ring_offset(int layer, int head) const { return layers_[layer].rings + head * ring_.floats(); }

 private:
  struct Layer {
    kernels::PackedMatrix qkv, out, up, down;
    const float *norm1_weight, *norm1_bias, *norm2_weight, *norm2_bias;
    const float *scale1 = nullptr, *scale2 = nullptr;
    size_t rings = 0;
  };

  void load_layer(const TransformerConfig& config, const checkpoint::TensorSource& source, const std::string& name,
                  kernels::Arena& arena, StateLayout& layout);
  void embed_positions(std::span<const Part> parts);
  void run_layer(Context& context, std::span<const Part> parts, const Layer& layer);
  void attend(Context& context, std::span<const Part> parts, const Layer& layer);
  void attend_head(const Context& context, const Part& part, int first_row, const Layer& layer, int head,
                   float* scores);
  void norm_rows(Context& context, const float* weight, const float* bias);
  void product(Context& context, const float* in, int in_width, kernels::GemmCall call, float* out, float* residual);

  int width_;
  int heads_;
  int steps_per_frame_;
  int feed_forward_;
  Positional positional_;
  float max_period_;
  Rope rope_;
  KvRing ring_;
  kernels::PackedMatrix input_projection_, output_projection_;
  std::vector<Layer> layers_;

  // Activations of the current call, [row][width].
  int rows_ = 0;
  std::vector<float> x_, normed_, qkv_, attended_, hidden_, cos_sin_, scores_;
};

}  // namespace moshi::nn

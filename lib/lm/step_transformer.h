// SPDX-License-Identifier: MIT
// A transformer that runs one step of many streams at a time: the temporal transformer over frames, and the depth
// transformer over the codebooks of one frame. Pre-norm layers of causal attention over a ring, cross-attention where
// the model has it, and a feed-forward.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lm/layers.h"
#include "nn/kv_ring.h"
#include "nn/rope.h"

namespace moshi::lm {

/// What a stream attends to besides itself: keys and values of every layer and head, made once from its conditions.
struct CrossMemory {
  int count = 0;             ///< positions; 0: nothing
  std::vector<float> rings;  ///< [layer][head], each a KvRing of `count` slots
};

/// One stream of a step.
struct Branch {
  std::byte* rings = nullptr;  ///< ring_bytes(), zero before position 0
  int64_t position = 0;
  const CrossMemory* cross = nullptr;
};

class StepTransformer {
 public:
  /// `sets`: sets of weights that steps choose from; 0: one set, whose tensors have no index in their names.
  StepTransformer(const TransformerShape& shape, const std::string& name, int sets, bool bf16_rings,
                  LayerLoader& loader);

  /// Memory of a branch's rings.
  static size_t ring_bytes(const TransformerShape& shape, bool bf16_rings);
  /// Memory of a CrossMemory of `count` positions.
  static size_t cross_bytes(const TransformerShape& shape, int count);
  size_t ring_bytes() const { return static_cast<size_t>(rings()) * ring_.bytes(); }
  const nn::KvRing& ring() const { return ring_; }
  /// Rings in a branch's state, in order: [layer][key-value head].
  int rings() const { return shape_.layers * shape_.kv_heads(); }

  /// x [branch][dim], in place, with the weights of `set`.
  void step(Workspace& work, std::span<const Branch> branches, int set, float* x);
  /// Keys and values of `count` rows of `source` [count][dim] for every layer.
  CrossMemory project_cross(Workspace& work, const float* source, int count) const;

 private:
  struct WeightSet {
    LinearLayer qkv, out;
    FeedForward feed_forward;
  };
  struct Layer {
    NormLayer norm1, norm2;
    const float *scale1 = nullptr, *scale2 = nullptr;
    std::vector<WeightSet> sets;

    NormLayer cross_norm;
    kernels::PackedMatrix cross_query, cross_key_value;
    LinearLayer cross_out;
    const float* cross_scale = nullptr;
  };

  Layer load_layer(LayerLoader& loader, const std::string& name, int sets) const;
  void load_cross(LayerLoader& loader, const std::string& name, Layer& layer) const;
  void place(std::span<const Branch> branches, float* x);
  void attend(Workspace& work, std::span<const Branch> branches, int layer);
  void attend_head(const kernels::Kernels& kernels, const Branch& branch, int row, int layer, int kv_head,
                   float* scores);
  void attend_cross(Workspace& work, std::span<const Branch> branches, int layer, float* x);
  void attend_cross_head(const kernels::Kernels& kernels, const CrossMemory& memory, int row, int layer, int head,
                         float* scores);
  void normalize(Workspace& work, int rows, const NormLayer& norm, const float* x);
  float* attended(int row, int head) {
    return &attended_[static_cast<size_t>(row) * shape_.dim + head * shape_.head_dim()];
  }

  TransformerShape shape_;
  nn::Rope rope_;
  nn::KvRing ring_;
  std::vector<Layer> layers_;

  std::vector<float> normed_, qkv_, attended_, hidden_, cos_sin_;
};

}  // namespace moshi::lm

// SPDX-License-Identifier: MIT
// Token embeddings: a table, after it a norm or a low-rank projection, or two projections for two texts in one token.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lm/layers.h"

namespace moshi::lm {

struct EmbeddingShape {
  bool norm = false;
  bool low_rank = false;
  /// A token holds two texts: left + rows * (right + 1), where right -1 is none.
  bool demux = false;
};

class Embedding {
 public:
  void load(LayerLoader& loader, const std::string& name, const EmbeddingShape& shape, int dim);
  /// Adds the embedding of one token for each row to `x` [row][dim]. -1 adds nothing.
  void add(Workspace& work, std::span<const int32_t> tokens, RowBlock x);
  /// Token `token` is looked up as `other`.
  void alias(int32_t token, int32_t other) {
    aliased_ = token;
    alias_ = other;
  }

 private:
  void look_up(const kernels::Kernels& kernels, int row, float* out) const;
  void add_rows(Workspace& work, std::span<const int32_t> rows, const LinearLayer& projection, RowBlock x);

  EmbeddingShape shape_;
  int dim_ = 0;
  int32_t aliased_ = -1, alias_ = -1;
  PackedTable table_;
  NormLayer norm_;
  LinearLayer low_rank_, out1_, out2_;
  std::vector<float> looked_up_;
  std::vector<int32_t> left_, right_;
};

}  // namespace moshi::lm

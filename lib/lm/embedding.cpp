// SPDX-License-Identifier: MIT
#include "lm/embedding.h"

#include <algorithm>

namespace moshi::lm {

void Embedding::load(LayerLoader& loader, const std::string& name, const EmbeddingShape& shape, int dim) {
  shape_ = shape;
  dim_ = dim;
  table_ = loader.table(name);
  if (shape.norm) norm_.load(loader, name + ".norm", Norm::kLayerNorm, table_.width);
  if (shape.demux) {
    out1_.load(loader, name + ".out1");
    out2_.load(loader, name + ".out2");
  } else if (shape.low_rank) {
    low_rank_.load(loader, name + ".low_rank");
  }
}

void Embedding::look_up(const kernels::Kernels& kernels, int row, float* out) const {
  if (row == aliased_) row = alias_;
  table_.read(std::min(row, table_.rows - 1), out);
  if (norm_.loaded()) norm_.apply(kernels, out, out);
}

void Embedding::add_rows(Workspace& work, std::span<const int32_t> rows, const LinearLayer& projection, RowBlock x) {
  // A row of zeros gives zeros: the projections have no bias.
  nn::grow(looked_up_, rows.size() * table_.width);
  const RowBlock values{looked_up_.data(), table_.width};
  for (size_t i = 0; i < rows.size(); ++i) {
    float* out = values.row(static_cast<int>(i));
    if (rows[i] < 0) {
      std::fill_n(out, table_.width, 0.0f);
    } else {
      look_up(work.context.kernels, rows[i], out);
    }
  }
  if (projection.loaded()) {
    projection.apply(work, static_cast<int>(rows.size()), values, x, {.add = true});
    return;
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i] >= 0) {
      work.context.kernels.add(x.row(static_cast<int>(i)), values.row(static_cast<int>(i)), dim_);
    }
  }
}

void Embedding::add(Workspace& work, std::span<const int32_t> tokens, RowBlock x) {
  if (!shape_.demux) {
    add_rows(work, tokens, low_rank_, x);
    return;
  }
  left_.clear();
  right_.clear();
  for (const int32_t token : tokens) {
    left_.push_back(token < 0 ? -1 : token % table_.rows);
    right_.push_back(token < 0 ? -1 : token / table_.rows - 1);
  }
  add_rows(work, left_, out1_, x);
  add_rows(work, right_, out2_, x);
}

}  // namespace moshi::lm

// SPDX-License-Identifier: MIT
// The language model's small layers over packed weights: linear with an optional LoRA beside it, norm, feed-forward.
#pragma once

#include <string>
#include <vector>

#include "lm/config.h"
#include "lm/layer_loader.h"
#include "nn/context.h"

namespace moshi::lm {

/// Rows of equal width at a fixed distance.
struct RowBlock {
  float* data = nullptr;
  int stride = 0;  ///< floats from one row to the next

  float* row(int index) const { return data + static_cast<ptrdiff_t>(index) * stride; }
};

/// What every layer needs while it computes; one at a time uses it.
struct Workspace {
  nn::Context& context;
  std::vector<float> low, sum;  ///< a LoRA's inner values, and what it is added to
  std::vector<float> ones;
  std::vector<float> scores;  ///< of attention
};

class LinearLayer {
 public:
  void load(LayerLoader& loader, const std::string& name);
  bool loaded() const { return packed_.weight.n > 0; }
  int out() const { return packed_.weight.n; }

  /// What happens to the product: bias, activation, scale, residual, in this order.
  struct Finish {
    kernels::Activation activation = kernels::Activation::kNone;
    const float* scale = nullptr;  ///< one factor for each column, padded
    bool add = false;              ///< to what is there
  };
  void apply(Workspace& work, int rows, RowBlock in, RowBlock out, const Finish& finish) const;
  void apply(Workspace& work, int rows, RowBlock in, RowBlock out) const { apply(work, rows, in, out, Finish{}); }

 private:
  void apply_with_lora(Workspace& work, int rows, RowBlock in, RowBlock out, const Finish& finish) const;

  PackedLinear packed_;
  const float* bias_ = nullptr;
};

/// The product of `call` over rows of blocks; `residual` is added to it, and may be `out`.
void multiply(Workspace& work, int rows, RowBlock in, kernels::GemmCall call, RowBlock out, const RowBlock* residual);

class NormLayer {
 public:
  void load(LayerLoader& loader, const std::string& name, Norm norm, int width);
  bool loaded() const { return weight_ != nullptr; }
  void apply(const kernels::Kernels& kernels, const float* x, float* y) const;

 private:
  Norm norm_ = Norm::kLayerNorm;
  int width_ = 0;
  const float* weight_ = nullptr;
  const float* bias_ = nullptr;
};

/// x += scale * feed_forward(norm(x)), gated or not.
class FeedForward {
 public:
  /// `name` of the layer that it is part of; `hidden` of this set of weights; `index` below 0 where there is one set.
  void load(LayerLoader& loader, const std::string& name, Gating gating, int hidden, int index);
  int hidden() const { return hidden_; }
  /// `scratch`: 2 * hidden() floats for each row.
  void apply(Workspace& work, int rows, RowBlock normed, RowBlock x, const float* scale, float* scratch) const;

 private:
  Gating gating_ = Gating::kNone;
  int hidden_ = 0;
  LinearLayer first_, second_;
};

}  // namespace moshi::lm

// SPDX-License-Identifier: MIT
// Mimi's layers as LibTorch operators. Each call takes one frame of a batch of rows and moves their state on.
#pragma once

#include <ATen/ATen.h>

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "mimi/config.h"
#include "mimi/row_layout.h"
#include "mimi/seanet_layers.h"
#include "mimi/torch_row.h"
#include "mimi/weights.h"

namespace moshi::mimi {

/// Hands out a model's tensors on the device, in their canonical shapes, and counts what was handed out.
class TorchWeights {
 public:
  TorchWeights(const Config& config, const TensorSource& source, at::Device device,
               std::function<void(int64_t)> on_elements);
  at::Tensor get(const std::string& name);
  size_t bytes() const { return bytes_; }

 private:
  const TensorSource& source_;
  at::Device device_;
  std::map<std::string, std::vector<int64_t>> shapes_;
  std::function<void(int64_t)> on_elements_;
  size_t bytes_ = 0;
};

/// A convolution or transposed convolution, [rows, channels, time] to the same.
class TorchConv {
 public:
  enum class Start { kZeros, kReplicate };  ///< what stands before a stream's first step
  TorchConv(const ConvShape& shape, bool bias, int groups, Start start, TorchWeights& weights, const RowLayout& layout);
  at::Tensor operator()(const at::Tensor& input, RowBatch& rows) const;

 private:
  at::Tensor with_history(const at::Tensor& input, RowBatch& rows) const;

  ConvShape shape_;
  int groups_;
  Start start_;
  at::Tensor weight_;
  at::Tensor bias_;  ///< undefined: none
  size_t entry_ = 0;
};

/// SEANet's encoder or decoder, [rows, channels, time].
class TorchSeanet {
 public:
  TorchSeanet(const std::vector<SeanetLayer>& layers, TorchWeights& weights, const RowLayout& layout);
  at::Tensor operator()(at::Tensor x, RowBatch& rows) const;

 private:
  struct Layer {
    bool residual;
    bool elu;
    std::vector<TorchConv> convs;
  };
  std::vector<Layer> layers_;
};

/// A causal transformer over the latent steps, [rows, channels, time], with its projections.
class TorchTransformer {
 public:
  TorchTransformer(const std::string& name, const TransformerConfig& config, TorchWeights& weights,
                   const RowLayout& layout);
  at::Tensor operator()(const at::Tensor& input, RowBatch& rows) const;

 private:
  struct Layer {
    at::Tensor norm1_weight, norm1_bias, in_proj, out_proj, scale1;
    at::Tensor norm2_weight, norm2_bias, linear1, linear2, scale2;
    size_t keys, values;  ///< entries of the row
  };
  /// What all layers of one frame share.
  struct Frame {
    at::Tensor cosine, sine;  ///< [rows, 1, time, head dimension / 2]
    at::Tensor mask;          ///< [rows, 1, time, context]: which slot of the ring a step sees
  };

  Layer load_layer(const std::string& name, TorchWeights& weights, const RowLayout& layout) const;
  Frame frame(const at::Tensor& positions) const;
  at::Tensor ring_mask(const at::Tensor& positions) const;
  at::Tensor rotate(const at::Tensor& x, const Frame& frame) const;
  at::Tensor sine_embedding(const at::Tensor& positions) const;
  at::Tensor attention(const at::Tensor& x, const Layer& layer, const Frame& frame, RowBatch& rows) const;

  TransformerConfig config_;
  at::Tensor input_proj_;   ///< undefined: none
  at::Tensor output_proj_;  ///< undefined: none
  std::vector<Layer> layers_;
};

/// The split residual quantizer: level 0 semantic, the others acoustic, both on the same latent.
class TorchQuantizer {
 public:
  TorchQuantizer(const QuantizerConfig& config, TorchWeights& weights, bool encode, bool decode);
  /// The nearest codes of the first `codebooks` levels: [rows, channels, 1] to int64 [rows, codebooks].
  at::Tensor encode(const at::Tensor& latent, int codebooks) const;
  /// The latent of codes [rows, levels]; `used` [rows] says how many levels of each row count.
  at::Tensor decode(const at::Tensor& codes, const at::Tensor& used) const;

 private:
  struct Branch {
    at::Tensor input_proj, output_proj;
    std::vector<at::Tensor> tables;  ///< each level's vectors, [bins, dimension]
  };
  static Branch load_branch(const std::string& name, int levels, TorchWeights& weights, bool encode, bool decode);
  static void search(const Branch& branch, const at::Tensor& latent, int levels, std::vector<at::Tensor>& codes);
  static at::Tensor sum(const Branch& branch, const at::Tensor& codes, const at::Tensor& used, int first_level);

  Branch first_;
  Branch rest_;
};

}  // namespace moshi::mimi

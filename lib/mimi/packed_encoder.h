// SPDX-License-Identifier: MIT
// Audio to codes on packed kernels: SEANet, transformer, downsampling, quantizer.
#pragma once

#include <memory>
#include <optional>
#include <span>

#include "mimi/packed_row.h"
#include "mimi/residual_quantizer.h"
#include "mimi/seanet_chain.h"
#include "mimi/tiling.h"
#include "nn/transformer.h"

namespace moshi::mimi {

class PackedEncoder {
 public:
  PackedEncoder(const Config& config, const TensorSource& source, kernels::Arena& arena);

  const std::shared_ptr<PackedShape>& shape() const { return shape_; }
  /// One wave: every item's frames at once.
  void run(nn::Context& context, std::span<const EncodeItem> items);

 private:
  void begin(std::span<const nn::Part> parts);
  void run_tiles(nn::Context& context, const EncodeItem& item, const nn::Part& part, int index);
  void downsample(nn::Context& context, std::span<const nn::Part> parts);

  int frame_samples_;
  std::shared_ptr<PackedShape> shape_;
  std::vector<SeanetLayer> layers_;
  Tiling tiling_;
  SeanetChain tiled_, deep_;
  nn::Transformer transformer_;
  std::optional<nn::Convolution> downsample_;
  nn::StreamBuffer latents_;
  QuantizerEncoder quantizer_;
  std::vector<nn::Part> parts_;
};

}  // namespace moshi::mimi

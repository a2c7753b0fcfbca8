// SPDX-License-Identifier: MIT
// Codes to audio on packed kernels: quantizer, upsampling, transformer, SEANet.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "mimi/packed_row.h"
#include "mimi/residual_quantizer.h"
#include "mimi/seanet_chain.h"
#include "mimi/tiling.h"
#include "nn/transformer.h"

namespace moshi::mimi {

class PackedDecoder {
 public:
  PackedDecoder(const Config& config, const TensorSource& source, kernels::Arena& arena);

  const std::shared_ptr<PackedShape>& shape() const { return shape_; }
  /// One wave: every item's frames at once.
  void run(nn::Context& context, std::span<const DecodeItem> items);

 private:
  void load_upsampling(const Config& config, const TensorSource& source, kernels::Arena& arena);
  void begin(std::span<const nn::Part> parts);
  void upsample(nn::Context& context, std::span<const nn::Part> parts);
  void run_tiles(nn::Context& context, const DecodeItem& item, const nn::Part& part, int index);

  int frame_samples_;
  int steps_per_frame_;
  std::shared_ptr<PackedShape> shape_;
  std::vector<SeanetLayer> layers_;
  Tiling tiling_;
  QuantizerDecoder quantizer_;
  nn::StreamBuffer latents_;                                ///< with the previous frame as history, for the upsampling
  std::vector<const float*> current_taps_, previous_taps_;  ///< of the upsampling, by output step: [dimension]
  nn::Transformer transformer_;
  SeanetChain deep_;
  nn::StreamBuffer boundary_;
  SeanetChain tiled_;
  nn::StreamBuffer samples_;
  std::vector<nn::Part> parts_;
};

}  // namespace moshi::mimi

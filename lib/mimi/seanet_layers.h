// SPDX-License-Identifier: MIT
// The layers of SEANet in execution order, by tensor name: what every backend and the row layout walk along.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mimi/config.h"

namespace moshi::mimi {

/// A causal convolution. Its tensors are `name`.weight and, where it has one, `name`.bias.
struct ConvShape {
  std::string name;
  int in = 0;
  int out = 0;
  int kernel = 1;
  int stride = 1;
  int dilation = 1;
  bool transposed = false;

  /// Input time steps that one call keeps for the next.
  int history() const;
};

/// A convolution, with or without ELU before it; or a residual block.
struct SeanetLayer {
  bool residual = false;
  bool elu = false;              ///< of a convolution; in a residual block both convolutions of the branch have it
  std::vector<ConvShape> convs;  ///< the convolution; or the branch's two, then the shortcut unless it is identity
};

std::vector<SeanetLayer> encoder_layers(const SeanetConfig& config);
std::vector<SeanetLayer> decoder_layers(const SeanetConfig& config);

/// The learnt resampling between latent steps and frames, neither with bias. The downsampling pads a stream's start
/// with copies of its first step; the upsampling is depthwise. Only models with more than one step per frame have them.
ConvShape downsample_shape(const Config& config);
ConvShape upsample_shape(const Config& config);

}  // namespace moshi::mimi

// SPDX-License-Identifier: MIT
#include "mimi/seanet_layers.h"

#include <utility>

namespace moshi::mimi {
namespace {

/// Appends layers under the names of the reference, where every ELU outside a residual block takes a number too.
class Sequence {
 public:
  Sequence(std::string prefix, const SeanetConfig& config) : prefix_(std::move(prefix)), config_(config) {}

  void conv(int in, int out, int kernel, int stride = 1) {
    const bool elu = next_ > 0;
    if (elu) ++next_;
    layers_.push_back({false, elu, {{next_name() + ".conv.conv", in, out, kernel, stride}}});
  }

  void transposed(int in, int out, int stride) {
    ++next_;
    layers_.push_back({false, true, {{next_name() + ".convtr.convtr", in, out, 2 * stride, stride, 1, true}}});
  }

  void residual_blocks(int width) {
    int dilation = 1;
    for (int i = 0; i < config_.n_residual_layers; ++i, dilation *= config_.dilation_base) {
      const std::string name = next_name();
      const int hidden = width / config_.compress;
      SeanetLayer block{true, false, {}};
      block.convs.push_back(
          {name + ".block.1.conv.conv", width, hidden, config_.residual_kernel_size, 1, dilation, false});
      block.convs.push_back({name + ".block.3.conv.conv", hidden, width});
      if (!config_.true_skip) block.convs.push_back({name + ".shortcut.conv.conv", width, width});
      layers_.push_back(std::move(block));
    }
  }

  std::vector<SeanetLayer> take() { return std::move(layers_); }

 private:
  std::string next_name() { return prefix_ + std::to_string(next_++); }

  std::string prefix_;
  const SeanetConfig& config_;
  int next_ = 0;
  std::vector<SeanetLayer> layers_;
};

}  // namespace

int ConvShape::history() const { return transposed ? kernel / stride - 1 : (kernel - 1) * dilation + 1 - stride; }

std::vector<SeanetLayer> encoder_layers(const SeanetConfig& config) {
  Sequence sequence("encoder.model.", config);
  int width = config.n_filters;
  sequence.conv(config.channels, width, config.kernel_size);
  for (auto ratio = config.ratios.rbegin(); ratio != config.ratios.rend(); ++ratio, width *= 2) {
    sequence.residual_blocks(width);
    sequence.conv(width, 2 * width, 2 * *ratio, *ratio);
  }
  sequence.conv(width, config.dimension, config.last_kernel_size);
  return sequence.take();
}

std::vector<SeanetLayer> decoder_layers(const SeanetConfig& config) {
  Sequence sequence("decoder.model.", config);
  int width = config.n_filters << config.ratios.size();
  sequence.conv(config.dimension, width, config.kernel_size);
  for (const int ratio : config.ratios) {
    sequence.transposed(width, width / 2, ratio);
    width /= 2;
    sequence.residual_blocks(width);
  }
  sequence.conv(width, config.channels, config.last_kernel_size);
  return sequence.take();
}

ConvShape downsample_shape(const Config& config) {
  const int width = config.seanet.dimension;
  const int stride = config.steps_per_frame();
  return {"downsample.conv.conv.conv", width, width, 2 * stride, stride};
}

ConvShape upsample_shape(const Config& config) {
  const int width = config.seanet.dimension;
  const int stride = config.steps_per_frame();
  return {"upsample.convtr.convtr.convtr", width, width, 2 * stride, stride, 1, true};
}

}  // namespace moshi::mimi

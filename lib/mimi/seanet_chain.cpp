// SPDX-License-Identifier: MIT
#include "mimi/seanet_chain.h"

namespace moshi::mimi {
namespace {

nn::ConvolutionShape shape_of(const ConvShape& conv) {
  return {.name = conv.name,
          .in = conv.in,
          .out = conv.out,
          .kernel = conv.kernel,
          .stride = conv.stride,
          .dilation = conv.dilation};
}

}  // namespace

int rows_after(const SeanetLayer& layer, int rows) {
  if (layer.residual) return rows;
  const ConvShape& conv = layer.convs.front();
  return conv.transposed ? rows * conv.stride : rows / conv.stride;
}

int channels_after(const SeanetLayer& layer) { return layer.residual ? layer.convs[1].out : layer.convs[0].out; }

SeanetChain::SeanetChain(std::span<const SeanetLayer> layers, int rows_per_frame, const TensorSource& source,
                         kernels::Arena& arena, nn::StateLayout& layout) {
  int rows = rows_per_frame;
  for (const SeanetLayer& layer : layers) {
    const nn::ConvolutionShape first = shape_of(layer.convs[0]);
    if (layer.residual) {
      const nn::ConvolutionShape second = shape_of(layer.convs[1]);
      const nn::ConvolutionShape shortcut = layer.convs.size() > 2 ? shape_of(layer.convs[2]) : nn::ConvolutionShape{};
      const auto* given = layer.convs.size() > 2 ? &shortcut : nullptr;
      steps_.push_back(
          std::make_unique<Step>(false, nn::ResidualBlock(first, second, given, source, rows, arena, layout)));
    } else if (layer.convs[0].transposed) {
      steps_.push_back(
          std::make_unique<Step>(layer.elu, nn::TransposedConvolution(first, source, rows, arena, layout)));
    } else {
      steps_.push_back(std::make_unique<Step>(layer.elu, nn::Convolution(first, source, rows, arena, layout)));
    }
    rows = rows_after(layer, rows);
  }
}

nn::Sink SeanetChain::input_of(Step& step) {
  if (auto* block = std::get_if<nn::ResidualBlock>(&step.layer)) return {.raw = &block->x, .elu = &block->activated()};
  nn::StreamBuffer* input = nullptr;
  if (auto* conv = std::get_if<nn::Convolution>(&step.layer)) input = &conv->input;
  if (auto* conv = std::get_if<nn::TransposedConvolution>(&step.layer)) input = &conv->input;
  if (step.elu) return {.elu = input};
  return {.raw = input};
}

nn::Sink SeanetChain::entry() { return input_of(*steps_.front()); }

void SeanetChain::begin(std::span<const nn::Part> parts) {
  for (auto& step : steps_) {
    if (auto* block = std::get_if<nn::ResidualBlock>(&step->layer)) {
      block->begin(parts);
    } else {
      const nn::Sink input = input_of(*step);
      (input.elu ? input.elu : input.raw)->begin(parts);
    }
  }
}

void SeanetChain::compute(nn::Context& context, const nn::Sink& end) {
  for (size_t i = 0; i < steps_.size(); ++i) {
    const nn::Sink sink = i + 1 < steps_.size() ? input_of(*steps_[i + 1]) : end;
    std::visit([&](auto& layer) { layer.compute(context, sink); }, steps_[i]->layer);
  }
}

void SeanetChain::commit(std::span<const nn::Part> parts) const {
  for (const auto& step : steps_) {
    if (const auto* block = std::get_if<nn::ResidualBlock>(&step->layer)) block->commit(parts);
    if (const auto* conv = std::get_if<nn::Convolution>(&step->layer)) conv->input.commit(parts);
    if (const auto* conv = std::get_if<nn::TransposedConvolution>(&step->layer)) conv->input.commit(parts);
  }
}

}  // namespace moshi::mimi

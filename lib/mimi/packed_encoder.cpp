// SPDX-License-Identifier: MIT
#include "mimi/packed_encoder.h"

#include <algorithm>

namespace moshi::mimi {
namespace {

std::span<const SeanetLayer> first(const std::vector<SeanetLayer>& layers, size_t count) {
  return std::span(layers).first(count);
}

std::span<const SeanetLayer> rest(const std::vector<SeanetLayer>& layers, size_t from) {
  return std::span(layers).subspan(from);
}

}  // namespace

PackedEncoder::PackedEncoder(const Config& config, const TensorSource& source, kernels::Arena& arena)
    : frame_samples_(config.frame_samples()),
      shape_(std::make_shared<PackedShape>()),
      layers_(encoder_layers(config.seanet)),
      tiling_(tile_encoder(layers_, frame_samples_)),
      tiled_(first(layers_, tiling_.split), tiling_.tile_rows_in, source, arena, shape_->layout),
      deep_(rest(layers_, tiling_.split), tiling_.tiles * tiling_.tile_rows_out, source, arena, shape_->layout),
      transformer_(config.transformer, source, "encoder_transformer", config.steps_per_frame(), arena, shape_->layout),
      latents_(config.seanet.dimension, 0, 1, shape_->layout, {}),
      quantizer_([&] {
        if (config.steps_per_frame() > 1) {
          const ConvShape shape = downsample_shape(config);
          downsample_.emplace(nn::ConvolutionShape{.name = shape.name,
                                                   .in = shape.in,
                                                   .out = shape.out,
                                                   .kernel = shape.kernel,
                                                   .stride = shape.stride,
                                                   .bias = false},
                              source, config.steps_per_frame(), arena, shape_->layout);
        }
        return QuantizerEncoder(config.quantizer, source, arena);
      }()) {
  shape_->saved = row_layout(config, Direction::kEncode);
  shape_->transformer = &transformer_;
}

void PackedEncoder::begin(std::span<const nn::Part> parts) {
  deep_.begin(parts);
  transformer_.begin(parts);
  if (downsample_) downsample_->input.begin(parts);
  latents_.begin(parts);
}

void PackedEncoder::run_tiles(nn::Context& context, const EncodeItem& item, const nn::Part& part, int index) {
  const nn::Part tile_part{.state = part.state, .position = 0, .frames = 1};
  const std::span<const nn::Part> one(&tile_part, 1);
  nn::Sink end = deep_.entry();
  end.item = index;
  for (int tile = 0; tile < item.frames * tiling_.tiles; ++tile) {
    tiled_.begin(one);
    nn::StreamBuffer& samples = *tiled_.entry().raw;
    std::copy_n(item.pcm + static_cast<size_t>(tile) * tiling_.tile_rows_in, tiling_.tile_rows_in, samples.row(0, 0));
    end.row = tile * tiling_.tile_rows_out;
    tiled_.compute(context, end);
    tiled_.commit(one);
  }
}

void PackedEncoder::downsample(nn::Context& context, std::span<const nn::Part> parts) {
  nn::StreamBuffer& input = downsample_->input;
  for (int item = 0; item < input.items(); ++item) {
    if (parts[item].position != 0) continue;
    // A stream's start is padded with copies of its first step.
    for (int row = -input.history(); row < 0; ++row) {
      std::copy_n(input.row(item, 0), input.channels(), input.row(item, row));
    }
  }
  downsample_->compute(context, {.raw = &latents_});
  input.commit(parts);
}

void PackedEncoder::run(nn::Context& context, std::span<const EncodeItem> items) {
  parts_.clear();
  for (const EncodeItem& item : items) parts_.push_back(static_cast<PackedRow*>(item.row)->part(item.frames));
  begin(parts_);
  for (size_t i = 0; i < items.size(); ++i) run_tiles(context, items[i], parts_[i], static_cast<int>(i));
  deep_.compute(context, {.raw = &transformer_.input});
  deep_.commit(parts_);
  transformer_.compute(context, parts_, downsample_ ? downsample_->input : latents_);
  if (downsample_) downsample(context, parts_);
  quantizer_.encode(context, latents_, items);
  for (size_t i = 0; i < items.size(); ++i) {
    const auto count = static_cast<size_t>(items[i].frames) * latents_.channels();
    if (items[i].latent) std::copy_n(latents_.row(static_cast<int>(i), 0), count, items[i].latent);
    static_cast<PackedRow*>(items[i].row)->advance(items[i].frames);
  }
}

}  // namespace moshi::mimi

// SPDX-License-Identifier: MIT
#include "mimi/packed_decoder.h"

#include <algorithm>

namespace moshi::mimi {

PackedDecoder::PackedDecoder(const Config& config, const TensorSource& source, kernels::Arena& arena)
    : frame_samples_(config.frame_samples()),
      steps_per_frame_(config.steps_per_frame()),
      shape_(std::make_shared<PackedShape>()),
      layers_(decoder_layers(config.seanet)),
      tiling_(tile_decoder(layers_, steps_per_frame_)),
      quantizer_(config.quantizer, source, arena),
      latents_(config.seanet.dimension, steps_per_frame_ > 1 ? 1 : 0, 1, shape_->layout,
               steps_per_frame_ > 1 ? upsample_shape(config).name : std::string()),
      transformer_(config.transformer, source, "decoder_transformer", steps_per_frame_, arena, shape_->layout),
      deep_(std::span(layers_).first(tiling_.split), steps_per_frame_, source, arena, shape_->layout),
      boundary_(tiling_.boundary_channels, 0, tiling_.tiles * tiling_.tile_rows_in, shape_->layout, {}),
      tiled_(std::span(layers_).subspan(tiling_.split), tiling_.tile_rows_in, source, arena, shape_->layout),
      samples_(config.seanet.channels, 0, tiling_.tile_rows_out, shape_->layout, {}) {
  if (steps_per_frame_ > 1) load_upsampling(config, source, arena);
  shape_->saved = row_layout(config, Direction::kDecode);
  shape_->transformer = &transformer_;
}

void PackedDecoder::load_upsampling(const Config& config, const TensorSource& source, kernels::Arena& arena) {
  const int stride = steps_per_frame_;
  const std::vector<float> weight = source.read(upsample_shape(config).name + ".weight");
  for (int step = 0; step < stride; ++step) {
    const auto tap = [&](int at) {
      return kernels::pack_vector(arena, config.seanet.dimension,
                                  [&](int c) { return weight[static_cast<size_t>(c) * 2 * stride + at]; });
    };
    current_taps_.push_back(tap(step));
    previous_taps_.push_back(tap(step + stride));
  }
}

void PackedDecoder::begin(std::span<const nn::Part> parts) {
  latents_.begin(parts);
  transformer_.begin(parts);
  deep_.begin(parts);
  boundary_.begin(parts);
}

void PackedDecoder::upsample(nn::Context& context, std::span<const nn::Part> parts) {
  const int width = latents_.channels();
  for (int item = 0; item < latents_.items(); ++item) {
    for (int frame = 0; frame < latents_.rows(item); ++frame) {
      for (int step = 0; step < steps_per_frame_; ++step) {
        float* out = transformer_.input.row(item, frame * steps_per_frame_ + step);
        if (steps_per_frame_ == 1) {
          std::copy_n(latents_.row(item, frame), width, out);
        } else {
          context.kernels.blend(latents_.row(item, frame), current_taps_[step], latents_.row(item, frame - 1),
                                previous_taps_[step], out, width);
        }
      }
    }
  }
  latents_.commit(parts);
}

void PackedDecoder::run_tiles(nn::Context& context, const DecodeItem& item, const nn::Part& part, int index) {
  const nn::Part tile_part{.state = part.state, .position = 0, .frames = 1};
  const std::span<const nn::Part> one(&tile_part, 1);
  nn::StreamBuffer& entry = *tiled_.entry().elu;
  const auto rows_in = static_cast<size_t>(tiling_.tile_rows_in) * tiling_.boundary_channels;
  for (int tile = 0; tile < item.frames * tiling_.tiles; ++tile) {
    tiled_.begin(one);
    samples_.begin(one);
    // The first tiled layer is never the one from latents, so that it wants its input after ELU.
    std::copy_n(boundary_.row(index, tile * tiling_.tile_rows_in), rows_in, entry.row(0, 0));
    tiled_.compute(context, {.raw = &samples_});
    std::copy_n(samples_.row(0, 0), tiling_.tile_rows_out,
                item.pcm + static_cast<size_t>(tile) * tiling_.tile_rows_out);
    tiled_.commit(one);
  }
}

void PackedDecoder::run(nn::Context& context, std::span<const DecodeItem> items) {
  parts_.clear();
  for (const DecodeItem& item : items) parts_.push_back(static_cast<PackedRow*>(item.row)->part(item.frames));
  begin(parts_);
  quantizer_.decode(context, items, latents_);
  for (size_t i = 0; i < items.size(); ++i) {
    const auto count = static_cast<size_t>(items[i].frames) * latents_.channels();
    if (items[i].latent) std::copy_n(latents_.row(static_cast<int>(i), 0), count, items[i].latent);
  }
  upsample(context, parts_);
  transformer_.compute(context, parts_, *deep_.entry().raw);
  deep_.compute(context, {.elu = &boundary_});
  deep_.commit(parts_);
  for (size_t i = 0; i < items.size(); ++i) {
    run_tiles(context, items[i], parts_[i], static_cast<int>(i));
    static_cast<PackedRow*>(items[i].row)->advance(items[i].frames);
  }
}

}  // namespace moshi::mimi

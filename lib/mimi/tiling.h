// SPDX-License-Identifier: MIT
// How SEANet's layers are cut in two: those at high rates run tile by tile, depth-first, so that their activations stay
// in the second-level cache; the others run over all frames of a wave at once, so that their weights are read once.
#pragma once

#include <vector>

#include "mimi/config.h"
#include "mimi/seanet_layers.h"

namespace moshi::mimi {

struct Tiling {
  size_t split = 0;           ///< encoder: layers [0, split) are tiled; decoder: layers [split, end)
  int tiles = 1;              ///< per frame
  int tile_rows_in = 0;       ///< input rows of the tiled layers for each tile
  int tile_rows_out = 0;      ///< output rows of the tiled layers for each tile
  int boundary_channels = 0;  ///< channels of the rows between the two parts
};

/// `layers` must start with the convolution from audio.
Tiling tile_encoder(const std::vector<SeanetLayer>& layers, int frame_samples);
/// `layers` must end with the convolution to audio. `latent_rows`: input rows of the first layer for each frame.
Tiling tile_decoder(const std::vector<SeanetLayer>& layers, int latent_rows);

}  // namespace moshi::mimi

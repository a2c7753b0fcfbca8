// SPDX-License-Identifier: MIT
#include "mimi/tiling.h"

#include "mimi/seanet_chain.h"

namespace moshi::mimi {
namespace {

// A layer is tiled if it works on at least so many rows a frame.
constexpr int kTiledRows = 200;
// Floats of the widest tiled activation for each tile: several such buffers live at once in about a megabyte.
constexpr int kTileFloats = 40 * 1024;

/// The fewest tiles that divide `rows` and keep `floats_per_frame` / tiles within bounds.
int count_tiles(int rows, long floats_per_frame) {
  for (int tiles = 1; tiles < rows; ++tiles) {
    if (rows % tiles == 0 && floats_per_frame / tiles <= kTileFloats) return tiles;
  }
  return rows;
}

}  // namespace

Tiling tile_encoder(const std::vector<SeanetLayer>& layers, int frame_samples) {
  Tiling tiling;
  int rows = frame_samples;
  long widest = 0;
  while (tiling.split + 1 < layers.size()) {
    const int after = rows_after(layers[tiling.split], rows);
    if (tiling.split > 0 && after < kTiledRows) break;
    rows = after;
    widest = std::max(widest, static_cast<long>(rows) * channels_after(layers[tiling.split]));
    ++tiling.split;
  }
  tiling.tiles = count_tiles(rows, widest);
  tiling.tile_rows_in = frame_samples / tiling.tiles;
  tiling.tile_rows_out = rows / tiling.tiles;
  tiling.boundary_channels = channels_after(layers[tiling.split - 1]);
  return tiling;
}

Tiling tile_decoder(const std::vector<SeanetLayer>& layers, int latent_rows) {
  Tiling tiling;
  int rows = latent_rows;
  while (tiling.split + 1 < layers.size() && rows_after(layers[tiling.split], rows) < kTiledRows) {
    rows = rows_after(layers[tiling.split++], rows);
  }
  // At least one layer stands on each side.
  if (tiling.split == 0) rows = rows_after(layers[tiling.split++], rows);
  long widest = 0;
  int out = rows;
  for (size_t i = tiling.split; i < layers.size(); ++i) {
    out = rows_after(layers[i], out);
    widest = std::max(widest, static_cast<long>(out) * channels_after(layers[i]));
  }
  tiling.tiles = count_tiles(rows, widest);
  tiling.tile_rows_in = rows / tiling.tiles;
  tiling.tile_rows_out = out / tiling.tiles;
  tiling.boundary_channels = channels_after(layers[tiling.split - 1]);
  return tiling;
}

}  // namespace moshi::mimi

// SPDX-License-Identifier: MIT
// The streaming state of a row in the form that RowState::save() writes: the same for every backend, instruction set
// and precision.
//
//   8 bytes   "mimirow1"
//   uint64    hash of the layout: direction and shapes
//   int64     frames that the row has taken; times steps_per_frame: the position in both time and attention
//   float32   the entries below, one after another, each [rows][width]
//
// All little-endian. Entries stand in execution order: the encoder's convolutions, its transformer's layers (keys,
// then values) and the downsampling; or the upsampling, the transformer's layers and the decoder's convolutions.
// Layers without history have no entry.
//
// A convolution's rows are its last input steps, oldest first, width the input channels; zeros stand for what came
// before the stream. This goes for transposed convolutions too: the state is the previous input step, not its partial
// output. Keys and values have `context` rows of [head][head dimension]; rotated keys are stored rotated. They begin
// with the oldest position that is kept, and with the newest in row min(context, position) - 1; rows beyond are zero.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mimi/codec.h"
#include "mimi/config.h"

namespace moshi::mimi {

struct RowEntry {
  enum class Kind : uint8_t { kHistory, kKeys, kValues };
  std::string layer;  ///< the convolution's tensor prefix, or that of the transformer's layer
  Kind kind = Kind::kHistory;
  int64_t rows = 0;
  int64_t width = 0;

  int64_t values() const { return rows * width; }
};

struct RowLayout {
  Direction direction = Direction::kEncode;
  int steps_per_frame = 1;
  int heads = 1;  ///< of the transformer: the width of keys and values is heads * head dimension
  std::vector<RowEntry> entries;

  /// The place of an entry in `entries`. Asking for one that is not there is a defect of the caller.
  size_t index(std::string_view layer, RowEntry::Kind kind) const;
  size_t values() const;  ///< floats of all entries
  uint64_t hash() const;
  size_t saved_bytes() const;
};

RowLayout row_layout(const Config& config, Direction direction);

inline constexpr size_t kRowHeadBytes = 24;

/// Writes the head; the entries' floats follow at `out` + kRowHeadBytes.
void write_row_head(const RowLayout& layout, int64_t frames, std::byte* out);

/// Checks head and size against the layout and returns the frames. Throws Error(FORMAT).
int64_t read_row_head(const RowLayout& layout, std::span<const std::byte> in);

}  // namespace moshi::mimi

// SPDX-License-Identifier: MIT
// What the engine asks of a loaded Mimi, whichever backend computes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "mimi/config.h"

namespace moshi::mimi {

enum class Direction { kEncode, kDecode };

/// The streaming state of one stream in one direction: convolution history, key-value rings, position.
class RowState {
 public:
  virtual ~RowState() = default;
  virtual void reset() = 0;
  virtual std::unique_ptr<RowState> clone() const = 0;
  /// The state in an unpacked form that does not depend on the backend or the instruction set.
  virtual size_t saved_bytes() const = 0;
  virtual void save(std::byte* out) const = 0;
  /// Throws Error(FORMAT) if `in` is not a state of this shape.
  virtual void load(std::span<const std::byte> in) = 0;
};

/// One row's part of a call: `frames` frames of one stream. Rows of one call are distinct.
struct EncodeItem {
  RowState* row = nullptr;
  int frames = 0;
  int codebooks = 0;           ///< 1 to n_q
  const float* pcm = nullptr;  ///< frames * frame_samples
  uint16_t* codes = nullptr;   ///< frames * codebooks, frame-major
  float* latent = nullptr;     ///< optional: frames * latent_width, before quantization
};

struct DecodeItem {
  RowState* row = nullptr;
  int frames = 0;
  int codebooks = 0;
  const uint16_t* codes = nullptr;  ///< every code below bins: checked by the caller
  float* pcm = nullptr;             ///< frames * frame_samples, not clipped
  float* latent = nullptr;          ///< optional: frames * latent_width, after dequantization
};

/// A Mimi with its weights. Calls are ragged: each item has its own number of frames, and the result of an item
/// depends on its row's history alone, bit for bit: not on the other items nor on how frames are grouped.
/// One call at a time; rows may be made, reset and destroyed from other threads while they take no part in it.
class Codec {
 public:
  virtual ~Codec() = default;
  virtual const Config& config() const = 0;
  virtual const char* name() const = 0;  ///< of the code path: "avx512", "avx2", "portable", "torch"
  virtual std::unique_ptr<RowState> make_row(Direction direction) const = 0;
  virtual size_t row_bytes(Direction direction) const = 0;  ///< memory of one row
  virtual size_t weight_bytes() const = 0;                  ///< memory of the weights as packed
  virtual void encode(std::span<const EncodeItem> items) = 0;
  virtual void decode(std::span<const DecodeItem> items) = 0;
};

}  // namespace moshi::mimi

// SPDX-License-Identifier: MIT
// The input of a streaming layer: time-major rows, channels innermost, each stream's rows prefixed by its history.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace moshi::nn {

/// One stream's part of a call, as layers see it.
struct Part {
  float* state = nullptr;  ///< the stream's state; each layer knows its offset in it
  int64_t position = 0;    ///< latent steps that the stream has had before this call
  int frames = 0;
};

/// Hands out offsets in a stream's flat state. Zeros everywhere are the state of a new stream.
class StateLayout {
 public:
  /// A layer's history in the state: [rows][channels], oldest first.
  struct History {
    std::string layer;
    size_t offset = 0;
    int rows = 0;
    int channels = 0;
  };

  /// Room for `floats`, aligned to a cache line.
  size_t take(size_t floats) {
    const size_t offset = size_;
    size_ += (floats + 15) / 16 * 16;
    return offset;
  }
  size_t take_history(const std::string& layer, int rows, int channels) {
    const size_t offset = take(static_cast<size_t>(rows) * channels);
    histories_.push_back({layer, offset, rows, channels});
    return offset;
  }
  size_t size() const { return size_; }
  const std::vector<History>& histories() const { return histories_; }

 private:
  size_t size_ = 0;
  std::vector<History> histories_;
};

/// Rows of a call, item after item: `history` rows from the stream's state, then the new rows, which the layer before
/// writes. Memory is kept between calls. With no history all rows are contiguous.
class StreamBuffer {
 public:
  StreamBuffer() = default;
  /// `rows_per_frame`: new rows for each frame of a part. `layer` names the history in the layout.
  StreamBuffer(int channels, int history, int rows_per_frame, StateLayout& layout, const std::string& layer);

  /// Makes room for the parts and loads their histories.
  void begin(std::span<const Part> parts);
  /// Saves the last rows as the streams' histories.
  void commit(std::span<const Part> parts) const;

  int channels() const { return channels_; }
  int history() const { return history_; }
  int items() const { return static_cast<int>(items_.size()); }
  int rows(int item) const { return items_[item].rows; }
  int total_rows() const { return total_rows_; }
  /// Row `row` of an item; rows -history to -1 are its history.
  float* row(int item, int row) { return items_[item].first + static_cast<ptrdiff_t>(row) * channels_; }
  float* data() { return data_.data(); }

 private:
  struct Item {
    float* first;
    int rows;
  };
  int channels_ = 0;
  int history_ = 0;
  int rows_per_frame_ = 0;
  size_t state_offset_ = 0;
  int total_rows_ = 0;
  std::vector<float> data_;
  std::vector<Item> items_;
};

}  // namespace moshi::nn

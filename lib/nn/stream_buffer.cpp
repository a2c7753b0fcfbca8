// SPDX-License-Identifier: MIT
#include "nn/stream_buffer.h"

#include <cstring>

namespace moshi::nn {

StreamBuffer::StreamBuffer(int channels, int history, int rows_per_frame, StateLayout& layout, const std::string& layer)
    : channels_(channels), history_(history), rows_per_frame_(rows_per_frame) {
  if (history) state_offset_ = layout.take_history(layer, history, channels);
}

void StreamBuffer::begin(std::span<const Part> parts) {
  size_t rows = 0;
  for (const Part& part : parts) rows += history_ + static_cast<size_t>(part.frames) * rows_per_frame_;
  if (data_.size() < rows * channels_) data_.resize(rows * channels_);
  items_.resize(parts.size());
  total_rows_ = 0;
  float* next = data_.data();
  for (size_t i = 0; i < parts.size(); ++i) {
    const size_t history_floats = static_cast<size_t>(history_) * channels_;
    if (history_floats) std::memcpy(next, parts[i].state + state_offset_, history_floats * sizeof(float));
    items_[i] = {next + history_floats, parts[i].frames * rows_per_frame_};
    next = items_[i].first + static_cast<size_t>(items_[i].rows) * channels_;
    total_rows_ += items_[i].rows;
  }
}

void StreamBuffer::commit(std::span<const Part> parts) const {
  if (!history_) return;
  const size_t floats = static_cast<size_t>(history_) * channels_;
  for (size_t i = 0; i < parts.size(); ++i) {
    const float* end = items_[i].first + static_cast<size_t>(items_[i].rows) * channels_;
    std::memcpy(parts[i].state + state_offset_, end - floats, floats * sizeof(float));
  }
}

}  // namespace moshi::nn

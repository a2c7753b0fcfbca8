// SPDX-License-Identifier: MIT
// The key-value ring of one attention head in a stream's state.
//
// Keys are stored in blocks of sixteen slots, [slot / 16][dimension][16], so that sixteen scores are one vector; values
// as [slot][dimension]. Position p lies in slot p % capacity. Dimensions are padded to whole vectors with zeros.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"

namespace moshi::nn {

class KvRing {
 public:
  KvRing(int capacity, int head_dim)
      : capacity_(capacity), head_dim_(head_dim), width_(kernels::round_up(head_dim, kernels::kLanes)) {}

  int capacity() const { return capacity_; }
  int head_dim() const { return head_dim_; }
  int width() const { return width_; }  ///< padded head_dim
  size_t key_floats() const { return static_cast<size_t>(kernels::round_up(capacity_, kernels::kLanes)) * width_; }
  size_t floats() const { return key_floats() + static_cast<size_t>(capacity_) * width_; }
  const float* values(const float* ring) const { return ring + key_floats(); }

  void write(float* ring, int64_t position, const float* key, const float* value) const {
    const auto slot = static_cast<size_t>(position % capacity_);
    float* keys = ring + slot / kernels::kLanes * kernels::kLanes * width_ + slot % kernels::kLanes;
    for (int d = 0; d < head_dim_; ++d) keys[static_cast<size_t>(d) * kernels::kLanes] = key[d];
    std::copy_n(value, head_dim_, ring + key_floats() + slot * width_);
  }

  void read(const float* ring, int64_t position, float* key, float* value) const {
    const auto slot = static_cast<size_t>(position % capacity_);
    const float* keys = ring + slot / kernels::kLanes * kernels::kLanes * width_ + slot % kernels::kLanes;
    for (int d = 0; d < head_dim_; ++d) key[d] = keys[static_cast<size_t>(d) * kernels::kLanes];
    std::copy_n(ring + key_floats() + slot * width_, head_dim_, value);
  }

 private:
  int capacity_;
  int head_dim_;
  int width_;
};

}  // namespace moshi::nn

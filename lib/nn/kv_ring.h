// SPDX-License-Identifier: MIT
// The key-value ring of one attention head in a stream's state.
//
// Keys are stored in blocks of sixteen slots, [slot / 16][dimension][16], so that sixteen scores are one vector; values
// as [slot][dimension]. Position p lies in slot p % capacity. Dimensions are padded to whole vectors with zeros.
// Elements are f32 or bf16; callers see f32.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/half.h"
#include "kernels/kernels.h"

namespace moshi::nn {

class KvRing {
 public:
  /// `storage` is kF32 or kBf16, to which write() rounds.
  KvRing(int capacity, int head_dim, kernels::Storage storage = kernels::Storage::kF32)
      : capacity_(capacity),
        head_dim_(head_dim),
        width_(kernels::round_up(head_dim, kernels::kLanes)),
        storage_(storage) {}

  int capacity() const { return capacity_; }
  int head_dim() const { return head_dim_; }
  int width() const { return width_; }  ///< padded head_dim
  kernels::Storage storage() const { return storage_; }
  size_t key_bytes() const { return key_elements() * kernels::element_bytes(storage_); }
  size_t bytes() const {
    return (key_elements() + static_cast<size_t>(capacity_) * width_) * kernels::element_bytes(storage_);
  }
  /// The same in floats, in which state is laid out; a whole number.
  size_t floats() const { return bytes() / sizeof(float); }
  const void* values(const void* ring) const { return static_cast<const std::byte*>(ring) + key_bytes(); }

  void write(void* ring, int64_t position, const float* key, const float* value) const {
    if (storage_ == kernels::Storage::kBf16) {
      write_as(static_cast<uint16_t*>(ring), position, key, value, kernels::f32_to_bf16);
    } else {
      write_as(static_cast<float*>(ring), position, key, value, [](float x) { return x; });
    }
  }

  void read(const void* ring, int64_t position, float* key, float* value) const {
    if (storage_ == kernels::Storage::kBf16) {
      read_as(static_cast<const uint16_t*>(ring), position, key, value, kernels::bf16_to_f32);
    } else {
      read_as(static_cast<const float*>(ring), position, key, value, [](float x) { return x; });
    }
  }

 private:
  size_t key_elements() const { return static_cast<size_t>(kernels::round_up(capacity_, kernels::kLanes)) * width_; }
  size_t key_at(size_t slot) const {
    return slot / kernels::kLanes * kernels::kLanes * width_ + slot % kernels::kLanes;
  }
  size_t value_at(size_t slot) const { return key_elements() + slot * width_; }

  template <class T, class Narrow>
  void write_as(T* ring, int64_t position, const float* key, const float* value, Narrow narrow) const {
    const auto slot = static_cast<size_t>(position % capacity_);
    T* keys = ring + key_at(slot);
    for (int d = 0; d < head_dim_; ++d) keys[static_cast<size_t>(d) * kernels::kLanes] = narrow(key[d]);
    std::transform(value, value + head_dim_, ring + value_at(slot), narrow);
  }

  template <class T, class Widen>
  void read_as(const T* ring, int64_t position, float* key, float* value, Widen widen) const {
    const auto slot = static_cast<size_t>(position % capacity_);
    const T* keys = ring + key_at(slot);
    for (int d = 0; d < head_dim_; ++d) key[d] = widen(keys[static_cast<size_t>(d) * kernels::kLanes]);
    std::transform(ring + value_at(slot), ring + value_at(slot) + head_dim_, value, widen);
  }

  int capacity_;
  int head_dim_;
  int width_;
  kernels::Storage storage_;
};

}  // namespace moshi::nn

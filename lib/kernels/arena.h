// SPDX-License-Identifier: MIT
// Memory for packed weights and long-lived state: zeroed, aligned to cache lines, in huge pages where the system has
// them.
#pragma once

#include <cstddef>
#include <vector>

namespace moshi::kernels {

/// Hands out memory in the order in which it is asked for; gives all of it back when it dies.
class Arena {
 public:
  Arena() = default;
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  /// Zeroed floats, aligned to 64 bytes. Throws Error(NO_MEMORY).
  float* floats(size_t count);
  /// Zeroed bytes, likewise.
  std::byte* bytes(size_t count);
  /// Given out so far.
  size_t bytes() const { return bytes_; }

 private:
  struct Chunk {
    void* memory;
    size_t bytes;
  };
  std::vector<Chunk> chunks_;
  std::byte* next_ = nullptr;
  size_t left_ = 0;
  size_t bytes_ = 0;
};

/// Zeroed memory that the system commits page by page as it is written. Throws Error(NO_MEMORY).
class LazyFloats {
 public:
  LazyFloats() = default;
  explicit LazyFloats(size_t count);
  ~LazyFloats();
  LazyFloats(LazyFloats&& other) noexcept;
  LazyFloats& operator=(LazyFloats&& other) noexcept;

  float* data() const { return data_; }
  size_t size() const { return count_; }
  /// All zeros again, with the pages given back.
  void clear();

 private:
  float* data_ = nullptr;
  size_t count_ = 0;
};

}  // namespace moshi::kernels

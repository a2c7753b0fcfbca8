// SPDX-License-Identifier: MIT
// A regular file that is open for reading, and mapped if asked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace moshi::checkpoint {

class MappedFile {
 public:
  enum class Mode { kRead, kMap };

  /// Throws Error: NOT_FOUND if there is none, READ if it is no regular file or cannot be opened or mapped.
  MappedFile(const std::string& path, Mode mode);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  uint64_t bytes() const { return bytes_; }
  /// The mapping; empty without Mode::kMap.
  std::span<const std::byte> data() const { return {data_, data_ ? static_cast<size_t>(bytes_) : 0}; }
  /// Fills `out` from `offset` on by reading, not through the mapping. Throws Error(READ).
  void read(uint64_t offset, std::span<std::byte> out) const;
  /// Lets the system take back the pages of a part of data(); a later access reads them again.
  void drop(std::span<const std::byte> part) const;

 private:
  std::string path_;
  int fd_ = -1;
  uint64_t bytes_ = 0;
  const std::byte* data_ = nullptr;
};

}  // namespace moshi::checkpoint

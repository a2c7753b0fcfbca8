// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace moshi::checkpoint {

/// A file that appears under its name complete or not at all: written beside it, then renamed.
class AtomicFile {
 public:
  /// Throws Error(READ) if nothing can be written there.
  explicit AtomicFile(const std::string& path);
  /// Removes what was written unless commit() has succeeded.
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  /// Puts the content on disk and the file in its place, replacing one that is there.
  void commit();

 private:
  [[noreturn]] void fail(int error) const;

  std::string path_;
  std::string temporary_;
  int fd_ = -1;
};

/// Writes a small file in one go.
void write_text_file(const std::string& path, const std::string& text);

}  // namespace moshi::checkpoint

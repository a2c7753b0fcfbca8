// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace moshi::checkpoint {

class MappedFile;

/// A checksum over bytes that come in pieces.
class Digest {
 public:
  enum class Kind { kSha1, kSha256 };
  explicit Digest(Kind kind);
  ~Digest();
  Digest(Digest&&) noexcept;
  Digest& operator=(Digest&&) noexcept;
  void add(std::span<const std::byte> bytes);
  /// The digest in lower-case hex; call once, at the end.
  std::string hex();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The SHA-256 of a file: reads all of it in pieces, without touching its mapping. `check` is called before each; what
/// it throws ends it.
std::string sha256_of(const MappedFile& file, const std::function<void()>& check = {});

}  // namespace moshi::checkpoint

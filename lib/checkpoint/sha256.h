// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace moshi::checkpoint {

class MappedFile;

/// A SHA-256 over bytes that come in pieces.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void add(std::span<const std::byte> bytes);
  /// The digest in lower-case hex; call once, at the end.
  std::string hex();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Reads the whole file in pieces, without touching its mapping. `check` is called before each; what it throws ends it.
std::string sha256_of(const MappedFile& file, const std::function<void()>& check = {});

}  // namespace moshi::checkpoint

// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace moshi::checkpoint {

/// The checksum by which the hub names a file: the SHA-256 of a large one, git's object id (SHA-1) of a small one.
class HubDigest {
 public:
  /// `etag` tells which; one that is neither is not checked.
  HubDigest(std::string etag, uint64_t file_bytes);
  ~HubDigest();
  HubDigest(const HubDigest&) = delete;
  HubDigest& operator=(const HubDigest&) = delete;

  /// Forgets what was added.
  void restart();
  void add(std::span<const std::byte> bytes);
  /// In lower-case hex; the etag itself where nothing is checked. Call once, at the end.
  std::string hex();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace moshi::checkpoint

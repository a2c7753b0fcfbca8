// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "checkpoint/digest.h"

namespace moshi::checkpoint {

/// The checksum by which the hub names a file: the SHA-256 of a large one, git's object id (SHA-1) of a small one.
class HubDigest {
 public:
  /// `etag` tells which; one that is neither is not checked.
  HubDigest(std::string etag, uint64_t file_bytes);

  /// Forgets what was added.
  void restart();
  void add(std::span<const std::byte> bytes);
  /// In lower-case hex; the etag itself where nothing is checked. Call once, at the end.
  std::string hex();

 private:
  std::string etag_;
  std::optional<Digest::Kind> kind_;  ///< none: not checked
  std::string prefix_;                ///< what comes before the file
  std::optional<Digest> digest_;
};

}  // namespace moshi::checkpoint

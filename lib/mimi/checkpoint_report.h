// SPDX-License-Identifier: MIT
// Collects how a checkpoint differs from a configuration and says it in one sentence. Internal.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"
#include "mimi/config.h"

namespace moshi::mimi {

/// How many codebooks a file has by the names of its tensors; 0 if it has none.
int codebooks_of(const checkpoint::SafetensorsFile& file);

/// Whether a file has a Mimi's tensors, by their names.
bool looks_like_mimi(const checkpoint::SafetensorsFile& file);

class CheckpointReport {
 public:
  explicit CheckpointReport(const checkpoint::SafetensorsFile& file) : file_(file) {}

  void missing(const std::string& name) { missing_.push_back(name); }
  void unexpected(const std::string& name) { unexpected_.push_back(name); }
  void wrong_shape(const std::string& name, const std::vector<int64_t>& found, const std::vector<int64_t>& wanted);

  /// Throws Error(MISMATCH) if anything was reported.
  void finish(const Config& config) const;

 private:
  const checkpoint::SafetensorsFile& file_;
  std::vector<std::string> missing_;
  std::vector<std::string> unexpected_;
  std::vector<std::string> wrong_shape_;
};

}  // namespace moshi::mimi

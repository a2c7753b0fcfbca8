// SPDX-License-Identifier: MIT
// A weight file by the names of the reference's state: attention projections that are stacked on disk appear as
// their blocks. Internal.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"
#include "lm/config.h"

namespace moshi::lm {

/// A tensor of a file, or one of the equal blocks of its first dimension.
struct StoredTensor {
  const checkpoint::Tensor* tensor = nullptr;
  int block = 0;
  int blocks = 1;

  /// The shape that the whole tensor must have for this block to be `shape`.
  std::vector<int64_t> whole(std::vector<int64_t> shape) const;
  std::span<const std::byte> data() const;
  /// The values as f32. Throws Error(FORMAT) naming `path` if one is NaN or infinite.
  std::vector<float> to_f32(const std::string& path) const;
};

class StoredTensors {
 public:
  /// Throws Error(MISMATCH) if the file holds a tensor under two spellings.
  StoredTensors(std::shared_ptr<const checkpoint::SafetensorsFile> file, const Config& config);

  const checkpoint::SafetensorsFile& file() const { return *file_; }
  const StoredTensor* find(const std::string& name) const;
  const std::map<std::string, StoredTensor>& all() const { return tensors_; }

 private:
  void add(const std::string& name, const StoredTensor& tensor);

  std::shared_ptr<const checkpoint::SafetensorsFile> file_;
  std::map<std::string, StoredTensor> tensors_;
};

}  // namespace moshi::lm

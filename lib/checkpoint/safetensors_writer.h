// SPDX-License-Identifier: MIT
// Writes safetensors files of any size: the header first, then the data as it comes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/atomic_file.h"
#include "checkpoint/safetensors.h"

namespace moshi::checkpoint {

struct TensorHead {
  std::string name;
  Dtype dtype = Dtype::kF32;
  std::vector<int64_t> shape;
};

class SafetensorsWriter {
 public:
  /// Larger elements must come before smaller ones: then every tensor is aligned. Throws Error: INVALID_ARGUMENT for
  /// names, shapes or an order that cannot be, READ if the file cannot be written.
  SafetensorsWriter(const std::string& path, const std::vector<TensorHead>& tensors,
                    const std::map<std::string, std::string>& metadata);

  /// The next bytes of the tensors' data, in their order.
  void write(std::span<const std::byte> bytes);
  /// Puts the file in its place, whose data must be complete.
  void commit();

 private:
  AtomicFile file_;
  uint64_t left_ = 0;
};

}  // namespace moshi::checkpoint

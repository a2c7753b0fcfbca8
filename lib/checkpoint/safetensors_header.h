// SPDX-License-Identifier: MIT
// The JSON header of a safetensors file: what it says, checked against the size of the file. Internal.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/safetensors.h"

namespace moshi::checkpoint {

struct HeaderEntry {
  Dtype dtype = Dtype::kF32;
  std::vector<int64_t> shape;
  uint64_t begin = 0;  ///< of its bytes, from the end of the header
  uint64_t end = 0;
};

struct SafetensorsHeader {
  std::map<std::string, HeaderEntry, std::less<>> tensors;
  std::map<std::string, std::string> metadata;
};

/// Parses and checks the header's text for `data_bytes` of tensor data behind it: types, shapes, and that the tensors
/// fill the data one after another without overlap, hole or rest. Throws Error(FORMAT), or NOT_SUPPORTED for an
/// unknown dtype; both name `path`.
SafetensorsHeader parse_safetensors_header(std::string_view text, uint64_t data_bytes, const std::string& path);

}  // namespace moshi::checkpoint

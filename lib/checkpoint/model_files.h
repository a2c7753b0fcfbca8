// SPDX-License-Identifier: MIT
// From what a user calls a model to the files that make it up. Opens config.json, and headers where names do not tell.
#pragma once

#include <string>
#include <vector>

namespace moshi::checkpoint {

struct ModelRequest {
  /// A directory laid out like a hub repository, a Mimi .safetensors file, or owner/name[@revision]; "": the default.
  std::string model;
  /// A Mimi weight file that replaces the model's own; "": the model's. Also file:// and hf://owner/name/path.
  std::string weights;
  /// Where the default model may lie, best first.
  std::vector<std::string> default_directories;
};

struct ModelFiles {
  std::string directory;     ///< of the model; "" if it is only a weight file
  std::string config;        ///< its config.json; "" if it has none
  std::string mimi_weights;  ///< always there as a regular file
  std::string mimi_config;   ///< "": Kyutai's published Mimi
};

/// Throws Error: NOT_FOUND with what to do about it, FORMAT for a bad config.json, READ for what cannot be read.
ModelFiles find_model(const ModelRequest& request);

}  // namespace moshi::checkpoint

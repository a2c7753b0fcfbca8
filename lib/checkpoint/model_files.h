// SPDX-License-Identifier: MIT
// From what a user calls a model to the files that make it up. Opens config.json, and headers where names do not tell.
//
// Both functions throw Error: NOT_FETCHED if it is a model of the hub and files of it are not in the cache
// (fetch_model() gets them), NOT_FOUND for anything else that is not there, with what to do about it, FORMAT for a bad
// config.json, READ for what cannot be read. Where HF_HUB_OFFLINE is set, NOT_FOUND takes the place of NOT_FETCHED.
//
// A file reference is a name inside of the model, file://path or hf://owner/name[@revision]/path.
#pragma once

#include <string>

namespace moshi::checkpoint {

struct ModelRequest {
  /// A directory laid out like a hub repository, a Mimi .safetensors file, or owner/name[@revision]; "": `weights` is
  /// it.
  std::string model;
  /// A Mimi weight file that replaces the model's own; "": the model's. Also file:// and hf://owner/name/path.
  std::string weights;
};

struct ModelFiles {
  std::string directory;     ///< of the model; "" if it is only a weight file
  std::string config;        ///< its config.json; "" if it has none
  std::string mimi_weights;  ///< always there as a regular file
  std::string mimi_config;   ///< "": Kyutai's published Mimi
};

/// The codec's files.
ModelFiles find_model(const ModelRequest& request);

/// What replaces a model's own file is a path, file://path or hf://owner/name/path; "": the model's own.
struct LmRequest {
  /// A directory laid out like a hub repository, a .safetensors file in one, or owner/name[@revision]; "": the
  /// directory or repository of `weights`.
  std::string model;
  std::string weights;    ///< of the language model
  std::string config;     ///< a config.json
  std::string tokenizer;  ///< a sentencepiece model
  std::string lora;       ///< a LoRA file; "": the one that config.json names, if any
};

struct LmFiles {
  std::string directory;     ///< of the model
  std::string config;        ///< "": it has none, which means the original Moshi 7B
  std::string lm_weights;    ///< always there as a regular file
  std::string tokenizer;     ///< "": it has none
  std::string lora;          ///< "": it has none
  std::string mimi_weights;  ///< "": it has none
  std::string mimi_config;   ///< "": Kyutai's published Mimi
};

/// The language model's files and its Mimi's.
LmFiles find_language_model(const LmRequest& request);

}  // namespace moshi::checkpoint

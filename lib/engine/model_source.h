// SPDX-License-Identifier: MIT
// A model's files, opened and checked but not loaded.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "mimi/codec.h"
#include "mimi/config.h"
#include "mimi/weights.h"

namespace moshi::engine {

/// What the caller of engine_open() asks for; an empty string stands for the model's own, but `model` or `weights` is
/// named.
struct ModelRequest {
  std::string model;
  std::string weights;
  std::string mimi_config = {};  ///< of `model`, which is then a Mimi file
};

struct LmFacts;

/// What is known of a model, a Mimi or a language model, from its headers alone.
struct ModelFacts {
  std::string model_path;  ///< the directory
  std::string mimi_file;   ///< the weight file as it was found; "": it is a language model
  uint64_t mimi_bytes = 0;
  /// Of the weight file, the same whichever way leads to it: canonical path, and what tells this very file from one
  /// that may lie there later (inode, time, size).
  std::string identity;
  mimi::Config config;
  /// Set for a language model, whose facts these are; the Mimi fields above are then empty.
  std::shared_ptr<const LmFacts> lm;

  /// The file that its weights come from.
  const std::string& weight_file() const;
};

/// Tells the file at `path` from every other, and from one that may lie there later. Throws Error(READ).
std::string identity_of(const std::string& path);

/// A Mimi's headers in memory, tensors readable. Used by the loading thread while others read the facts.
class ModelSource {
 public:
  virtual ~ModelSource() = default;
  virtual const ModelFacts& facts() const = 0;
  virtual const mimi::TensorSource& tensors() const = 0;
  /// Hex digest of the weight file; reads all of it.
  virtual std::string sha256() const = 0;
  /// Memory that the weights of these directions take once loaded, from the headers.
  virtual uint64_t weight_bytes(std::span<const mimi::Direction> directions) const = 0;
};

/// Finds the files, reads configuration and headers, checks that they fit each other. Throws Error.
std::shared_ptr<const ModelSource> open_model_source(const ModelRequest& request);

}  // namespace moshi::engine

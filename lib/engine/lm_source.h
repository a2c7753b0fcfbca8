// SPDX-License-Identifier: MIT
// A language model's files, opened and checked but not loaded.
#pragma once

#include <memory>
#include <string>

#include "engine/model_source.h"
#include "lm/config.h"
#include "lm/weights.h"
#include "text/tokenizer.h"

namespace moshi::engine {

/// What the caller of engine_open() asks for; empty strings stand for the model's own.
struct LmRequest {
  std::string model;
  std::string weights;
  std::string tokenizer;
  std::string config;
  std::string lora;
  bool lora_separate = false;
};

/// What is known of a language model from its headers alone.
struct LmFacts {
  std::string file;  ///< the weight file as it was found
  uint64_t bytes = 0;
  std::string lora_file;  ///< "": none
  bool lora_separate = false;
  std::string tokenizer_file;  ///< "": none
  lm::Config config;
  std::shared_ptr<const text::Tokenizer> tokenizer;  ///< null: none
  /// The Mimi beside it, whose code of silence is wanted; "": none.
  std::string mimi_file;
  std::string mimi_config;  ///< "": Kyutai's published Mimi
};

/// Headers in memory, tensors readable. Used by the loading thread while others read the facts.
class LmSource {
 public:
  virtual ~LmSource() = default;
  virtual const ModelFacts& facts() const = 0;  ///< with `lm` set
  virtual const lm::Weights& weights() const = 0;
};

/// Throws Error(MISMATCH) naming both numbers if the tokenizer cannot be that of the model: it has pieces for tokens
/// that the model does not take, or none for tokens that the model says. The latter may be where the model's text is
/// of two streams in one (demuxed), or says more tokens than it takes.
void check_tokenizer(const text::Tokenizer& tokenizer, const lm::Config& config, const std::string& file);

/// Finds the files, reads configuration, headers and tokenizer, checks that they fit each other. Throws Error.
std::shared_ptr<const LmSource> open_lm_source(const LmRequest& request);

}  // namespace moshi::engine

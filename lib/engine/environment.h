// SPDX-License-Identifier: MIT
// What the engine stands on: files, backends, the machine's memory and clock. Tests put their own in its place.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "checkpoint/hub_fetch.h"
#include "engine/codec_factory.h"
#include "engine/default_model.h"
#include "engine/lm_source.h"
#include "engine/model_source.h"
#include "lm/factory.h"

namespace moshi::engine {

struct Environment {
  std::function<DefaultModel()> default_model;
  std::function<std::shared_ptr<const ModelSource>(const ModelRequest&)> open_source;
  std::function<std::unique_ptr<mimi::Codec>(const CodecRequest&)> make_codec;

  std::function<std::shared_ptr<const LmSource>(const LmRequest&)> open_lm_source;
  std::function<std::unique_ptr<lm::LanguageModel>(const lm::ModelRequest&)> make_language_model;
  std::function<uint64_t(const lm::Config&, const lm::Weights&, bool bf16, bool lora_separate)> lm_packed_bytes;
  std::function<uint64_t(const lm::Config&, bool bf16, bool guidance)> lm_row_bytes;

  std::function<void(const checkpoint::FetchRequest&, const checkpoint::FetchProgress&)> fetch_model;
  std::function<uint64_t()> free_bytes;
  std::function<int64_t()> now_ns;  ///< CLOCK_MONOTONIC, or a clock that a test moves
};

const Environment& environment();

/// Replaces it, for tests; only while no engine is open.
void set_environment(Environment replacement);

/// The real one.
Environment default_environment();

}  // namespace moshi::engine

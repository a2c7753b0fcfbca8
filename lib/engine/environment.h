// SPDX-License-Identifier: MIT
// What the engine stands on: files, backends, the machine's memory and clock. Tests put their own in its place.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "engine/codec_factory.h"
#include "engine/model_source.h"

namespace moshi::engine {

struct Environment {
  std::function<std::shared_ptr<const ModelSource>(const ModelRequest&)> open_source;
  std::function<std::unique_ptr<mimi::Codec>(const CodecRequest&)> make_codec;
  std::function<uint64_t()> free_bytes;
  std::function<int64_t()> now_ns;  ///< CLOCK_MONOTONIC, or a clock that a test moves
};

const Environment& environment();

/// Replaces it, for tests; only while no engine is open.
void set_environment(Environment replacement);

/// The real one.
Environment default_environment();

}  // namespace moshi::engine

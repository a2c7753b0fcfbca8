// SPDX-License-Identifier: MIT
// What a language model hears when nothing is said.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/executor.h"
#include "engine/lm_source.h"

namespace moshi::engine {

struct Silence {
  std::vector<int32_t> codes;  ///< one for each stream that the model listens to; empty: unknown
  std::string sha256;          ///< of the Mimi; "" where codes are unknown because of it
};

/// Loads the encoder of the Mimi beside a language model, encodes silence until its codes have settled, and frees it.
/// Whatever is wrong with that Mimi is logged and leaves the codes unknown: the model works without. `check` is called
/// between the calls and may throw to end it.
Silence encode_silence(Executor& executor, const LmFacts& facts, const std::function<void()>& check);

}  // namespace moshi::engine

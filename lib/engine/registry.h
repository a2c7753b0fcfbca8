// SPDX-License-Identifier: MIT
// The models of this process, each once per file (and, for a language model, LoRA and configuration), device,
// precision and backend.
#pragma once

#include <memory>

#include "engine/model.h"
#include "moshi/core.h"

namespace moshi::engine {

/// Opens a reference as engine_open() does: checks the configuration, reads the headers, finds or makes the model, and
/// starts or joins its load. Throws Error; nothing stays behind then.
std::unique_ptr<Engine> open_engine(const MoshiEngineConfig& config);

/// Gives the reference back without waiting for a load.
void close_engine(std::unique_ptr<Engine> engine);

/// Gets what open_engine() of the same configuration needs and is not on this machine. `progress` may be null.
void fetch_files(const MoshiEngineConfig& config, MoshiFetchFn progress, void* user);

}  // namespace moshi::engine

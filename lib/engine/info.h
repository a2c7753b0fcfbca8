// SPDX-License-Identifier: MIT
// What an engine tells about itself.
#pragma once

#include "engine/model.h"
#include "moshi/core.h"

namespace moshi::engine {

MoshiEngineInfo describe(const Engine& engine);
MoshiEngineLimits describe_limits(const Engine& engine, uint32_t roles);
MoshiEngineStats describe_stats(const Engine& engine);
/// These throw Error(INVALID_ARGUMENT) unless the engine was opened with MOSHI_ROLE_LM.
MoshiLmInfo describe_lm(const Engine& engine);
MoshiPiece describe_piece(const Engine& engine, int32_t token);

}  // namespace moshi::engine

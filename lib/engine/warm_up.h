// SPDX-License-Identifier: MIT
// The first calls of a loaded model: they touch its memory and measure what a frame costs.
#pragma once

#include <functional>

#include "engine/executor.h"
#include "engine/lane.h"

namespace moshi::engine {

/// Runs the lane's model on a row of its own, on the executor's thread between other work, and sets the lane's
/// `processing_ns` and `cost`. `check` is called between the calls and may throw to end it.
void warm_up(Executor& executor, Lane& lane, const std::function<void()>& check);

}  // namespace moshi::engine

// SPDX-License-Identifier: MIT
#pragma once

namespace moshi::engine {

/// Makes the LibTorch operators one of the engine's backends, and LibTorch's exponential that of all of them.
void add_torch_backend();

}  // namespace moshi::engine

// SPDX-License-Identifier: MIT
#pragma once

namespace moshi::engine {

/// Makes the LibTorch operators one of the engine's backends.
void add_torch_backend();

}  // namespace moshi::engine

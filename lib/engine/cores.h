// SPDX-License-Identifier: MIT
// How many processor cores this process may use.
#pragma once

namespace moshi::engine {

/// Cores in the process's affinity mask, at most what its control group's quota pays for; at least 1.
int available_cores();

}  // namespace moshi::engine

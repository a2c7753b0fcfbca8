// SPDX-License-Identifier: MIT
#pragma once

#include "moshi/core.h"

namespace moshi::engine {

/// The table that moshi_core_get_api() returns; every entry turns what is thrown into a status.
const MoshiCoreApi& core_table();

}  // namespace moshi::engine

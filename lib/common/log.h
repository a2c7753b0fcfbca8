// SPDX-License-Identifier: MIT
// The core's log: lines go to the callback of MoshiCoreApi::set_log, or nowhere.
#pragma once

#include <string>

#include "moshi/core.h"

namespace moshi {

void set_log(MoshiLogFn fn, void* user);
void log(MoshiLogLevel level, const char* part, const std::string& message);

}  // namespace moshi

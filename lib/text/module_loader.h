// SPDX-License-Identifier: MIT
// Finds and opens libmoshi-text.so.
#pragma once

#include <string>

#include "text/module.h"

namespace moshi::text {

/// The table of the module beside this code, or else of the build's; opened once in a process, and never closed.
/// Throws Error(NOT_SUPPORTED) naming the file, and what to install.
const MoshiTextApi& module_api();

/// Opens `path`. Throws as above.
const MoshiTextApi& open_module(const std::string& path);

}  // namespace moshi::text

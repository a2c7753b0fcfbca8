// SPDX-License-Identifier: MIT
// What comes with the core lies beside it.
#pragma once

#include <filesystem>

namespace moshi {

/// The folder of the library, or program, that holds this code, free of symbolic links; empty if it cannot be told.
/// Looked up once, at the first call: a path that is relative to the working directory holds only until that changes.
const std::filesystem::path& own_folder();

}  // namespace moshi

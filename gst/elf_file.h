// SPDX-License-Identifier: MIT
// What a shared object asks the dynamic linker for, read from the file without loading it.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace gstmoshi {

struct ElfNeeds {
  std::vector<std::string> libraries;    ///< DT_NEEDED
  std::vector<std::string> directories;  ///< DT_RPATH and DT_RUNPATH, with $ORIGIN filled in
};

/** Nothing if the file cannot be read or is no shared object of this machine's kind. */
std::optional<ElfNeeds> ReadElfNeeds(const std::string& path);

}  // namespace gstmoshi

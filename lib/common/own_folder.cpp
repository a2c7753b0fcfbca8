// SPDX-License-Identifier: MIT
#include "common/own_folder.h"

#include <dlfcn.h>

#include <system_error>

namespace moshi {

const std::filesystem::path& own_folder() {
  static const std::filesystem::path folder = [] {
    Dl_info here = {};
    dladdr(reinterpret_cast<const void*>(&own_folder), &here);
    std::error_code unknown;
    return std::filesystem::canonical(here.dli_fname == nullptr ? "" : here.dli_fname, unknown).parent_path();
  }();
  return folder;
}

}  // namespace moshi

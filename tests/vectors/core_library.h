// SPDX-License-Identifier: MIT
// The core as a user loads it, for the conformance tests.
#pragma once

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

#include "moshi/core.h"

namespace moshi_vectors {

inline const MoshiCoreApi& api() {
  static const MoshiCoreApi* const table = [] {
    // Never closed: LibTorch does not survive it.
    void* library = dlopen(MOSHI_VECTORS_CORE, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) throw std::runtime_error(dlerror());
    const auto get = reinterpret_cast<MoshiCoreGetApiFn>(dlsym(library, MOSHI_CORE_GET_API_SYMBOL));
    return get == nullptr ? nullptr : get(MOSHI_CORE_ABI);
  }();
  if (table == nullptr) throw std::runtime_error(MOSHI_VECTORS_CORE " does not serve this ABI");
  return *table;
}

inline void require(MoshiStatus status, const MoshiError& error) {
  if (status != MOSHI_OK) throw std::runtime_error(std::string(error.message) + " " + error.detail);
}

struct EngineClose {
  void operator()(MoshiEngine* engine) const { api().engine_close(engine); }
};
struct SessionClose {
  void operator()(MoshiSession* session) const { api().session_close(session); }
};

/// A folder that lives as long as the object.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "moshi-vectors-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("cannot make " + name);
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace moshi_vectors

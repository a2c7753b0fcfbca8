// SPDX-License-Identifier: MIT
// The one symbol that libmoshi-core exports.
#include "common/own_folder.h"
#include "engine/codec_factory.h"
#include "engine/table.h"
#include "moshi/core.h"

#ifdef MOSHI_WITH_LIBTORCH
#include "engine/torch_backend.h"
#endif

extern "C" __attribute__((visibility("default"))) const MoshiCoreApi* moshi_core_get_api(uint32_t abi) {
  if (abi != MOSHI_CORE_ABI) return nullptr;
  moshi::own_folder();  // while the working directory is still the one that the core was loaded from
#ifdef MOSHI_WITH_LIBTORCH
  static const bool registered = (moshi::engine::add_torch_backend(), true);
  static_cast<void>(registered);
#endif
  return &moshi::engine::core_table();
}

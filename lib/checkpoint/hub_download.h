// SPDX-License-Identifier: MIT
// One file from the hub into the cache: locked, resumed, checked.
#pragma once

#include <cstdint>
#include <functional>

#include "checkpoint/hub_remote.h"
#include "checkpoint/hub_store.h"

namespace moshi::checkpoint {

/// Told how many bytes of the file are there, whenever that changes.
using HaveBytes = std::function<void(uint64_t bytes)>;

/**
 * Returns when the file is in the cache, by this call or another process's. Throws Error: NETWORK (what came is kept),
 * FORMAT if what came twice was not what the hub announced, READ for the disk, and what HubRemote throws.
 */
void download(HubRemote& remote, const StoredFile& file, uint64_t bytes, const HaveBytes& have);

}  // namespace moshi::checkpoint

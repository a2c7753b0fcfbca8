// SPDX-License-Identifier: MIT
// Finds and loads libmoshi-core.so, once per process. The plugin itself links neither it nor LibTorch.
#pragma once

#include <gst/gst.h>

#include "moshi/core.h"

namespace gstmoshi {

/** Category of the plugin's loader and of the core's own log lines. */
GST_DEBUG_CATEGORY_EXTERN(moshi_core_debug);
void InitCoreDebug();

/**
 * The core's function table, or nullptr with `error` filled. Any thread; blocks while the library is being loaded (up
 * to a second with a cold LibTorch). A failure is tried again at the next call; a success stays for the life of the
 * process, as the library is never closed.
 */
const MoshiCoreApi* LoadCore(MoshiError& error);

}  // namespace gstmoshi

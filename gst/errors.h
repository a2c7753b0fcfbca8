// SPDX-License-Identifier: MIT
// The core's errors as GStreamer messages. Post them without holding the object lock.
#pragma once

#include <gst/gst.h>

#include <string>

#include "moshi/core.h"

namespace gstmoshi {

/** A MoshiError that the core can fill. */
inline MoshiError EmptyError() {
  MoshiError error{};
  error.size = sizeof error;
  return error;
}

/** What the element was doing; with the status it chooses the message's domain and code. */
enum class Activity { kLoadCore, kLoad, kEncode, kDecode, kStep };

/**
 * Posts `error` as an ERROR message; its details carry `status` (int) and `activity` for programs. `context` goes into
 * the debug text.
 */
void PostCoreError(GstElement* element, const MoshiError& error, Activity activity, const std::string& context);

}  // namespace gstmoshi

// SPDX-License-Identifier: MIT
// Silence around a recording, for models that want to hear some before it and behind it.
#pragma once

#include <gst/gst.h>

namespace app {

/// What passes the sink pad `pad` of raw mono sound is moved by `before`; silence takes that time, and `after` at the
/// end of the stream. The pad must not have got anything yet.
void surround_with_silence(GstPad* pad, GstClockTime before, GstClockTime after);

}  // namespace app

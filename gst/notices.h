// SPDX-License-Identifier: MIT
// Messages that encoder and decoder share.
#pragma once

#include <gst/gst.h>

#include <mutex>

#include "glib_ptr.h"

namespace gstmoshi {

/** Answers ACCEPT_CAPS queries. Any thread. */
class CapsGate {
 public:
  /** A refusal is posted as a WARNING with `advice`, once for the same caps. */
  bool Accept(GstElement* element, const GstCaps* caps, const GstCaps* allowed, const char* advice);

 private:
  std::mutex mutex_;
  CapsPtr refused_;
};

/** Tells the application of live input that came before the model was ready and was dropped. */
void PostDropped(GstElement* element, const GstSegment& segment, GstClockTime time, GstClockTime duration,
                 guint64 processed, guint64 dropped);

}  // namespace gstmoshi

// SPDX-License-Identifier: MIT
// Messages that the elements share.
#pragma once

#include <gst/gst.h>

#include <atomic>
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

/** Live input that comes before the model is loaded: it is dropped, counted, and told when that begins and ends. */
class SkippedInput {
 public:
  struct Place {
    const GstSegment& segment;
    GstClockTime time = GST_CLOCK_TIME_NONE, duration = GST_CLOCK_TIME_NONE;
    guint64 processed = 0;  ///< frames that were not dropped
  };

  /** For each input, on the streaming thread. False if this one is not dropped and the one before was not either. */
  bool Note(GstElement* element, bool skip, const Place& place);
  void Start() { skipping_ = false; }
  /** Any thread. */
  guint64 count() const { return count_; }

 private:
  bool skipping_ = false;
  std::atomic<guint64> count_{0};
};

}  // namespace gstmoshi

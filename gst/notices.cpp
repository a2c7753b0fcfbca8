// SPDX-License-Identifier: MIT
#include "notices.h"

#include <utility>

namespace gstmoshi {

bool CapsGate::Accept(GstElement* element, const GstCaps* caps, const GstCaps* allowed, const char* advice) {
  if (gst_caps_is_subset(caps, allowed)) return true;
  {
    std::lock_guard lock(mutex_);
    if (refused_ && gst_caps_is_equal(refused_.get(), caps)) return false;
    refused_.reset(gst_caps_copy(caps));
  }
  StringPtr offered(gst_caps_to_string(caps)), wanted(gst_caps_to_string(allowed));
  GST_ELEMENT_WARNING(element, CORE, NEGOTIATION,
                      ("%s cannot take %s. %s", GST_ELEMENT_NAME(element), offered.get(), advice),
                      ("it takes %s", wanted.get()));
  return false;
}

void PostDropped(GstElement* element, const GstSegment& segment, GstClockTime time, GstClockTime duration,
                 guint64 processed, guint64 dropped) {
  const guint64 running = GST_CLOCK_TIME_IS_VALID(time) ? gst_segment_to_running_time(&segment, GST_FORMAT_TIME, time)
                                                        : GST_CLOCK_TIME_NONE;
  const guint64 stream =
      GST_CLOCK_TIME_IS_VALID(time) ? gst_segment_to_stream_time(&segment, GST_FORMAT_TIME, time) : GST_CLOCK_TIME_NONE;
  GstMessage* message = gst_message_new_qos(GST_OBJECT(element), TRUE, running, stream, time, duration);
  gst_message_set_qos_stats(message, GST_FORMAT_BUFFERS, processed, dropped);
  gst_element_post_message(element, message);
}

bool SkippedInput::Note(GstElement* element, bool skip, const Place& place) {
  const bool before = std::exchange(skipping_, skip);
  if (skip) ++count_;
  // Not one message for each buffer.
  if (skip != before) PostDropped(element, place.segment, place.time, place.duration, place.processed, count_);
  return skip || before;
}

}  // namespace gstmoshi

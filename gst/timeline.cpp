// SPDX-License-Identifier: MIT
#include "timeline.h"

namespace gstmoshi {

void Timeline::Anchor(GstClockTime time) {
  base_ = time;
  samples_ = 0;
  new_segment_ = false;
}

void Timeline::EnterSegment(const GstSegment& from, const GstSegment& to) {
  const GstClockTime now = next();
  if (!GST_CLOCK_TIME_IS_VALID(now)) return;
  guint64 running_time = 0, position = 0;
  const bool known = gst_segment_to_running_time_full(&from, GST_FORMAT_TIME, now, &running_time) > 0 &&
                     gst_segment_position_from_running_time_full(&to, GST_FORMAT_TIME, running_time, &position) > 0;
  // A position that cannot be reached makes whatever comes next a jump.
  Anchor(known ? position : G_MAXINT64);
  new_segment_ = true;
}

GstClockTime Timeline::next() const {
  if (!GST_CLOCK_TIME_IS_VALID(base_)) return base_;
  return base_ + gst_util_uint64_scale(samples_, GST_SECOND, rate_);
}

Timeline::Place Timeline::Locate(GstClockTime time, GstClockTime tolerance) {
  const GstClockTime expected = next();
  if (!GST_CLOCK_TIME_IS_VALID(expected)) {
    Anchor(time);
    return Place::kContinuous;
  }
  const GstClockTimeDiff late = GST_CLOCK_DIFF(expected, time);
  const bool continuous = ABS(late) <= static_cast<GstClockTimeDiff>(tolerance);
  if (new_segment_) {
    Anchor(time);
    return continuous ? Place::kContinuous : Place::kJump;
  }
  if (continuous) return Place::kContinuous;
  const bool near = ABS(late) <= static_cast<GstClockTimeDiff>(kLongestHole);
  if (near && late > 0) return Place::kHole;
  Anchor(time);
  return near ? Place::kOverlap : Place::kJump;
}

guint64 Timeline::SamplesUntil(GstClockTime time) const {
  const GstClockTime expected = next();
  if (!GST_CLOCK_TIME_IS_VALID(expected) || time <= expected) return 0;
  return gst_util_uint64_scale_round(time - expected, rate_, GST_SECOND);
}

}  // namespace gstmoshi

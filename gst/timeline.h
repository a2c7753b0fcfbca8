// SPDX-License-Identifier: MIT
// Where the next input sample belongs, and what a buffer's time stamp says about it.
#pragma once

#include <gst/gst.h>

namespace gstmoshi {

/** Holes up to this are filled with silence; larger ones start afresh. */
constexpr GstClockTime kLongestHole = GST_SECOND;

/** Counts samples from an anchor, so that no rounding error adds up. Times are those of the input segment. */
class Timeline {
 public:
  enum class Place {
    kContinuous,  ///< where it was expected, or the first of a stream
    kHole,        ///< later, by at most kLongestHole
    kOverlap,     ///< earlier, by at most kLongestHole: time goes on from there
    kJump         ///< elsewhere: time goes on from there
  };

  void SetRate(int rate) { rate_ = rate; }
  /** The next time stamp is the first of a stream. */
  void Forget() { base_ = GST_CLOCK_TIME_NONE; }
  void Anchor(GstClockTime time);
  void Advance(guint64 samples) { samples_ += samples; }
  /** A new segment goes on where the old one is now if the running time says so; the next Locate tells. */
  void EnterSegment(const GstSegment& from, const GstSegment& to);

  /** The expectation does not come from samples of this segment. */
  bool fresh() const { return new_segment_ || !GST_CLOCK_TIME_IS_VALID(base_); }
  /** Expected time of the next sample, or GST_CLOCK_TIME_NONE. */
  GstClockTime next() const;
  /** Compares a time stamp with the expectation, and follows it unless it is continuous or a hole. */
  Place Locate(GstClockTime time, GstClockTime tolerance);
  /** Samples from the expected time to `time`; 0 if it is not later. */
  guint64 SamplesUntil(GstClockTime time) const;

 private:
  int rate_ = 24000;
  GstClockTime base_ = GST_CLOCK_TIME_NONE;
  guint64 samples_ = 0;
  bool new_segment_ = false;
};

}  // namespace gstmoshi

// SPDX-License-Identifier: MIT
// How long steps take.
#pragma once

#include <gst/gst.h>

#include <array>

namespace gstmoshi {

/** The last steps' times. Not for several threads at once. */
class StepTimes {
 public:
  void Add(GstClockTime time);
  /** The time that this share of the last steps did not exceed; 0 before the first. */
  GstClockTime Percentile(double share) const;
  gsize count() const { return count_; }
  void Forget() { count_ = next_ = 0; }

 private:
  std::array<GstClockTime, 512> times_{};
  gsize count_ = 0, next_ = 0;
};

}  // namespace gstmoshi

// SPDX-License-Identifier: MIT
#include "step_times.h"

#include <algorithm>

namespace gstmoshi {

void StepTimes::Add(GstClockTime time) {
  times_[next_] = time;
  next_ = (next_ + 1) % times_.size();
  count_ = std::min(count_ + 1, times_.size());
}

GstClockTime StepTimes::Percentile(double share) const {
  if (count_ == 0) return 0;
  std::array<GstClockTime, 512> sorted = times_;
  const auto wanted = sorted.begin() + static_cast<gsize>(share * static_cast<double>(count_ - 1) + 0.5);
  std::nth_element(sorted.begin(), wanted, sorted.begin() + count_);
  return *wanted;
}

}  // namespace gstmoshi

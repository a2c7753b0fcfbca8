// SPDX-License-Identifier: MIT
// How long a call is going to take: measured at warm-up, corrected by every call.
#pragma once

#include <algorithm>
#include <cstdint>

namespace moshi::engine {

/// A call's time grows with its frames, from a first one that pays for reading the weights. Frames are those of all
/// rows together, or, of a lane in lockstep, those of the longest row. Not thread-safe.
class CostModel {
 public:
  /// `first_ns`: a call of one frame. `more_ns`: each further frame of the same call.
  void set(int64_t first_ns, int64_t more_ns) {
    first_ns_ = std::max<int64_t>(first_ns, 1);
    more_ns_ = std::clamp<int64_t>(more_ns, 1, first_ns_);
    scale_ = 1.0;
  }

  int64_t estimate_ns(int frames) const {
    return static_cast<int64_t>(scale_ * static_cast<double>(first_ns_ + (frames - 1) * more_ns_));
  }

  /// The most frames of a call that takes no longer than `budget_ns`; at least 1, at most `limit`.
  int frames_within(int64_t budget_ns, int limit) const {
    const double left = static_cast<double>(budget_ns) / scale_ - static_cast<double>(first_ns_);
    if (left <= 0) return 1;
    return static_cast<int>(std::min<double>(limit, 1.0 + left / static_cast<double>(more_ns_)));
  }

  /// Follows what the machine really does (other load, heat), slowly, and within bounds.
  void observe(int frames, int64_t took_ns) {
    const double unscaled = static_cast<double>(first_ns_ + (frames - 1) * more_ns_);
    const double ratio = std::clamp(static_cast<double>(took_ns) / unscaled, 0.1, 10.0);
    scale_ = std::clamp(scale_ + (ratio - scale_) / 16.0, 0.25, 4.0);
  }

 private:
  int64_t first_ns_ = 16'000'000;  // Mimi's order of magnitude, until it is measured
  int64_t more_ns_ = 4'000'000;
  double scale_ = 1.0;
};

}  // namespace moshi::engine

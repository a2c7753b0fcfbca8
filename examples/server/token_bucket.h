// SPDX-License-Identifier: MIT
// A limit on a rate that allows bursts.
#pragma once

#include <algorithm>

namespace server {

class TokenBucket {
 public:
  /// Holds what comes in `burst_seconds` at this rate, and is full at first. 0 or less: no limit.
  TokenBucket(double per_second, double burst_seconds)
      : per_second_(per_second), most_(per_second * burst_seconds), level_(most_) {}

  /// False when that would be too much, and then it does not count. `now` in seconds, never less than before.
  bool take(double amount, double now) {
    if (per_second_ <= 0) return true;
    if (begun_) level_ = std::min(level_ + (now - last_) * per_second_, most_);
    begun_ = true;
    last_ = now;
    if (level_ < amount) return false;
    level_ -= amount;
    return true;
  }

 private:
  double per_second_, most_, level_, last_ = 0;
  bool begun_ = false;
};

}  // namespace server

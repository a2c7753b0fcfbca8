// SPDX-License-Identifier: MIT
#include "delays.h"

#include <algorithm>
#include <cmath>

namespace server {

void Delays::add(double seconds) {
  if (last_.size() < kMost) {
    last_.push_back(seconds);
    return;
  }
  last_[next_] = seconds;
  next_ = (next_ + 1) % kMost;
}

double Delays::quantile(double part) const {
  if (last_.empty()) return 0;
  std::vector<double> sorted = last_;
  const auto rank = static_cast<size_t>(std::ceil(std::clamp(part, 0.0, 1.0) * static_cast<double>(sorted.size())));
  const auto at = sorted.begin() + static_cast<std::ptrdiff_t>(rank > 0 ? rank - 1 : 0);
  std::nth_element(sorted.begin(), at, sorted.end());
  return *at;
}

}  // namespace server

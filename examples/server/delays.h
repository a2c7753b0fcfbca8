// SPDX-License-Identifier: MIT
// The delays of the last frames.
#pragma once

#include <cstddef>
#include <vector>

namespace server {

class Delays {
 public:
  void add(double seconds);
  /// 0 when there are none.
  double quantile(double part) const;

 private:
  static constexpr size_t kMost = 512;
  std::vector<double> last_;
  size_t next_ = 0;
};

}  // namespace server

// SPDX-License-Identifier: MIT
// Matrix product in one fixed order of additions. Internal to the random model.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

namespace moshi::mimi::random {

/// Calls body(begin, end) on parts of [0, count), each a multiple of `grain` long but the last, from several threads.
void in_parallel(size_t count, size_t grain, int threads, const std::function<void(size_t, size_t)>& body);

/// A factor [depth][columns], laid out for multiply().
class Panels {
 public:
  static constexpr size_t kColumns = 8;

  Panels(size_t depth, size_t columns);
  float& at(size_t k, size_t column) { return data_[(column / kColumns * depth_ + k) * kColumns + column % kColumns]; }
  size_t depth() const { return depth_; }
  size_t columns() const { return columns_; }
  const float* panel(size_t index) const { return data_.data() + index * depth_ * kColumns; }

 private:
  size_t depth_;
  size_t columns_;
  std::vector<float> data_;
};

/// One output row reads `taps` runs of `run` floats, the i-th at a + row * row_step + i * tap_step;
/// taps * run = b.depth(). out[row][column] is the sum over all of them in order, one addition after another.
struct Rows {
  const float* a = nullptr;
  size_t count = 0;
  size_t row_step = 0;
  size_t taps = 1;
  size_t tap_step = 0;
  size_t run = 0;
};
void multiply(const Rows& rows, const Panels& b, float* out, int threads);

}  // namespace moshi::mimi::random

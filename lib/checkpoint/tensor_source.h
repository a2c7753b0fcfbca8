// SPDX-License-Identifier: MIT
// Where a model's numbers come from, by name.
#pragma once

#include <string>
#include <vector>

namespace moshi::checkpoint {

/// A checkpoint, or memory in tests and in the random-model tool.
class TensorSource {
 public:
  virtual ~TensorSource() = default;
  /// The tensor as f32, row-major, in its canonical shape. Throws Error when it holds NaN or infinity.
  virtual std::vector<float> read(const std::string& name) const = 0;
};

}  // namespace moshi::checkpoint

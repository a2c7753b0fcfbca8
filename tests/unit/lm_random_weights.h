// SPDX-License-Identifier: MIT
// A small language model's weights in memory, drawn from a hash of tensor name and index.
#pragma once

#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lm/factory.h"
#include "lm/shapes.h"
#include "lm/weights.h"

namespace moshi::test {

class RandomLmWeights final : public lm::Weights {
 public:
  explicit RandomLmWeights(const lm::Config& config) {
    for (const lm::TensorSpec& tensor : lm::expected_tensors(config)) {
      std::vector<float>& values = tensors_[tensor.name];
      const bool linear = tensor.kind == lm::TensorKind::kLinear;
      const double scale = linear ? 2.6 / std::sqrt(static_cast<double>(tensor.columns())) : 1.7;
      uint64_t state = std::hash<std::string>{}(tensor.name);
      for (int64_t i = 0; i < tensor.elements(); ++i) {
        state = state * 6364136223846793005ull + 1442695040888963407ull;
        const double uniform = static_cast<double>(state >> 11) * 0x1p-53 * 2 - 1;
        values.push_back(
            static_cast<float>(tensor.kind == lm::TensorKind::kVector ? 1 + 0.2 * uniform : scale * uniform));
      }
      shapes_[tensor.name] = {static_cast<int>(tensor.rows()), static_cast<int>(tensor.columns())};
    }
  }

  /// Changes one value, for tests of damage.
  std::vector<float>& values(const std::string& name) { return tensors_.at(name); }

  bool has(const std::string& name) const override { return tensors_.contains(name); }
  lm::Linear linear(const std::string& name) const override { return {.weight = table(name), .down = {}, .up = {}}; }
  std::vector<float> vector(const std::string& name) const override { return tensors_.at(name); }
  lm::Matrix table(const std::string& name) const override {
    const auto [rows, columns] = shapes_.at(name);
    return {.rows = rows, .columns = columns, .data = reinterpret_cast<const std::byte*>(tensors_.at(name).data())};
  }
  void drop(const lm::Matrix&) const override {}
  uint64_t file_bytes() const override { return 1; }
  std::string sha256(const std::function<void()>&) const override { return "0"; }

 private:
  std::map<std::string, std::vector<float>> tensors_;
  std::map<std::string, std::pair<int, int>> shapes_;
};

}  // namespace moshi::test

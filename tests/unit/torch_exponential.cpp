// SPDX-License-Identifier: MIT
// Frequencies of rotary positions are to the last bit what LibTorch's own operators make of them on this processor.
#include "nn/torch_exponential.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "nn/rope_frequencies.h"

namespace moshi::nn {
namespace {

TEST(TorchExponential, MakesTheFrequenciesThatItsOperatorsMake) {
  const Exponential before = set_exponential(torch_exponential);
  for (const float max_period : {10000.0f, 20000.0f, 100000.0f}) {
    for (const int head_dim : {16, 64, 72, 96, 128, 256}) {
      const at::Tensor pair = at::arange(head_dim / 2, at::kFloat);
      const at::Tensor wanted = at::exp(pair * (-std::log(static_cast<double>(max_period)) * 2 / head_dim));
      const std::vector<float> found = rope_frequencies(head_dim, max_period);
      ASSERT_EQ(found, std::vector<float>(wanted.data_ptr<float>(), wanted.data_ptr<float>() + head_dim / 2));
      for (size_t i = 0; i < found.size(); ++i) {
        const double exact = std::pow(static_cast<double>(max_period), -2.0 * static_cast<double>(i) / head_dim);
        EXPECT_NEAR(found[i], exact, exact * 1e-6);
      }
    }
  }
  set_exponential(before);
}

}  // namespace
}  // namespace moshi::nn

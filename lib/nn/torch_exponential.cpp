// SPDX-License-Identifier: MIT
#include "nn/torch_exponential.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <cstdint>

namespace moshi::nn {

void torch_exponential(float* numbers, size_t count) {
  const c10::InferenceMode inference;
  const auto options = at::TensorOptions().device(at::kCPU).dtype(at::kFloat);
  at::from_blob(numbers, {static_cast<int64_t>(count)}, options).exp_();
}

}  // namespace moshi::nn

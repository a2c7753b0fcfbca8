// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>

namespace moshi::nn {

/// LibTorch's exponential on this processor's CPU, for set_exponential(): the reference's own.
void torch_exponential(float* numbers, size_t count);

}  // namespace moshi::nn

// SPDX-License-Identifier: MIT
// LibTorch devices by name.
#pragma once

#include <ATen/ATen.h>

#include <string>

namespace moshi::mimi {

/// "cpu", "cuda" or "cuda:N" as a device that is there; opens CUDA's part of LibTorch, once, when it is asked for.
/// Throws Error(NO_DEVICE) that says what is missing.
at::Device open_torch_device(const std::string& name);

}  // namespace moshi::mimi

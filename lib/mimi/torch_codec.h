// SPDX-License-Identifier: MIT
// Mimi on LibTorch operators in f32: plain and obviously right. CUDA runs on it, and on CPU the packed kernels are
// measured against it. This header needs no LibTorch; only torch_*.cpp include LibTorch's headers.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "mimi/codec.h"
#include "mimi/config.h"
#include "mimi/weights.h"

namespace moshi::mimi {

/// Loads the tensors that the wanted directions need; `source` is not used after the return.
///
/// `device` is "cpu", "cuda" or "cuda:N". CUDA's part of LibTorch is opened only when a CUDA device is asked for.
/// `progress`, if set, is called on this thread with fractions in [0, 1]; an exception from it ends the load.
/// `max_batch` is the most rows that one operator call takes; 0 stands for 1 on CPU and for all listed rows on CUDA.
/// With 1, a row's output is the same bits whatever is beside it; LibTorch's matrix products differ in the last bits
/// with the number of rows, so that with more it is the same within rounding only.
///
/// LibTorch is held to one thread for the whole process: parallelism belongs to the engine's executor.
/// Throws Error: NO_DEVICE, MISMATCH, NO_MEMORY, NOT_SUPPORTED, or what `source` throws.
std::unique_ptr<Codec> make_torch_codec(const Config& config, const TensorSource& source, const std::string& device,
                                        bool encode, bool decode, const std::function<void(double)>& progress,
                                        int max_batch = 0);

}  // namespace moshi::mimi

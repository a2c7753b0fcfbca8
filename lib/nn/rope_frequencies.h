// SPDX-License-Identifier: MIT
// The frequencies of rotary positions, to the last bit as the reference has them.
#pragma once

#include <cstddef>
#include <vector>

namespace moshi::nn {

/// Puts e to the power of each of `count` numbers in its place.
using Exponential = void (*)(float* numbers, size_t count);

/// exp(-ln(max_period) * 2 i / head_dim) for i below head_dim / 2.
///
/// A position multiplies a frequency in f32, so that one unit in the last place of a frequency is radians after an
/// hour: the rounding of the reference's exponential is part of its results. That is PyTorch's, and depends on the
/// processor: Intel's, with and without AVX-512, and AMD's round some frequencies each in another direction.
std::vector<float> rope_frequencies(int head_dim, float max_period);

/// Which exponential rope_frequencies() takes from now on; at first a correctly rounded one. Returns the one before.
/// Any thread.
Exponential set_exponential(Exponential exponential);

}  // namespace moshi::nn

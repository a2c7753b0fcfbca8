// SPDX-License-Identifier: MIT
// The frequencies of rotary positions, to the last bit as the reference has them.
#pragma once

#include <vector>

namespace moshi::nn {

/// exp(-ln(max_period) * 2 i / head_dim) for i below head_dim / 2.
///
/// A position multiplies a frequency in f32, so that one unit in the last place of a frequency is radians after an
/// hour: the rounding of the reference's exponential is part of the format.
std::vector<float> rope_frequencies(int head_dim, float max_period);

}  // namespace moshi::nn

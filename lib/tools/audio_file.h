// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

namespace moshi::tools {

/// Samples of a .wav file (16-bit or float, its first channel, which must have this rate) or of a file of raw
/// little-endian floats. Throws Error.
std::vector<float> read_mono(const std::string& path, int sample_rate);

}  // namespace moshi::tools

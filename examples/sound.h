// SPDX-License-Identifier: MIT
// Whole recordings in memory: whatever GStreamer can decode, and WAV files.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace app {

/// The first channel of a file or URI at `rate` Hz. Says why, and gives nothing, if there is none.
std::optional<std::vector<float>> read_sound(const std::string& input, int rate);

enum class SampleFormat {
  kInt16,   ///< x * 32767, clipped and cut towards zero: what the reference's tool writes
  kFloat32  ///< as they are, not clipped
};

/// Writes a mono WAV file; says why if that fails.
bool write_wav(const std::string& path, std::span<const float> pcm, int rate, SampleFormat format);

}  // namespace app

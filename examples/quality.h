// SPDX-License-Identifier: MIT
// How near decoded speech is to the original: measures that need no listener.
#pragma once

#include <optional>
#include <span>

namespace app {

/// Samples a second that stoi() takes.
inline constexpr int kStoiRate = 10000;

/// Short-time objective intelligibility (Taal et al., 2011), up to 1, of speech at kStoiRate. Nothing if there is less
/// than 0.4 s of speech. Both are of one length and aligned; what is longer is not looked at.
std::optional<double> stoi(std::span<const float> original, std::span<const float> decoded);

/// Mean difference of the logarithms of 80 mel bands up to 8 kHz, in dB; `rate` in Hz. What is more than 60 dB below
/// the loudest band of the original counts as that loud.
double mel_distance(std::span<const float> original, std::span<const float> decoded, int rate);

}  // namespace app

// SPDX-License-Identifier: MIT
// Philox4x32-10, the counter-based generator of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (2011):
// a draw is a function of its key and its place, so that nobody else's draws can change it.
#pragma once

#include <array>
#include <cstdint>

namespace moshi::lm {

inline std::array<uint32_t, 4> philox(uint64_t key, std::array<uint32_t, 4> counter) {
  auto k0 = static_cast<uint32_t>(key);
  auto k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * counter[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(p1 >> 32) ^ counter[1] ^ k0, static_cast<uint32_t>(p1),
               static_cast<uint32_t>(p0 >> 32) ^ counter[3] ^ k1, static_cast<uint32_t>(p0)};
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return counter;
}

/// Uniform in (0, 1), with 52 bits: never 0 and never 1.
inline double philox_uniform(uint64_t key, const std::array<uint32_t, 4>& counter) {
  const std::array<uint32_t, 4> bits = philox(key, counter);
  const uint64_t mantissa = (uint64_t{bits[0]} << 20) | (bits[1] >> 12);
  return (static_cast<double>(mantissa) + 0.5) * 0x1p-52;
}

}  // namespace moshi::lm

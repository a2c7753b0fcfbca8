// SPDX-License-Identifier: MIT
// What the fake core computes. Tests include this too, to know the right answer.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

namespace moshi_fake {

inline constexpr int kRate = 24000;
inline constexpr int kFrameSamples = 1920;
inline constexpr int kCodebooks = 32;
inline constexpr int kCardinality = 2048;

inline uint64_t Mix(uint64_t hash, uint64_t value) {
  uint64_t x = hash ^ (value + 0x9e3779b97f4a7c15ull + (hash << 6) + (hash >> 2));
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

/** State of one direction of one session. */
struct State {
  uint64_t hash = 0x6d6f736869ull;
  int64_t frames = 0;  ///< since the last reset
};

/** Codes of the next frame. Fewer codebooks give the first of the same codes, as with a residual quantizer. */
inline void EncodeFrame(State& state, const float* pcm, int samples, int codebooks, int cardinality, uint16_t* codes) {
  uint64_t hash = state.hash;
  // Adding 0 makes -0 and 0 the same silence.
  for (int i = 0; i < samples; ++i) hash = Mix(hash, std::bit_cast<uint32_t>(pcm[i] + 0.0f));
  state.hash = hash;
  ++state.frames;
  for (int k = 0; k < codebooks; ++k) codes[k] = static_cast<uint16_t>(Mix(hash, k) % cardinality);
}

// A decoded frame begins with these samples, exact in F32 and in S16 (with a full scale of 32768):
//   [0] index of the frame since the last reset, modulo 4096, divided by 4096
//   [1] codebooks / 64
//   [2 + k] code k / 2048
// The rest is noise in [-0.25, 0.25) times the gain, from all codes since the last reset.
inline constexpr int kHeaderSamples = 2;

inline float NoiseSample(uint64_t hash, int i) {
  return static_cast<float>(static_cast<int>(Mix(hash, i) % 16384) - 8192) / 32768.0f;
}

/** Audio of the next frame. */
inline void DecodeFrame(State& state, const uint16_t* codes, int codebooks, int samples, float gain, float* pcm) {
  uint64_t hash = state.hash;
  for (int k = 0; k < codebooks; ++k) hash = Mix(hash, codes[k]);
  int n = 0;
  pcm[n++] = static_cast<float>(state.frames % 4096) / 4096.0f;
  pcm[n++] = static_cast<float>(codebooks) / 64.0f;
  for (int k = 0; k < codebooks; ++k) pcm[n++] = static_cast<float>(codes[k]) / 2048.0f;
  for (; n < samples; ++n) pcm[n] = NoiseSample(hash, n) * gain;
  state.hash = hash;
  ++state.frames;
}

/** What the fake gives as the weight file's SHA-256. `file`: resolved path, or "embedded". */
inline std::string FileHash(std::string_view file) {
  uint64_t hash = 7;
  for (char c : file) hash = Mix(hash, static_cast<unsigned char>(c));
  std::string digits;
  for (int i = 0; i < 4; ++i) {
    char part[17];
    std::snprintf(part, sizeof part, "%016llx", static_cast<unsigned long long>(Mix(hash, i)));
    digits += part;
  }
  return digits;
}

}  // namespace moshi_fake

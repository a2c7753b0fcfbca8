// SPDX-License-Identifier: MIT
// A conformance vector as README.md describes it.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

namespace moshi_vectors {

inline constexpr int kSpots = 16;
inline constexpr int kChannels = 4;
inline constexpr double kAudioLimit = 1e-4;   // of full scale
inline constexpr double kLatentLimit = 1e-5;  // of the greatest channel of the frame

struct Audio {
  std::string sha256;
  std::vector<double> offsets;
  std::vector<std::array<double, kSpots>> spots;
};

struct Vector {
  std::string name;
  uint64_t seed = 0;
  std::string config;  ///< JSON; empty: the default shape
  std::string model_sha256;
  std::string speech_file;
  std::string speech_sha256;
  std::vector<double> gains;
  int frames = 0;
  int codebooks = 0;
  std::vector<uint16_t> codes;  ///< frame-major
  std::map<std::tuple<int, int>, int> ties;
  std::vector<std::array<double, kChannels>> channels;
  std::vector<double> greatest;
  std::map<int, Audio> audio;  ///< by number of codebooks
};

/// Throws where the file is not there or not as it should be.
Vector load_vector(const std::string& folder, const std::string& name);

/// The input of `vector`, in whole frames of this many samples.
std::vector<float> speech(const std::string& folder, const Vector& vector, int frame_samples);

/// Where a frame's spots and channels are taken.
int spot(int frame, int index, int frame_samples);
int channel(int frame, int index, int width);

std::string sha256_of_file(const std::string& path);
/// The digest of the rounded samples, all frames one after another.
std::string rounded_sha256(const std::vector<float>& audio, const std::vector<double>& offsets);

}  // namespace moshi_vectors

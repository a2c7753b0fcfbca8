// SPDX-License-Identifier: MIT
// A Mimi with random weights, made from a seed, that behaves like a trained one where tests look: every layer's
// output has a deviation near one on speech, and codes differ from frame to frame in every codebook. (As a network
// is usually initialized it gives one and the same code for every frame, and any defect passes unnoticed.)
//
// The same arguments give the same bits on every machine with IEEE arithmetic: random numbers are integer
// arithmetic, all else is additions, multiplications, divisions and square roots in one fixed order.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/safetensors.h"
#include "mimi/config.h"
#include "mimi/weights.h"

namespace moshi::mimi {

struct RandomModel {
  Config config;
  uint64_t seed = 0;
  std::vector<checkpoint::F32Tensor> tensors;  ///< canonical names, in the order of expected_tensors()
};

/// `speech` is what the layers are scaled on: mono at the model's rate; whole frames of it are used, at least 20.
/// Without any, 16 s of synthetic_speech(). `threads` 0: all cores; the result does not depend on it.
/// Throws Error(INVALID_ARGUMENT) if it is too short or silent.
RandomModel make_random_model(const Config& config, uint64_t seed, std::span<const float> speech = {}, int threads = 0);

/// Something with the spectrum and rhythm of speech: voiced sounds, hisses and pauses, RMS 0.08, below 0.95.
std::vector<float> synthetic_speech(int sample_rate, double seconds, uint64_t seed);

/// Writes a model directory: config.json, the Mimi configuration, and the weights under the names that published
/// files have. The directory is made if it is not there. Returns the path of the weight file.
std::string write_random_model(const std::string& directory, const RandomModel& model);

/// Tensors in memory as a source of weights. The model must outlive it.
class MemoryWeights final : public TensorSource {
 public:
  explicit MemoryWeights(const RandomModel& model);
  std::vector<float> read(const std::string& name) const override;

 private:
  std::map<std::string, const checkpoint::F32Tensor*, std::less<>> tensors_;
};

}  // namespace moshi::mimi

// SPDX-License-Identifier: MIT
// Small random models for tests: weights by name, scaled so that signals keep their size.
#pragma once

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "common/error.h"
#include "mimi/weights.h"

namespace moshi::mimi {

/// 8 kHz, frames of 160 samples, two latent steps a frame, a ring of nine steps, dilated residual layers, projections
/// around the transformer.
inline Config small_config() {
  Config config;
  config.sample_rate = 8000;
  config.frame_rate = 50.0;
  config.seanet.dimension = 24;
  config.seanet.n_filters = 4;
  config.seanet.ratios = {5, 4, 4};
  config.seanet.n_residual_layers = 2;
  config.transformer.d_model = 16;
  config.transformer.num_heads = 2;
  config.transformer.num_layers = 2;
  config.transformer.context = 9;
  config.transformer.dim_feedforward = 32;
  config.transformer.input_dimension = config.transformer.output_dimension = 24;
  config.quantizer = {12, 5, 60, 24, 24};
  return config;
}

/// Normal weights by name, scaled by the fan-in.
class RandomSource : public TensorSource {
 public:
  explicit RandomSource(const Config& config) : specs_(expected_tensors(config)) {}

  std::vector<float> read(const std::string& name) const override {
    const auto spec = std::find_if(specs_.begin(), specs_.end(), [&](const auto& s) { return s.name == name; });
    if (spec == specs_.end()) throw Error(MOSHI_ERR_MISMATCH, "no tensor " + name);
    std::vector<float> values(static_cast<size_t>(spec->elements()));
    if (name == short_tensor) values.pop_back();
    std::seed_seq seed(name.begin(), name.end());
    std::mt19937 engine(seed);
    std::normal_distribution<float> normal;
    const bool around_one = name.ends_with("cluster_usage") || name.find(".norm") != std::string::npos;
    float scale = 0.1f;
    if (name.ends_with("embedding_sum")) {
      scale = 0.3f;  // about the deviation of the projected latent
    } else if (spec->shape.size() >= 2) {
      // Inputs of one output; a transposed convolution [in, out, kernel] has two taps of each input channel in it.
      const bool transposed = name.find("convtr") != std::string::npos;
      const int64_t fan_in = transposed ? 2 * spec->shape[0] : spec->elements() / spec->shape[0];
      scale = gain / std::sqrt(static_cast<float>(fan_in));
    }
    for (float& value : values) value = scale * normal(engine) + (around_one && spec->shape.size() == 1 ? 1.0f : 0.0f);
    return values;
  }

  float gain = 1.3f;         ///< deviation of a product of inputs of deviation one
  std::string short_tensor;  ///< a tensor to hand out one element short

 private:
  std::vector<TensorSpec> specs_;
};

inline std::vector<float> noise(const Config& config, int frames, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal(0.0f, 0.5f);
  std::vector<float> pcm(static_cast<size_t>(frames) * config.frame_samples());
  for (float& sample : pcm) sample = normal(engine);
  return pcm;
}

}  // namespace moshi::mimi

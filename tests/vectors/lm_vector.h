// SPDX-License-Identifier: MIT
// A conformance vector of a language model as README.md describes it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace moshi_vectors {

inline constexpr int kLogits = 4;            // of each step and kind that are kept
inline constexpr double kLogitLimit = 1e-4;  // of the greatest logit of the step
inline constexpr double kHeadLimit = 1e-4;   // of a probability

struct LmCondition {
  std::string name;
  std::string text;
  std::vector<float> tensor;  ///< rows * columns; empty: `text` counts
  std::vector<uint8_t> mask;
  int64_t rows = 0, columns = 0;
  bool negative = false;
};

/// Some logits of each step, and the greatest by its absolute value.
struct LmLogits {
  std::vector<double> greatest;
  std::vector<std::array<double, kLogits>> values;
};

struct LmVector {
  std::string name;
  uint64_t seed = 0;
  std::string dtype;
  std::string config;  ///< JSON
  std::string model_sha256;
  double cfg_coef = 1;
  std::vector<LmCondition> conditions;
  int steps = 0;
  std::vector<int32_t> user;         ///< steps * user streams
  std::vector<int32_t> forced_text;  ///< steps
  std::vector<int32_t> sampled;      ///< steps * (1 + own streams)
  LmLogits text_logits;
  LmLogits audio_logits;            ///< of one stream a step, see audio_stream()
  std::vector<double> extra_heads;  ///< steps * heads * classes
};

LmVector load_lm_vector(const std::string& folder, const std::string& name);

/// Which logit of a step is value `index`.
int logit_position(int step, int index, int count);
/// Which own stream's logits are kept of a step.
int audio_stream(int step, int own_streams);

}  // namespace moshi_vectors

// SPDX-License-Identifier: MIT
// Builds language models.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "kernels/pool.h"
#include "lm/language_model.h"
#include "lm/weights.h"

namespace moshi::lm {

struct ModelRequest {
  const Config& config;
  const Weights& weights;  ///< not used after the model is made
  bool bf16 = false;  ///< store weights and key-value rings as bf16; else weights as the checkpoint has them, rings f32
  bool lora_separate = false;
  kernels::Pool& pool;                          ///< outlives the model; only its calls may use it
  const std::function<void(double)>& progress;  ///< fraction in [0, 1]; an exception from it ends the load
};

/// The packed CPU kernels' model. Throws Error; whatever was built until then is freed.
std::unique_ptr<LanguageModel> make_language_model(const ModelRequest& request);

/// Memory that the packed weights will take, and of one row, from the headers alone.
uint64_t packed_bytes(const Config& config, const Weights& weights, bool bf16, bool lora_separate);
uint64_t row_bytes(const Config& config, bool bf16, bool guidance);

}  // namespace moshi::lm

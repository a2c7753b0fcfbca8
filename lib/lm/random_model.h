// SPDX-License-Identifier: MIT
// A language model with random weights, made from a seed, whose tokens vary from step to step as a trained one's do.
// (As a network is usually initialized it says the same thing for ever, and any defect passes unnoticed.)
//
// A number depends on the seed, its tensor's name in the reference's state and its place there, and on nothing else:
// the same model in another element type is the same model, rounded. Tensors are written as they are made, under the
// stacked names that published files have, so a model of any size takes the memory of a few rows.
#pragma once

#include <cstdint>
#include <string>

#include "lm/config.h"

namespace moshi::lm {

/// kInt8: linear layers as int8 with a scale for each row, all else as bf16. Conditioners are f32 in all but kInt8.
enum class Storage { kF32, kBf16, kInt8 };

/// Writes the weights of a model. Throws Error: NOT_SUPPORTED for int8 where linear layers have biases, READ if the
/// file cannot be written.
void write_random_weights(const Config& config, uint64_t seed, Storage storage, const std::string& path);

/// Writes a LoRA adapter of `config.lora_rank` for every linear layer, strong enough to change what the model says.
void write_random_lora(const Config& config, uint64_t seed, Storage storage, const std::string& path);

}  // namespace moshi::lm

// SPDX-License-Identifier: MIT
// The tensors of a Mimi by canonical name, wherever they come from.
//
// Canonical names and shapes are those of the reference's module state: split attention names
// (`self_attn.in_projs.0.weight`), current codebook names (`cluster_usage`, `embedding_sum`), no weight norm.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/tensor_source.h"
#include "mimi/codec.h"
#include "mimi/config.h"

namespace moshi::mimi {

struct TensorSpec {
  std::string name;
  std::vector<int64_t> shape;
  int64_t elements() const;
};

/// Every tensor of a model of this shape, in execution order: encoder, encoder_transformer, downsample, quantizer,
/// upsample, decoder_transformer, decoder.
std::vector<TensorSpec> expected_tensors(const Config& config);

/// Whether a direction reads this tensor (the quantizer's codebooks serve both).
bool used_by(const TensorSpec& tensor, Direction direction);

using checkpoint::TensorSource;

}  // namespace moshi::mimi

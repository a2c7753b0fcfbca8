// SPDX-License-Identifier: MIT
#include "lm/factory.h"

#include "lm/layer_loader.h"
#include "lm/packed_model.h"
#include "lm/shapes.h"

namespace moshi::lm {

std::unique_ptr<LanguageModel> make_language_model(const ModelRequest& request) {
  return std::make_unique<PackedModel>(request);
}

uint64_t packed_bytes(const Config& config, const Weights& weights, bool bf16, bool lora_separate) {
  uint64_t bytes = 0;
  for (const TensorSpec& tensor : expected_tensors(config)) {
    if (tensor.unused) continue;
    const bool exact = tensor.name.starts_with("condition_provider.");
    if (tensor.kind == TensorKind::kLinear) {
      bytes += packed_linear_bytes(weights.linear(tensor.name), bf16 && !exact, lora_separate);
    } else if (tensor.kind == TensorKind::kTable) {
      bytes += packed_table_bytes(weights.table(tensor.name), bf16 && !exact);
    } else {
      bytes += sizeof(float) * static_cast<uint64_t>(tensor.elements());
    }
  }
  return bytes;
}

uint64_t row_bytes(const Config& config, bool bf16, bool guidance) {
  // Without conditions, what is attended to is the learnt padding of each.
  const auto absent = static_cast<int>(config.fuser.cross.size());
  return uint64_t{guidance ? 2u : 1u} *
         (StepTransformer::ring_bytes(config.temporal, bf16) + StepTransformer::cross_bytes(config.temporal, absent));
}

}  // namespace moshi::lm

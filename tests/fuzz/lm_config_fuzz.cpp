// SPDX-License-Identifier: MIT
// libFuzzer target: any text as a language model's configuration. What parses must have a list of tensors, whose sizes
// are sane.
#include <cstdint>
#include <cstdlib>

#include "common/error.h"
#include "lm/shapes.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const moshi::lm::Config config = moshi::lm::parse_config(text, "fuzz");
    if (config.delays.size() != static_cast<size_t>(config.streams())) abort();
    if (config.depth_schedule.size() != static_cast<size_t>(config.dep_q)) abort();
    // The rest takes long for deep models, and shows nothing new.
    if ((config.temporal.layers + config.depth.layers) * (1 + config.depth_weights()) > 256) return 0;
    int64_t elements = 0;
    for (const auto& tensor : moshi::lm::expected_tensors(config)) {
      if (tensor.rows() <= 0 || tensor.columns() <= 0) abort();
      if (__builtin_add_overflow(elements, tensor.elements(), &elements)) abort();
      if (tensor.kind != moshi::lm::TensorKind::kLinear) continue;
      const moshi::lm::FusedName fused = moshi::lm::fused_name(tensor.name);
      if (fused.block >= moshi::lm::fused_blocks(config, tensor.name) && fused.block != 0) abort();
    }
    if (elements <= 0) abort();
  } catch (const moshi::Error& e) {
    if (e.status() == MOSHI_ERR_INTERNAL) abort();
  }
  return 0;
}

// SPDX-License-Identifier: MIT
// From checkpoint tensors to packed ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

#include "kernels/arena.h"
#include "kernels/gemm.h"
#include "kernels/half.h"
#include "lm/weights.h"

namespace moshi::lm {

struct PackedLinear {
  kernels::PackedMatrix weight;
  kernels::PackedMatrix down, up;  ///< a LoRA beside it; down.n 0: none
  const float* scaling = nullptr;  ///< the LoRA's factor, for every column
};

/// An embedding table in memory, as the checkpoint stores it.
struct PackedTable {
  kernels::Element element = kernels::Element::kF32;
  int rows = 0;
  int width = 0;
  const std::byte* data = nullptr;

  void read(int row, float* out) const;
};

/// Turns checkpoint tensors into packed ones, in the order in which layers ask for them.
class LayerLoader {
 public:
  LayerLoader(const Weights& weights, kernels::Arena& arena, bool bf16, bool lora_separate,
              const std::function<void(double)>& progress)
      : weights_(weights), arena_(arena), bf16_(bf16), lora_separate_(lora_separate), progress_(progress) {}

  PackedLinear linear(const std::string& name);
  /// Rows [first, first + count) of a linear layer's weight, without LoRA.
  kernels::PackedMatrix linear_part(const std::string& name, int first, int count);
  /// A vector padded to whole lanes; null where the checkpoint has none.
  const float* vector(const std::string& name);
  const float* vector_if_there(const std::string& name) { return weights_.has(name) ? vector(name) : nullptr; }

  PackedTable table(const std::string& name);

 private:
  kernels::PackedMatrix pack(const Matrix& matrix);
  void advance(uint64_t bytes);

  const Weights& weights_;
  kernels::Arena& arena_;
  const bool bf16_;
  const bool lora_separate_;
  const std::function<void(double)>& progress_;
  uint64_t done_bytes_ = 0;
};

/// What packing a layer's weight takes.
uint64_t packed_linear_bytes(const Linear& linear, bool bf16, bool lora_separate);
uint64_t packed_table_bytes(const Matrix& table, bool bf16);

}  // namespace moshi::lm

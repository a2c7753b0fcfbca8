// SPDX-License-Identifier: MIT
// Every tensor of a language model, by canonical name, with its shape: what a checkpoint must hold, what memory is
// computed from and what the random model writes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lm/config.h"

namespace moshi::lm {

enum class TensorKind { kLinear, kTable, kVector };

struct TensorSpec {
  /// As Weights takes it: without ".weight" for matrices, in full for vectors.
  std::string name;
  TensorKind kind = TensorKind::kLinear;
  /// Matrices: [out][in] or [rows][width]. Vectors: as the reference stores them, [n] or [1][1][n].
  std::vector<int64_t> shape;
  /// Nothing reads it; the reference's modules have it all the same, and a file may lack it.
  bool unused = false;

  /// The name in the reference's state.
  std::string key() const { return kind == TensorKind::kVector ? name : name + ".weight"; }
  int64_t rows() const { return kind == TensorKind::kVector ? 1 : shape[0]; }
  int64_t columns() const { return shape.back(); }
  int64_t elements() const { return rows() * columns(); }
};

/// In the order in which a step reads them: embeddings, temporal transformer, heads, depth transformer, conditions.
std::vector<TensorSpec> expected_tensors(const Config& config);

/// A tensor's place in the reference's files on disk, where the blocks of an attention's projections are stacked.
struct FusedName {
  std::string name;  ///< without ".weight": "...self_attn.in_proj", "...self_attn.out_proj"
  int block = 0;     ///< which of the stacked blocks
};
/// Of a linear layer's canonical name; `name` itself and block 0 for those that are not stacked.
FusedName fused_name(const std::string& name);
/// How many blocks the projections of this attention have.
int fused_blocks(const Config& config, std::string_view name);

}  // namespace moshi::lm

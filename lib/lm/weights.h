// SPDX-License-Identifier: MIT
// A language model's tensors by canonical name, as stored: checked against the configuration, nothing converted yet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/half.h"
#include "lm/config.h"

namespace moshi::lm {

using Element = kernels::Element;

/// A matrix of `rows` x `columns`, row-major; points into the checkpoint.
struct Matrix {
  Element element = Element::kF32;
  int rows = 0;
  int columns = 0;
  const std::byte* data = nullptr;
  /// int8: the value of element (r, c) is data * row_scale[r] / 127. Otherwise null.
  const float* row_scale = nullptr;
};

/// The weight of a linear layer, [out][in], and what a LoRA adds to it: y = W x + scaling * up (down x).
struct Linear {
  Matrix weight;
  Matrix down;  ///< [rank][in]; rows 0: no LoRA
  Matrix up;    ///< [out][rank]
  float scaling = 0.0f;

  bool has_lora() const { return down.rows > 0; }
};

/// Names are the reference's state-dict names of the split spelling, without ".weight" for linear():
/// "transformer.layers.0.self_attn.in_projs.0", "depformer.layers.2.gating.5.linear_in", "depformer_in.3",
/// "text_linear", "linears.0", "extra_heads.0", "depformer_text_emb.out1", "depformer_emb.0.low_rank",
/// "condition_provider.conditioners.description.output_proj"; cross attention: "...cross_attention.in_projs.0". An
/// ungated feed-forward of the depth transformer, or any where there is one set of weights, has no index.
class Weights {
 public:
  virtual ~Weights() = default;
  virtual bool has(const std::string& name) const = 0;
  /// Throws Error(MISMATCH) if there is none.
  virtual Linear linear(const std::string& name) const = 0;
  /// A tensor of one row (norms, biases, scales, learnt padding) as f32. `name` is the full one ("out_norm.alpha").
  virtual std::vector<float> vector(const std::string& name) const = 0;
  /// An embedding table: "emb.0", "text_emb", "depformer_emb.3", "condition_provider.conditioners.description.embed".
  virtual Matrix table(const std::string& name) const = 0;
  /// The system may take back the pages of a matrix; a later access reads them again.
  virtual void drop(const Matrix& matrix) const = 0;

  virtual uint64_t file_bytes() const = 0;
  /// Hex SHA-256 of the weight file; reads all of it, on any thread. `check` is called now and then; what it throws
  /// ends it.
  virtual std::string sha256(const std::function<void()>& check) const = 0;
};

/// Opens a checkpoint, and a LoRA file unless `lora_path` is "". Fused and split spellings, f32, bf16, f16 and the
/// int8 layout are read. Every tensor that the configuration needs must be there in its shape, and none that it does
/// not know. Throws Error: NOT_FOUND, READ, FORMAT, MISMATCH, NOT_SUPPORTED, naming file and tensor.
std::shared_ptr<const Weights> open_weights(const Config& config, const std::string& path,
                                            const std::string& lora_path);

}  // namespace moshi::lm

// SPDX-License-Identifier: MIT
// The temporal transformer with its embeddings and heads: one step from the tokens of all streams to the text logits
// and to what the depth transformer starts from.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lm/embedding.h"
#include "lm/logits.h"
#include "lm/step_transformer.h"

namespace moshi::lm {

class TemporalTransformer {
 public:
  TemporalTransformer(const Config& config, bool bf16_rings, LayerLoader& loader);

  const StepTransformer& transformer() const { return transformer_; }

  /// Runs the turns' branches; sets each turn's first branch.
  void run(Workspace& work, std::span<Turn> turns);
  /// [branch][dim], normalized.
  const float* hidden() const { return normed_.data(); }
  /// [turn][text_card_out], guided.
  float* text_logits() { return turn_logits_.data(); }
  /// Probabilities of the extra heads, [extra_heads][extra_heads_dim] for the turn.
  void extra_heads(Workspace& work, const Turn& turn, float* out);

 private:
  void gather(std::span<Turn> turns);
  void add_branch(const Turn& turn, int half, const int32_t* tokens);
  void embed(Workspace& work);
  void compute_text_logits(Workspace& work, std::span<const Turn> turns);

  const Config& config_;
  std::vector<Embedding> embeddings_;
  Embedding text_embedding_;
  StepTransformer transformer_;
  NormLayer out_norm_;
  LinearLayer text_head_;
  std::vector<LinearLayer> extra_heads_;

  std::vector<Branch> branches_;
  std::vector<const float*> conditions_;      ///< [branch], added to the input
  std::vector<std::vector<int32_t>> tokens_;  ///< [stream][branch]
  std::vector<int32_t> frame_;
  std::vector<float> x_, normed_, logits_, turn_logits_;
};

}  // namespace moshi::lm

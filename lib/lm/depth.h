// SPDX-License-Identifier: MIT
// The depth transformer: from what the temporal transformer says of a frame, its own codes, one codebook at a time.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "lm/embedding.h"
#include "lm/logits.h"
#include "lm/step_transformer.h"

namespace moshi::lm {

class DepthTransformer {
 public:
  DepthTransformer(const Config& config, bool bf16_rings, LayerLoader& loader);

  /// Fills `codes` [turn][dep_q] from `hidden` [branch][dim of the temporal transformer] for the turns that want it;
  /// the others' codes are -1 or forced.
  void run(Workspace& work, Sampler& sampler, std::span<Turn> turns, const float* hidden, int32_t* codes);

 private:
  bool wanted(const Turn& turn) const;
  int32_t forced(const Turn& turn, int codebook) const;
  void gather(std::span<Turn> turns, const float* hidden);
  void run_codebook(Workspace& work, int codebook);
  void choose(Workspace& work, Sampler& sampler, int codebook, const Turn& turn, int first, int32_t* code);

  const Config& config_;
  std::vector<LinearLayer> inputs_;
  Embedding text_embedding_;
  std::vector<Embedding> embeddings_;
  std::optional<StepTransformer> transformer_;
  std::vector<NormLayer> norms_;
  std::vector<LinearLayer> heads_;

  std::vector<std::byte> rings_;
  std::vector<Branch> branches_;
  std::vector<Turn*> active_;
  std::vector<int32_t> previous_;
  std::vector<float> hidden_, x_, normed_, logits_;
};

}  // namespace moshi::lm

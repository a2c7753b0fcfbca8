// SPDX-License-Identifier: MIT
// The language model on packed CPU kernels.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "kernels/arena.h"
#include "lm/conditioning.h"
#include "lm/depth.h"
#include "lm/factory.h"
#include "lm/temporal.h"

namespace moshi::lm {

class PackedModel final : public LanguageModel {
 public:
  explicit PackedModel(const ModelRequest& request);

  const Config& config() const override { return config_; }
  const char* name() const override { return context_.kernels.name; }
  std::unique_ptr<Row> make_row() const override;
  size_t row_bytes(bool guidance) const override { return lm::row_bytes(config_, bf16_, guidance); }
  size_t condition_bytes(std::span<const Condition> conditions) const override;
  size_t weight_bytes() const override { return arena_.bytes(); }
  void step(std::span<StepItem> items, StepHooks* hooks) override;

 private:
  void load(const ModelRequest& request);
  void step_frame(int frame, std::span<StepItem> items, StepHooks* hooks);
  void take_text_logits(const Turn& turn, float* logits);
  void choose_text(StepHooks* hooks);
  void choose_audio(StepHooks* hooks);
  void finish();
  void list_hooked();

  const Config config_;
  const bool bf16_;
  kernels::Arena arena_;
  nn::Context context_;
  Workspace work_;
  Sampler sampler_;
  Conditioning conditioning_;
  std::optional<TemporalTransformer> temporal_;
  std::optional<DepthTransformer> depth_;

  std::vector<Turn> turns_;
  std::vector<StepItem*> hooked_;
  std::vector<int32_t> text_, codes_, made_;
};

}  // namespace moshi::lm

// SPDX-License-Identifier: MIT
// Steps of all conversations that a call runs together, and what is done with their logits.
#pragma once

#include <cstdint>
#include <vector>

#include "lm/conversation.h"
#include "lm/language_model.h"
#include "lm/sampling.h"
#include "moshi/core.h"

namespace moshi::lm {

/// One conversation's part of a step.
struct Turn {
  StepItem* item = nullptr;
  Conversation* row = nullptr;
  int frame = 0;   ///< of the item
  int branch = 0;  ///< its first branch; under guidance the next one is its unconditional half
  int32_t text = 0;

  bool guided() const { return row->guidance().active(); }
  bool failed() const { return item->problem != nullptr; }
};

/// Under guidance, moves the logits of a turn's conditional half away from those of the other.
inline void guide(const Turn& turn, float* logits, const float* unconditional, int count) {
  const float coefficient = turn.row->guidance().coefficient;
  for (int i = 0; i < count; ++i) logits[i] = unconditional[i] + (logits[i] - unconditional[i]) * coefficient;
}

/// Draws or picks a token of `stream` (0: text).
inline int32_t choose_token(Sampler& sampler, const Turn& turn, int stream, const float* logits, int count) {
  const Sampling& how = turn.row->sampling();
  const float temperature = stream == 0 ? how.text_temperature : how.temperature;
  if (!how.sampling || !(temperature > 0)) return sampler.greedy(logits, count);
  return sampler.draw(logits, count, temperature, stream == 0 ? how.text_top_k : how.top_k,
                      {how.seed, turn.row->steps(), stream});
}

}  // namespace moshi::lm

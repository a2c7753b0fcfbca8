// SPDX-License-Identifier: MIT
#include "fade.h"

#include <algorithm>
#include <cstddef>

namespace gstmoshi {
namespace {
constexpr float kFallPerFrame = 0.25f;
}

void Fade::Apply(Kind kind, std::span<float> samples) {
  const float to = kind == Kind::kGood ? 1.0f : std::max(0.0f, gain_ - kFallPerFrame);
  if (gain_ == 1.0f && to == 1.0f) return;
  const float slope = (to - gain_) / static_cast<float>(samples.size());
  for (size_t i = 0; i < samples.size(); ++i) samples[i] *= gain_ + slope * static_cast<float>(i + 1);
  gain_ = to;
}

}  // namespace gstmoshi

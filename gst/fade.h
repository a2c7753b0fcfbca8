// SPDX-License-Identifier: MIT
// The volume of frames that stand in for lost ones.
#pragma once

#include <span>

namespace gstmoshi {

/**
 * A lost frame is made from the codes of the last good one. Held for long that would buzz, so its volume falls to
 * nothing over a few frames, and comes back within the first good frame.
 */
class Fade {
 public:
  enum class Kind : unsigned char { kGood, kConcealed };

  void Reset() { gain_ = 1.0f; }
  /** Applies the volume to one frame's samples, in stream order. */
  void Apply(Kind kind, std::span<float> samples);

 private:
  float gain_ = 1.0f;
};

}  // namespace gstmoshi

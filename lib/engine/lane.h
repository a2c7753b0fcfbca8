// SPDX-License-Identifier: MIT
// One direction of one loaded model: what sessions that can share a call have in common.
#pragma once

#include <cstdint>

#include "engine/cost_model.h"
#include "mimi/codec.h"

namespace moshi::engine {

struct LaneStats {
  uint64_t calls = 0;
  uint64_t frames = 0;
  uint64_t batched_rows = 0;
  uint64_t deadline_miss = 0;
  int64_t busy_ns = 0;
};

struct Lane {
  mimi::Codec* codec = nullptr;  ///< owned by the model
  mimi::Direction direction = mimi::Direction::kEncode;
  int codebooks = 0;  ///< the most
  int cardinality = 0;
  int frame_samples = 0;
  int latent_width = 0;
  int frames_to_fill = 0;  ///< frames after which a row's key-value ring is wholly in use

  int64_t processing_ns = 0;  ///< one frame of one session, as measured at warm-up
  CostModel cost;             ///< the executor's, under its lock
  LaneStats stats;            ///< the executor's, under its lock
};

}  // namespace moshi::engine

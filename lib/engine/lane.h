// SPDX-License-Identifier: MIT
// One kind of work of one loaded model: what sessions that can share a call have in common.
#pragma once

#include <cstdint>

#include "engine/cost_model.h"
#include "engine/row.h"
#include "engine/work.h"
#include "lm/language_model.h"
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
  Work work = Work::kEncode;
  mimi::Codec* codec = nullptr;                 ///< of kEncode and kDecode; owned by the model
  lm::LanguageModel* language_model = nullptr;  ///< of kStep; owned by the model

  /* Of a codec. */
  int codebooks = 0;  ///< the most
  int cardinality = 0;
  int frame_samples = 0;
  int latent_width = 0;

  int frames_to_fill = 0;  ///< frames after which a row's key-value ring is wholly in use

  int64_t processing_ns = 0;  ///< one frame of one session, as measured at warm-up
  CostModel cost;             ///< the executor's, under its lock
  LaneStats stats;            ///< the executor's, under its lock

  /// Whether a call costs what its longest row costs, as a language model's does: it reads all weights once for every
  /// step, and rows beside the first are nearly free. A codec's call costs the sum of its rows' frames.
  bool lockstep() const { return work == Work::kStep; }

  Row make_row() const {
    return language_model ? Row(language_model->make_row()) : Row(codec->make_row(direction_of(work)));
  }
  /// Memory of one row; of a language model without guidance.
  uint64_t row_bytes() const {
    return language_model ? language_model->row_bytes(false) : codec->row_bytes(direction_of(work));
  }
};

}  // namespace moshi::engine

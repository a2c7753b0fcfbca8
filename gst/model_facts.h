// SPDX-License-Identifier: MIT
// What is known of an opened model, copied so that it outlives the engine.
#pragma once

#include <gst/gst.h>

#include <string>
#include <vector>

#include "moshi/core.h"

namespace gstmoshi {

/** Of a language model. */
struct LmFacts {
  std::string file, sha256, tokenizer, lora, type;
  guint64 bytes = 0;
  gint own_streams = 0;   ///< codebooks that it generates; 0: text only
  gint user_streams = 0;  ///< codebooks that it listens to
  gint cardinality = 0;
  gint text_cardinality = 0;
  gint text_eos = -1;  ///< -1: unknown
  gint max_delay = 0;  ///< frames
  gint context = 0;    ///< steps
  gint extra_heads = 0, extra_head_width = 0;
  double audio_delay_seconds = 0;  ///< speech to text: its text comes this much after the sound
  double silence_prefix_seconds = 0;
  std::vector<int32_t> silence;  ///< a frame of silence; tokens that feed nothing where it is unknown

  // The model's own wishes for its generation.
  float temperature = 0, text_temperature = 0, cfg_coef = 1;
  gint top_k = 0, text_top_k = 0;
  bool sampling = true;

  /** Frames between a user frame and the frame that is made of it. */
  gint lag() const { return MAX(max_delay, 1) - 1; }
};

struct ModelFacts {
  std::string model_path, mimi_file, sha256, device, kernels, core_version, backend_version;
  guint64 bytes = 0;
  gint rate = 0;           ///< Hz; 0: no model is open
  gint frame_samples = 0;  ///< samples per frame
  gint framerate_num = 0, framerate_den = 1;
  gint codebooks = 0;  ///< the most that the model has
  gint cardinality = 0;
  gint threads = 0;
  bool embedded = false;  ///< no model was named, and it is the one that comes with the core
  MoshiPrecision precision = MOSHI_PRECISION_AUTO;
  GstClockTime processing = 0;  ///< one frame in the element's direction; 0 until loaded
  LmFacts lm;                   ///< of an element that has the role MOSHI_ROLE_LM
  bool fetching = false;        ///< nothing is known yet: the model is on its way from the hub

  bool open() const { return rate > 0; }
  /** The weight file of the element's role. */
  const std::string& file() const { return lm.file.empty() ? mimi_file : lm.file; }
  GstClockTime frame_duration() const { return gst_util_uint64_scale(framerate_den, GST_SECOND, framerate_num); }
};

/** Asks the core. Facts that are not open come with `error` filled. */
ModelFacts ReadModelFacts(const MoshiCoreApi& api, MoshiEngine* engine, MoshiRole role, MoshiError& error);

/** The value of the property `model-info`. */
GstStructure* MakeModelInfo(const ModelFacts& facts);

}  // namespace gstmoshi

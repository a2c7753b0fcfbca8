// SPDX-License-Identifier: MIT
// The properties that every element with a model has.
#pragma once

#include <gst/gst.h>

#include <mutex>
#include <string>

#include "moshi/core.h"

namespace gstmoshi {

/** Ids of the common properties; an element's own begin at kPropOwn. */
enum ModelProperty : guint {
  kPropModel = 1,
  kPropWeights,
  kPropDevice,
  kPropPrecision,
  kPropThreads,
  kPropProcessingLatency,
  kPropStats,
  kPropModelInfo,
  // Of an element with a language model.
  kPropTokenizer,
  kPropConfig,
  kPropLora,
  kPropLoraFuse,
  kPropOwn
};

/** Installs the common properties on an element's class. `stats_blurb`: what the element's `stats` holds. */
void InstallModelProperties(GObjectClass* klass, const char* stats_blurb);
/** The same with those of a language model, whose `weights` are its own. */
void InstallLmModelProperties(GObjectClass* klass, const char* stats_blurb);

/** Values that say which model is opened and how. An empty string is an unset property. */
struct ModelChoice {
  std::string model, weights, device = "auto";
  std::string tokenizer, config, lora;
  bool lora_fuse = true;
  MoshiPrecision precision = MOSHI_PRECISION_AUTO;
  gint threads = 0;

  bool operator==(const ModelChoice&) const = default;
};

/** The common properties' values. Any thread. */
class ModelSettings {
 public:
  /** False if `id` is none of these, or read-only. Changes of the model above READY are refused with a warning. */
  bool Set(GstElement* element, guint id, const GValue* value);
  bool Get(guint id, GValue* value);
  ModelChoice choice();
  /** ns; -1: what the core measured. */
  gint64 processing_latency();

 private:
  std::mutex mutex_;
  ModelChoice choice_;
  gint64 processing_latency_ = -1;
};

}  // namespace gstmoshi

// SPDX-License-Identifier: MIT
// How moshilm draws its tokens: the properties, and their way to the core.
#pragma once

#include <gst/gst.h>

#include <mutex>
#include <string>
#include <vector>

#include "model_facts.h"
#include "model_settings.h"
#include "moshi/core.h"

namespace gstmoshi {

enum GenerationProperty : guint {
  kPropTemperature = kPropOwn,
  kPropTextTemperature,
  kPropTopK,
  kPropTextTopK,
  kPropSampling,
  kPropSeed,
  kPropCfgCoef,
  kPropConditions,
  kPropGenerationEnd
};

void InstallGenerationProperties(GObjectClass* klass);

/** The numbers that a session is given. */
struct Generation {
  double temperature = 0.8, text_temperature = 0.7;
  gint top_k = 250, text_top_k = 25;
  bool sampling = true;
  gint64 seed = -1;
  double cfg_coef = 1;
};

/** The properties' values. Any thread. Those that nobody has set are the model's own, once it is known. */
class GenerationSettings {
 public:
  ~GenerationSettings();

  /** False if `id` is none of these. */
  bool Set(guint id, const GValue* value);
  bool Get(guint id, GValue* value, const LmFacts& model);
  Generation Now(const LmFacts& model);
  /** The property `conditions`; null if it is unset. The caller frees it. */
  GstStructure* conditions();

 private:
  std::mutex mutex_;
  Generation wanted_;
  unsigned set_ = 0;  ///< a bit for each property that was set
  GstStructure* conditions_ = nullptr;
};

/** Conditions as the core wants them, for as long as this and the structure live. */
class ConditionList {
 public:
  /**
   * A string field is a table's condition, a buffer of 32-bit floats with an int field `NAME-columns` beside it a
   * tensor. "negative-" before a name makes it one of those that guidance leads away from. False if a field is none of
   * these: problem() says which.
   */
  bool Read(const GstStructure* structure);
  const std::vector<MoshiCondition>& items() const { return items_; }
  const std::string& problem() const { return problem_; }

  ConditionList() = default;
  ~ConditionList();
  ConditionList(const ConditionList&) = delete;
  ConditionList& operator=(const ConditionList&) = delete;

 private:
  bool AddTensor(const GstStructure* structure, const char* field, GstBuffer* buffer, MoshiCondition& condition);

  std::vector<MoshiCondition> items_;
  std::vector<std::pair<GstBuffer*, GstMapInfo>> maps_;
  std::string problem_;
};

}  // namespace gstmoshi

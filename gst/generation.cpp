// SPDX-License-Identifier: MIT
#include "generation.h"

#include <cstring>

#include "glib_ptr.h"

namespace gstmoshi {
namespace {

constexpr char kNegative[] = "negative-";
constexpr char kColumns[] = "-columns";

unsigned Bit(guint id) { return 1u << (id - kPropOwn); }

}  // namespace

void InstallGenerationProperties(GObjectClass* klass) {
  auto add = [klass](guint id, GParamSpec* spec) { g_object_class_install_property(klass, id, spec); };
  constexpr auto playing =
      static_cast<GParamFlags>(G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_PLAYING);
  add(kPropTemperature, g_param_spec_double("temperature", "Temperature",
                                            "Of the audio tokens; if it is never set: the model's own, usually 0.8", 0,
                                            100, 0.8, playing));
  add(kPropTextTemperature, g_param_spec_double("text-temperature", "Text temperature",
                                                "Of the text tokens; if it is never set: the model's own, usually 0.7",
                                                0, 100, 0.7, playing));
  add(kPropTopK, g_param_spec_int("top-k", "Top k",
                                  "Most likely audio tokens to draw from (0: all); if it is never set: the model's "
                                  "own, usually 250",
                                  0, G_MAXINT, 250, playing));
  add(kPropTextTopK, g_param_spec_int("text-top-k", "Text top k",
                                      "Most likely text tokens to draw from (0: all); if it is never set: the model's "
                                      "own, usually 25",
                                      0, G_MAXINT, 25, playing));
  add(kPropSampling, g_param_spec_boolean("sampling", "Sampling",
                                          "Draw tokens; false: always the most likely one, which gives the same answer "
                                          "to the same input",
                                          TRUE, playing));
  add(kPropSeed, g_param_spec_int64("seed", "Seed",
                                    "Of the draws, which depend on nothing else but the session's own tokens (-1: a "
                                    "random one, which stats tells)",
                                    -1, G_MAXINT64, -1, playing));
  add(kPropCfgCoef, g_param_spec_double("cfg-coef", "Guidance coefficient",
                                        "How far to go from the answer without conditions to the one with them (1: no "
                                        "guidance, at half the cost; turned on and off with the next conversation "
                                        "only)",
                                        0, 100, 1, playing));
  add(kPropConditions, g_param_spec_boxed("conditions", "Conditions",
                                          "What the model is told about the conversation, from the next one on: a "
                                          "string field for each condition of a table, a buffer of 32-bit floats with "
                                          "an int field NAME-columns for a tensor; negative-NAME for guidance",
                                          GST_TYPE_STRUCTURE, playing));
}

GenerationSettings::~GenerationSettings() {
  if (conditions_ != nullptr) gst_structure_free(conditions_);
}

bool GenerationSettings::Set(guint id, const GValue* value) {
  if (id < kPropTemperature || id >= kPropGenerationEnd) return false;
  std::lock_guard lock(mutex_);
  set_ |= Bit(id);
  switch (id) {
    case kPropTemperature:
      wanted_.temperature = g_value_get_double(value);
      break;
    case kPropTextTemperature:
      wanted_.text_temperature = g_value_get_double(value);
      break;
    case kPropTopK:
      wanted_.top_k = g_value_get_int(value);
      break;
    case kPropTextTopK:
      wanted_.text_top_k = g_value_get_int(value);
      break;
    case kPropSampling:
      wanted_.sampling = g_value_get_boolean(value);
      break;
    case kPropSeed:
      wanted_.seed = g_value_get_int64(value);
      break;
    case kPropCfgCoef:
      wanted_.cfg_coef = g_value_get_double(value);
      break;
    default:
      if (conditions_ != nullptr) gst_structure_free(conditions_);
      conditions_ = static_cast<GstStructure*>(g_value_dup_boxed(value));
      break;
  }
  return true;
}

bool GenerationSettings::Get(guint id, GValue* value, const LmFacts& model) {
  if (id == kPropConditions) {
    g_value_take_boxed(value, conditions());
    return true;
  }
  const Generation now = Now(model);
  switch (id) {
    case kPropTemperature:
      g_value_set_double(value, now.temperature);
      return true;
    case kPropTextTemperature:
      g_value_set_double(value, now.text_temperature);
      return true;
    case kPropTopK:
      g_value_set_int(value, now.top_k);
      return true;
    case kPropTextTopK:
      g_value_set_int(value, now.text_top_k);
      return true;
    case kPropSampling:
      g_value_set_boolean(value, now.sampling);
      return true;
    case kPropSeed:
      g_value_set_int64(value, now.seed);
      return true;
    case kPropCfgCoef:
      g_value_set_double(value, now.cfg_coef);
      return true;
    default:
      return false;
  }
}

Generation GenerationSettings::Now(const LmFacts& model) {
  std::lock_guard lock(mutex_);
  Generation now = wanted_;
  if (model.file.empty()) return now;
  auto own = [this](guint id) { return (set_ & Bit(id)) == 0; };
  // Of the number that people would write: 0.8 and not 0.800000011920929.
  auto widen = [](float number) {
    char text[G_ASCII_DTOSTR_BUF_SIZE];
    return g_ascii_strtod(g_ascii_formatd(text, sizeof text, "%.6g", number), nullptr);
  };
  if (own(kPropTemperature)) now.temperature = widen(model.temperature);
  if (own(kPropTextTemperature)) now.text_temperature = widen(model.text_temperature);
  if (own(kPropTopK)) now.top_k = model.top_k;
  if (own(kPropTextTopK)) now.text_top_k = model.text_top_k;
  if (own(kPropSampling)) now.sampling = model.sampling;
  if (own(kPropCfgCoef)) now.cfg_coef = widen(model.cfg_coef);
  return now;
}

GstStructure* GenerationSettings::conditions() {
  std::lock_guard lock(mutex_);
  return conditions_ != nullptr ? gst_structure_copy(conditions_) : nullptr;
}

ConditionList::~ConditionList() {
  for (auto& [buffer, map] : maps_) gst_buffer_unmap(buffer, &map);
}

bool ConditionList::Read(const GstStructure* structure) {
  if (structure == nullptr) return true;
  for (gint i = 0; i < gst_structure_n_fields(structure); ++i) {
    const char* field = gst_structure_nth_field_name(structure, i);
    const GValue* value = gst_structure_get_value(structure, field);
    if (g_str_has_suffix(field, kColumns) && G_VALUE_HOLDS_INT(value)) continue;
    MoshiCondition condition{};
    condition.size = sizeof condition;
    condition.negative = g_str_has_prefix(field, kNegative);
    condition.name = condition.negative ? field + std::strlen(kNegative) : field;
    if (G_VALUE_HOLDS_STRING(value)) {
      condition.text = g_value_get_string(value);
    } else if (!GST_VALUE_HOLDS_BUFFER(value) || !AddTensor(structure, field, gst_value_get_buffer(value), condition)) {
      problem_ = std::string("The condition \"") + field +
                 "\" is neither a string nor a buffer of 32-bit floats whose columns are in the int field \"" + field +
                 kColumns + "\".";
      return false;
    }
    items_.push_back(condition);
  }
  return true;
}

bool ConditionList::AddTensor(const GstStructure* structure, const char* field, GstBuffer* buffer,
                              MoshiCondition& condition) {
  gint columns = 0;
  const std::string name = std::string(field) + kColumns;
  if (!gst_structure_get_int(structure, name.c_str(), &columns) || columns < 1) return false;
  const gsize row = sizeof(float) * static_cast<gsize>(columns);
  const gsize bytes = buffer != nullptr ? gst_buffer_get_size(buffer) : 0;
  if (bytes == 0 || bytes % row != 0) return false;
  GstMapInfo map;
  if (!gst_buffer_map(buffer, &map, GST_MAP_READ)) return false;
  maps_.emplace_back(buffer, map);
  condition.tensor = reinterpret_cast<const float*>(map.data);
  condition.rows = static_cast<int64_t>(bytes / row);
  condition.columns = columns;
  return true;
}

}  // namespace gstmoshi

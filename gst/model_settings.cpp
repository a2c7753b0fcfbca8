// SPDX-License-Identifier: MIT
#include "model_settings.h"

#include "core_loader.h"

#define GST_CAT_DEFAULT moshi_core_debug

namespace gstmoshi {
namespace {

GType PrecisionType() {
  static const GEnumValue values[] = {{MOSHI_PRECISION_AUTO, "Chosen by the core: f32 for the codec on CPU", "auto"},
                                      {MOSHI_PRECISION_F32, "32-bit floating point", "f32"},
                                      {MOSHI_PRECISION_BF16, "16-bit brain floating point", "bf16"},
                                      {MOSHI_PRECISION_F16, "16-bit floating point", "f16"},
                                      {MOSHI_PRECISION_INT8, "8-bit integer weights", "int8"},
                                      {MOSHI_PRECISION_INT4, "4-bit integer weights", "int4"},
                                      {0, nullptr, nullptr}};
  static const GType type = [] {
    const GType made = g_enum_register_static("GstMoshiPrecision", values);
    gst_type_mark_as_plugin_api(made, static_cast<GstPluginAPIFlags>(0));
    return made;
  }();
  return type;
}

constexpr GParamFlags Flags(int flags) { return static_cast<GParamFlags>(flags | G_PARAM_STATIC_STRINGS); }
constexpr GParamFlags kReady = Flags(G_PARAM_READWRITE | GST_PARAM_MUTABLE_READY);
constexpr GParamFlags kPlaying = Flags(G_PARAM_READWRITE | GST_PARAM_MUTABLE_PLAYING);

std::string StringOf(const GValue* value) {
  const char* text = g_value_get_string(value);
  return text != nullptr ? text : "";
}

void SetString(GValue* value, const std::string& text) {
  g_value_set_string(value, text.empty() ? nullptr : text.c_str());
}

void InstallCommon(GObjectClass* klass, const char* weights_blurb, const char* stats_blurb) {
  auto add = [klass](guint id, GParamSpec* spec) { g_object_class_install_property(klass, id, spec); };
  add(kPropModel, g_param_spec_string("model", "Model",
                                      "Directory laid out like a hub repository, or a hub id owner/name[@revision]; "
                                      "unset: what MOSHI_DEFAULT_MODEL names, or else the embedded models",
                                      nullptr, kReady));
  add(kPropWeights, g_param_spec_string("weights", "Weights", weights_blurb, nullptr, kReady));
  add(kPropDevice, g_param_spec_string("device", "Device",
                                       "Where to compute: auto, cpu, cuda or cuda:N; only auto falls back to the CPU",
                                       "auto", kReady));
  add(kPropPrecision, g_param_spec_enum("precision", "Precision", "Number format of weights and computation",
                                        PrecisionType(), MOSHI_PRECISION_AUTO, kReady));
  add(kPropThreads, g_param_spec_int("threads", "Threads",
                                     "Threads of the compute pool, which the whole process shares (0: all cores; the "
                                     "first element to load a model sets it)",
                                     0, 1024, 0, kReady));
  add(kPropProcessingLatency,
      g_param_spec_int64("processing-latency", "Processing latency",
                         "Time in ns that computing may take, added to the reported latency (-1: one frame's, measured "
                         "when the model is loaded)",
                         -1, G_MAXINT64, -1, kPlaying));
  add(kPropStats, g_param_spec_boxed("stats", "Statistics", stats_blurb, GST_TYPE_STRUCTURE, Flags(G_PARAM_READABLE)));
  add(kPropModelInfo,
      g_param_spec_boxed("model-info", "Model information",
                         "The opened model: names, SHA-256 of the weight file, sizes, device; empty below READY",
                         GST_TYPE_STRUCTURE, Flags(G_PARAM_READABLE)));
}

}  // namespace

void InstallModelProperties(GObjectClass* klass, const char* stats_blurb) {
  InstallCommon(klass, "Mimi weight file (safetensors) that replaces the model's own", stats_blurb);
}

void InstallLmModelProperties(GObjectClass* klass, const char* stats_blurb) {
  InstallCommon(klass, "Weight file of the language model (safetensors) that replaces the model's own", stats_blurb);
  auto add = [klass](guint id, GParamSpec* spec) { g_object_class_install_property(klass, id, spec); };
  add(kPropTokenizer,
      g_param_spec_string("tokenizer", "Tokenizer",
                          "Sentencepiece model that replaces the model's own; a model without one gives "
                          "token ids but no text",
                          nullptr, kReady));
  add(kPropConfig,
      g_param_spec_string("config", "Configuration", "config.json that replaces the model's own", nullptr, kReady));
  add(kPropLora, g_param_spec_string("lora", "LoRA",
                                     "LoRA file (safetensors); unset: the one that the configuration names, if any",
                                     nullptr, kReady));
  add(kPropLoraFuse,
      g_param_spec_boolean("lora-fuse", "Fuse LoRA",
                           "Add the LoRA to the weights when they are loaded; false: keep it apart, which takes longer "
                           "for each step",
                           TRUE, kReady));
}

bool ModelSettings::Set(GstElement* element, guint id, const GValue* value) {
  if (id == kPropProcessingLatency) {
    std::lock_guard lock(mutex_);
    processing_latency_ = g_value_get_int64(value);
    return true;
  }
  const bool chooses = (id >= kPropModel && id <= kPropThreads) || (id >= kPropTokenizer && id <= kPropLoraFuse);
  if (!chooses) return false;
  GST_OBJECT_LOCK(element);
  const bool running = GST_STATE(element) > GST_STATE_READY;
  GST_OBJECT_UNLOCK(element);
  if (running) {
    GST_WARNING_OBJECT(element, "the model is in use: set its properties in the NULL or READY state");
    return true;
  }
  std::lock_guard lock(mutex_);
  switch (id) {
    case kPropModel:
      choice_.model = StringOf(value);
      break;
    case kPropWeights:
      choice_.weights = StringOf(value);
      break;
    case kPropDevice:
      choice_.device = StringOf(value);
      break;
    case kPropTokenizer:
      choice_.tokenizer = StringOf(value);
      break;
    case kPropConfig:
      choice_.config = StringOf(value);
      break;
    case kPropLora:
      choice_.lora = StringOf(value);
      break;
    case kPropLoraFuse:
      choice_.lora_fuse = g_value_get_boolean(value);
      break;
    case kPropPrecision:
      choice_.precision = static_cast<MoshiPrecision>(g_value_get_enum(value));
      break;
    default:
      choice_.threads = g_value_get_int(value);
      break;
  }
  return true;
}

bool ModelSettings::Get(guint id, GValue* value) {
  std::lock_guard lock(mutex_);
  switch (id) {
    case kPropModel:
      SetString(value, choice_.model);
      return true;
    case kPropWeights:
      SetString(value, choice_.weights);
      return true;
    case kPropDevice:
      SetString(value, choice_.device);
      return true;
    case kPropTokenizer:
      SetString(value, choice_.tokenizer);
      return true;
    case kPropConfig:
      SetString(value, choice_.config);
      return true;
    case kPropLora:
      SetString(value, choice_.lora);
      return true;
    case kPropLoraFuse:
      g_value_set_boolean(value, choice_.lora_fuse);
      return true;
    case kPropPrecision:
      g_value_set_enum(value, choice_.precision);
      return true;
    case kPropThreads:
      g_value_set_int(value, choice_.threads);
      return true;
    case kPropProcessingLatency:
      g_value_set_int64(value, processing_latency_);
      return true;
    default:
      return false;
  }
}

ModelChoice ModelSettings::choice() {
  std::lock_guard lock(mutex_);
  return choice_;
}

gint64 ModelSettings::processing_latency() {
  std::lock_guard lock(mutex_);
  return processing_latency_;
}

}  // namespace gstmoshi

// SPDX-License-Identifier: MIT
#include "elements.h"

namespace server {
namespace {

using app::Object;

class Value {
 public:
  explicit Value(GType type) { g_value_init(&value_, type); }
  ~Value() { g_value_unset(&value_); }
  Value(const Value&) = delete;
  Value& operator=(const Value&) = delete;
  GValue* get() { return &value_; }

 private:
  GValue value_ = G_VALUE_INIT;
};

bool set_property(GstElement* element, const std::string& name, const std::string& text, std::string* problem) {
  GParamSpec* spec = g_object_class_find_property(G_OBJECT_GET_CLASS(element), name.c_str());
  if (!spec) {
    *problem = "This moshilm has no property " + name + ".";
    return false;
  }
  Value value(spec->value_type), checked(spec->value_type);
  bool good = true;
  if (spec->value_type == G_TYPE_STRING) {
    g_value_set_string(value.get(), text.c_str());
  } else {
    good = gst_value_deserialize(value.get(), text.c_str());
  }
  if (good) g_value_copy(value.get(), checked.get());
  // A value out of range would be changed to one within.
  if (!good || g_param_value_validate(spec, checked.get())) {
    *problem = name + " cannot be " + text + "; gst-inspect-1.0 moshilm tells what it can be.";
    return false;
  }
  g_object_set_property(G_OBJECT(element), name.c_str(), value.get());
  return true;
}

bool of_all_models(const std::string& name) { return name == "device" || name == "threads"; }

bool set_codec(GstElement* codec, const Model& model, std::string* problem) {
  if (!model.model.empty()) g_object_set(codec, "model", model.model.c_str(), nullptr);
  if (!model.mimi_weights.empty()) g_object_set(codec, "weights", model.mimi_weights.c_str(), nullptr);
  for (const auto& [name, value] : model.settings) {
    if (of_all_models(name) && !set_property(codec, name, value, problem)) return false;
  }
  return true;
}

}  // namespace

Object<GstElement> make_pipeline(const std::string& description, std::string* problem) {
  GError* raw = nullptr;
  Object<GstElement> made(gst_parse_launch_full(description.c_str(), nullptr, GST_PARSE_FLAG_FATAL_ERRORS, &raw));
  const app::Error error(raw);
  if (error) {
    *problem = std::string(error->message) + ". Is GST_PLUGIN_PATH set to the folder of libgstmoshi.so?";
    made.reset();
  }
  return made;
}

bool set_models(GstElement* pipeline, const Model& model, std::string* problem) {
  const auto lm = element_of(pipeline, kLm);
  if (!model.model.empty()) g_object_set(lm.get(), "model", model.model.c_str(), nullptr);
  for (const auto& [name, value] : model.settings) {
    if (!set_property(lm.get(), name, value, problem)) return false;
  }
  if (!model.conditions.empty()) {
    const app::Structure conditions(gst_structure_new_empty("conditions"));
    for (const auto& [name, value] : model.conditions)
      gst_structure_set(conditions.get(), name.c_str(), G_TYPE_STRING, value.c_str(), nullptr);
    g_object_set(lm.get(), "conditions", conditions.get(), nullptr);
  }
  for (const char* name : {kEncoder, kDecoder}) {
    const auto codec = element_of(pipeline, name);
    if (codec && !set_codec(codec.get(), model, problem)) return false;
  }
  return true;
}

void set_sampling(GstElement* pipeline, const Sampling& sampling) {
  const auto lm = element_of(pipeline, kLm);
  auto set = [&lm](const char* name, const auto& value) {
    if (value) g_object_set(lm.get(), name, *value, nullptr);
  };
  set("temperature", sampling.temperature);
  set("text-temperature", sampling.text_temperature);
  set("top-k", sampling.top_k);
  set("text-top-k", sampling.text_top_k);
  set("seed", sampling.seed);
}

LmInfo::LmInfo(GstElement* pipeline) {
  GstStructure* info = nullptr;
  g_object_get(element_of(pipeline, kLm).get(), "model-info", &info, nullptr);
  info_.reset(info);
}

std::string LmInfo::text(const char* field) const {
  const char* value = info_ ? gst_structure_get_string(info_.get(), field) : nullptr;
  return value ? value : "";
}

int LmInfo::number(const char* field) const {
  gint value = 0;
  if (info_) gst_structure_get_int(info_.get(), field, &value);
  return value;
}

bool LmInfo::flag(const char* field) const {
  gboolean value = FALSE;
  if (info_) gst_structure_get_boolean(info_.get(), field, &value);
  return value;
}

}  // namespace server

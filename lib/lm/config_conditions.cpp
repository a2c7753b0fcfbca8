// SPDX-License-Identifier: MIT
// Conditions, and what a model wants by default.
#include <algorithm>

#include "common/error.h"
#include "lm/config_parts.h"

namespace moshi::lm {
namespace {

using checkpoint::ConfigReader;

ConditionerShape read_table(ConfigReader& in, ConditionerShape shape) {
  shape.table = true;
  if (!in.given("n_bins")) contradiction(in, "n_bins", "missing");
  shape.bins = in.integer("n_bins", 1, 1, kMaxVocabulary);
  const std::string tokenizer = in.text("tokenizer", "");
  if (tokenizer != "noop") {
    throw Error(MOSHI_ERR_NOT_SUPPORTED,
                in.where("tokenizer") + " is \"" + tokenizer.substr(0, 80) + "\"; only \"noop\" is known");
  }
  if (in.given("possible_values")) {
    shape.values = in.texts("possible_values", static_cast<size_t>(kMaxVocabulary));
    if (shape.values.size() > static_cast<size_t>(shape.bins)) {
      contradiction(
          in, "possible_values",
          "a list of " + std::to_string(shape.values.size()) + ", but n_bins is " + std::to_string(shape.bins));
    }
  }
  in.ignore({"init_scale"});
  return shape;
}

ConditionerShape read_conditioner(ConfigReader& in, int output_width) {
  const std::string type = in.text("type", "");
  if (type != "lut" && type != "tensor") {
    throw Error(MOSHI_ERR_NOT_SUPPORTED,
                in.where("type") + " is \"" + type.substr(0, 80) + "\"; known are lut and tensor");
  }
  ConfigReader own = in.section(type.c_str());
  ConditionerShape shape;
  if (!own.given("dim")) contradiction(own, "dim", "missing");
  shape.dim = own.integer("dim", 1, 1, kMaxWidth);
  shape.projected = own.boolean("force_linear", true) || shape.dim != output_width;
  shape.learnt_padding = own.boolean("learn_padding", true);
  own.require("output_bias", false, "the reference has no such conditioner");
  own.ignore({"pad_empty", "output_dim", "device"});
  if (type == "lut") {
    shape = read_table(own, std::move(shape));
  } else {
    shape.table = false;
  }
  own.report_unknown();
  in.report_unknown();
  return shape;
}

void check_names(const ConfigReader& fuser, const char* key, const std::vector<std::string>& names, const Config& c) {
  for (const std::string& name : names) {
    if (c.conditioners.contains(name)) continue;
    contradiction(fuser, key, "a list with \"" + name.substr(0, 80) + "\", which is not among the conditioners");
  }
}

void read_fuser(ConfigReader& in, Config& c) {
  c.fuser.sum = in.texts("sum", 256);
  c.fuser.cross = in.texts("cross", 256);
  if (!in.texts("prepend", 256).empty()) {
    throw Error(MOSHI_ERR_NOT_SUPPORTED, in.where("prepend") + " is not empty; only sum and cross are supported");
  }
  c.fuser.cross_positions = in.boolean("cross_attention_pos_emb", false);
  c.fuser.cross_position_scale = static_cast<float>(in.number("cross_attention_pos_emb_scale", 1.0, -1e6, 1e6));
  in.report_unknown();
  check_names(in, "sum", c.fuser.sum, c);
  check_names(in, "cross", c.fuser.cross, c);
}

}  // namespace

void read_conditions(ConfigReader& top, Config& c) {
  if (top.given("conditioners")) {
    ConfigReader section = top.section("conditioners");
    for (const std::string& name : section.keys()) {
      ConfigReader one = section.section(name.c_str());
      c.conditioners.emplace(name, read_conditioner(one, c.temporal.dim));
    }
  }
  if (top.given("fuser")) {
    ConfigReader fuser = top.section("fuser");
    read_fuser(fuser, c);
  }
  if (c.temporal.cross_attention && c.fuser.cross.empty()) {
    contradiction(top, "cross_attention", "true, but fuser.cross names no condition to attend to");
  }
  if (!c.temporal.cross_attention && !c.fuser.cross.empty()) {
    contradiction(top, "cross_attention", "false, but fuser.cross names conditions to attend to");
  }
  if (c.fuser.cross_positions && (c.temporal.dim % 2 != 0 || c.temporal.dim < 4)) {
    contradiction(top, "dim",
                  std::to_string(c.temporal.dim) + "; cross-attention positions need an even width of at least 4");
  }
}

GenerationDefaults read_generation(ConfigReader& top) {
  GenerationDefaults g;
  if (top.given("lm_gen_config")) {
    ConfigReader in = top.section("lm_gen_config");
    g.sampling = in.boolean("use_sampling", g.sampling);
    g.temperature = static_cast<float>(in.number("temp", g.temperature, 0.0, 1e6));
    g.text_temperature = static_cast<float>(in.number("temp_text", g.text_temperature, 0.0, 1e6));
    g.top_k = in.integer("top_k", g.top_k, 0, kMaxVocabulary);
    g.text_top_k = in.integer("top_k_text", g.text_top_k, 0, kMaxVocabulary);
    g.cfg_coef = static_cast<float>(in.number("cfg_coef", g.cfg_coef, -1e6, 1e6));
    in.ignore({"check", "support_out_of_sync", "cfg_is_masked_until", "cfg_is_no_text"});
    in.report_unknown();
  }
  if (top.given("stt_config")) {
    ConfigReader in = top.section("stt_config");
    g.audio_delay_seconds = in.number("audio_delay_seconds", 0.0, 0.0, 3600.0);
    g.audio_silence_prefix_seconds = in.number("audio_silence_prefix_seconds", 0.0, 0.0, 3600.0);
    in.report_unknown();
  }
  top.ignore({"tts_config"});
  return g;
}

}  // namespace moshi::lm

// SPDX-License-Identifier: MIT
#include "lm/config.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>

#include "checkpoint/config_reader.h"
#include "checkpoint/json_text.h"
#include "common/error.h"
#include "lm/config_parts.h"

namespace moshi::lm {
namespace {

using checkpoint::ConfigReader;
using nlohmann::json;

// What is published without a config.json.
constexpr const char* kMoshi7b = R"({
  "dim": 4096, "text_card": 32000, "existing_text_padding_id": 3, "n_q": 16, "dep_q": 8, "card": 2048,
  "num_heads": 32, "num_layers": 32, "hidden_scale": 4.125, "causal": true, "layer_scale": null, "context": 3000,
  "max_period": 10000, "gating": "silu", "norm": "rms_norm_f32", "positional_embedding": "rope",
  "depformer_dim": 1024, "depformer_dim_feedforward": 4224, "depformer_num_heads": 16, "depformer_num_layers": 6,
  "depformer_layer_scale": null, "depformer_multi_linear": true, "depformer_context": 8,
  "depformer_max_period": 10000, "depformer_gating": "silu", "depformer_pos_emb": "none",
  "depformer_weights_per_step": true, "delays": [0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1]
})";

void read_streams(ConfigReader& in, Config& c) {
  c.n_q = in.integer("n_q", 8, 0, kMaxStreams);
  c.dep_q = in.integer("dep_q", 8, 0, kMaxStreams);
  if (c.dep_q > c.n_q) {
    contradiction(in, "dep_q",
                  std::to_string(c.dep_q) + ", more than the " + std::to_string(c.n_q) +
                      " audio streams that the model reads (n_q)");
  }
  c.card = in.integer("card", 1024, 1, kMaxVocabulary);
  c.text_card = in.integer("text_card", 32000, 1, kMaxVocabulary);
  c.text_card_out = in.given("text_card_out") ? in.integer("text_card_out", 0, 1, kMaxVocabulary) : c.text_card;
  // Tokens past the table that is read would be lookups outside of it; a second stream multiplexed in needs them.
  c.demux_second_text_stream = in.boolean("demux_second_text_stream", false);
  c.demux_second_text_stream = in.boolean("demux_second_stream", c.demux_second_text_stream);
  if (!c.demux_second_text_stream && c.text_card_out > c.text_card + 1) {
    contradiction(in, "text_card_out",
                  std::to_string(c.text_card_out) + ", but text_card has only " + std::to_string(c.text_card));
  }
  c.text_padding = in.integer("existing_text_padding_id", 3, 0, kMaxVocabulary);
  c.text_end_padding = in.integer("existing_text_end_padding_id", 0, 0, kMaxVocabulary);
  if (c.text_padding > c.text_card) {
    contradiction(in, "existing_text_padding_id",
                  std::to_string(c.text_padding) + ", above text_card (" + std::to_string(c.text_card) + ")");
  }
  c.delays = in.integers("delays", {0}, 0, kMaxStreams + 1, 0, kMaxDelay);
  if (c.delays.size() != static_cast<size_t>(c.streams())) {
    contradiction(in, "delays",
                  "a list of " + std::to_string(c.delays.size()) +
                      "; it must have 1 + n_q = " + std::to_string(c.streams()) + " entries");
  }
}

double read_temporal(ConfigReader& in, Config& c) {
  TransformerShape& t = c.temporal;
  t.dim = in.integer("dim", 128, 1, kMaxWidth);
  t.heads = in.integer("num_heads", 8, 1, kMaxWidth);
  if (!in.given("num_layers")) contradiction(in, "num_layers", "missing");
  if (!in.given("context")) {
    throw Error(MOSHI_ERR_NOT_SUPPORTED,
                in.where("context") + " is missing; without it the model cannot run step by step");
  }
  t.context = in.integer("context", 0, 1, kMaxContext);
  t.norm = parse_norm(in, "norm", in.text("norm", "layer_norm"));
  t.positional = read_positional(in, "positional_embedding");
  read_layers(in, "", t);
  t.cross_attention = in.boolean("cross_attention", false);
  check_shape(in, "", t);
  const double hidden_scale = in.number("hidden_scale", 4.0, 0.0, 1024.0);
  t.hidden = {hidden_width(in, "hidden_scale", t, hidden_scale * t.dim)};
  if (t.cross_attention && t.kv_repeat > 1) contradiction(in, "cross_attention", "true, which kv_repeat rules out");
  in.require("causal", true, "only causal models can stream");
  in.require("skip_self_attn", false, "layers without attention are not supported");
  in.require("positional_scale", 1, "scaled positions are not supported");
  return hidden_scale;
}

void read_heads(ConfigReader& in, Config& c) {
  c.norm_emb = in.boolean("norm_emb", false);
  if (c.norm_emb && c.demux_second_text_stream) {
    contradiction(in, "norm_emb", "true, which demux_second_text_stream rules out");
  }
  c.bias_proj = in.boolean("bias_proj", false);
  c.extra_heads = in.integer("extra_heads_num_heads", 0, 0, 1024);
  c.extra_heads_dim = in.integer("extra_heads_dim", 6, 1, kMaxWidth);
}

void read_adapter(ConfigReader& in, Config& c) {
  c.lora = in.boolean("lora", false);
  c.lora_rank = in.integer("lora_rank", 128, 1, kMaxWidth);
  c.lora_scaling = static_cast<float>(in.number("lora_scaling", 2.0, -1e6, 1e6));
  c.quantized = in.boolean("quantize", false);
  if (c.lora && c.quantized) contradiction(in, "lora", "true, which quantize rules out");
}

void ignore_known(ConfigReader& in) {
  in.ignore({"moshi_name", "mimi_name", "mimi_config_name", "tokenizer_name", "lora_name", "model_id"});
  in.ignore({"depformer_causal", "depformer_context", "depformer_cross_attention", "depformer_positional_embedding"});
  in.ignore({"gradient_checkpointing", "checkpointing", "betas", "device", "dtype"});
}

}  // namespace

void contradiction(const ConfigReader& in, const char* key, const std::string& what) {
  throw Error(MOSHI_ERR_MISMATCH, in.where(key) + " is " + what);
}

int Config::max_delay() const { return delays.empty() ? 0 : *std::max_element(delays.begin(), delays.end()); }

int32_t Config::highest_text() const {
  const int64_t initial = text_card;
  const int64_t highest = demux_second_text_stream ? (initial + 1) * (initial + 2) - 1 : initial;
  return static_cast<int32_t>(std::min<int64_t>(highest, std::numeric_limits<int32_t>::max()));
}

int Config::depth_weights() const {
  return depth_schedule.empty() ? 0 : *std::max_element(depth_schedule.begin(), depth_schedule.end()) + 1;
}

Config parse_config(std::string_view text, const std::string& origin) {
  const json parsed = checkpoint::parse_json_object(text, origin);
  ConfigReader top(parsed, origin, "");
  Config c;
  c.model_type = top.text("model_type", "moshi");
  read_streams(top, c);
  const double hidden_scale = read_temporal(top, c);
  read_heads(top, c);
  read_depth(top, hidden_scale, c);
  read_conditions(top, c);
  read_adapter(top, c);
  c.generation = read_generation(top);
  ignore_known(top);
  top.report_unknown();
  return c;
}

std::string_view default_config_text() { return kMoshi7b; }

Config default_config() { return parse_config(kMoshi7b, "default"); }

}  // namespace moshi::lm

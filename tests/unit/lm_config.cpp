// SPDX-License-Identifier: MIT
#include <nlohmann/json.hpp>

#include "common/log.h"
#include "lm/config.h"
#include "temp_dir.h"

namespace {

using moshi::lm::Config;
using moshi::lm::Gating;
using moshi::lm::Norm;
using moshi::lm::parse_config;
using moshi::nn::Positional;
using nlohmann::json;

json default_json() { return json::parse(moshi::lm::default_config_text()); }

Config parse(const json& config) { return parse_config(config.dump(), "lm.json"); }

Config with(const json& changes) {
  json config = default_json();
  config.update(changes);
  return parse(config);
}

/// The default configuration with these changes must be refused.
void refused(MoshiStatus status, const json& changes, const std::string& part) {
  SCOPED_TRACE(changes.dump());
  expect_error(status, part, [&] { with(changes); });
  expect_error(status, "lm.json", [&] { with(changes); });
}

const json kTable = {{"type", "lut"}, {"lut", {{"n_bins", 5}, {"dim", 16}, {"tokenizer", "noop"}}}};

TEST(LmConfig, DefaultIsMoshi7b) {
  const Config c = moshi::lm::default_config();
  EXPECT_EQ(c.n_q, 16);
  EXPECT_EQ(c.dep_q, 8);
  EXPECT_EQ(c.card, 2048);
  EXPECT_EQ(c.text_card_out, 32000);
  EXPECT_EQ(c.max_delay(), 1);
  EXPECT_EQ(c.user_streams(), 8);
  EXPECT_EQ(c.temporal.hidden, std::vector<int>{11264});
  EXPECT_EQ(c.temporal.norm, Norm::kRmsNormF32);
  EXPECT_EQ(c.depth_weights(), 8);
  EXPECT_EQ(c.depth.hidden, std::vector<int>(8, 2816));
  EXPECT_EQ(c.depth.context, 8);
  EXPECT_EQ(c.depth.positional, Positional::kNone);
  EXPECT_EQ(c.depth_input_schedule, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7}));
  EXPECT_FALSE(c.depth_low_rank || c.depth_norm || c.temporal.cross_attention);
}

// The constructors' own defaults, which old configurations rely on.
TEST(LmConfig, MissingKeysMeanTheConstructorsDefaults) {
  const Config c = parse({{"num_layers", 2}, {"context", 4}, {"dep_q", 0}, {"n_q", 0}});
  EXPECT_EQ(c.temporal.dim, 128);
  EXPECT_EQ(c.temporal.heads, 8);
  EXPECT_EQ(c.temporal.hidden, std::vector<int>{512});
  EXPECT_EQ(c.temporal.norm, Norm::kLayerNorm);
  EXPECT_EQ(c.temporal.gating, Gating::kNone);
  EXPECT_EQ(c.temporal.positional, Positional::kSin);
  EXPECT_FALSE(c.temporal.layer_scale);
  EXPECT_EQ(c.card, 1024);
  EXPECT_EQ(c.text_card, 32000);
  EXPECT_EQ(c.text_padding, 3);
  EXPECT_EQ(c.depth.dim, 256);
  EXPECT_EQ(c.model_type, "moshi");
  EXPECT_EQ(c.max_delay(), 0);
}

TEST(LmConfig, DepthTransformerInheritsWhatItDoesNotOverride) {
  json config = default_json();
  for (const char* key : {"depformer_num_layers", "depformer_layer_scale", "depformer_max_period", "depformer_gating",
                          "depformer_dim_feedforward", "depformer_pos_emb"}) {
    config.erase(key);
  }
  config.update({{"layer_scale", 0.1}, {"kv_repeat", 2}, {"max_period", 5000}, {"gating", "gelu"}});
  const Config c = parse(config);
  EXPECT_EQ(c.depth.layers, 32);
  EXPECT_TRUE(c.depth.layer_scale);
  EXPECT_EQ(c.depth.kv_repeat, 2);
  EXPECT_EQ(c.depth.max_period, 5000.0f);
  EXPECT_EQ(c.depth.gating, Gating::kGelu);
  EXPECT_EQ(c.depth.hidden, std::vector<int>(8, 2816));
  // Positions are not inherited.
  EXPECT_EQ(c.depth.positional, Positional::kSin);
  const Config own = with({{"layer_scale", 0.1}, {"kv_repeat", 2}, {"depformer_kv_repeat", 1}});
  EXPECT_FALSE(own.depth.layer_scale);
  EXPECT_EQ(own.depth.kv_repeat, 1);
}

TEST(LmConfig, ScheduleSharesWeights) {
  const json schedule = {0, 1, 2, 3, 4, 4, 5, 5};
  const Config c = with({{"depformer_weights_per_step_schedule", schedule},
                         {"depformer_dim_feedforward", {4224, 4224, 4224, 4224, 4096, 3072}}});
  EXPECT_EQ(c.depth_weights(), 6);
  EXPECT_EQ(c.depth_schedule, schedule.get<std::vector<int>>());
  EXPECT_EQ(c.depth_input_schedule, c.depth_schedule);
  // 4 * dim follows a rule of its own.
  EXPECT_EQ(c.depth.hidden, (std::vector<int>{2816, 2816, 2816, 2816, 2688, 2048}));
  const Config one_input = with({{"depformer_weights_per_step_schedule", schedule}, {"depformer_multi_linear", false}});
  EXPECT_EQ(one_input.depth_input_schedule, std::vector<int>(8, 0));
}

TEST(LmConfig, TextOnlyModelHasNoDepthTransformer) {
  const Config c = with({{"dep_q", 0}, {"depformer_weights_per_step", false}, {"depformer_num_heads", 7}});
  EXPECT_EQ(c.depth_weights(), 0);
  EXPECT_EQ(c.depth.layers, 0);
  EXPECT_EQ(c.user_streams(), 16);
}

TEST(LmConfig, Conditions) {
  const Config c =
      with({{"conditioners",
             {{"description", kTable},
              {"speaker_wavs", {{"type", "tensor"}, {"tensor", {{"dim", 512}, {"learn_padding", false}}}}}}},
            {"cross_attention", true},
            {"fuser", {{"sum", {"description"}}, {"cross", {"speaker_wavs"}}, {"prepend", json::array()}}}});
  EXPECT_TRUE(c.conditioners.at("description").table);
  EXPECT_EQ(c.conditioners.at("description").bins, 5);
  EXPECT_FALSE(c.conditioners.at("speaker_wavs").table);
  EXPECT_FALSE(c.conditioners.at("speaker_wavs").learnt_padding);
  EXPECT_EQ(c.fuser.cross, std::vector<std::string>{"speaker_wavs"});
  EXPECT_TRUE(with({{"conditioners", {{"description", kTable}}}, {"fuser", nullptr}}).fuser.sum.empty());
}

TEST(LmConfig, OtherSections) {
  const Config c = with({{"lora", true},
                         {"lora_rank", 64},
                         {"model_type", "hibiki"},
                         {"demux_second_stream", true},
                         {"lm_gen_config", {{"temp", 0.0}, {"top_k_text", 50}, {"use_sampling", false}}},
                         {"stt_config", {{"audio_delay_seconds", 2.5}}},
                         {"tts_config", {{"audio_delay", 1.28}, {"anything", 1}}}});
  EXPECT_TRUE(c.lora);
  EXPECT_EQ(c.lora_rank, 64);
  EXPECT_EQ(c.lora_scaling, 2.0f);
  EXPECT_EQ(c.model_type, "hibiki");
  EXPECT_TRUE(c.demux_second_text_stream);
  EXPECT_EQ(c.generation.temperature, 0.0f);
  EXPECT_EQ(c.generation.text_top_k, 50);
  EXPECT_FALSE(c.generation.sampling);
  EXPECT_EQ(c.generation.audio_delay_seconds, 2.5);
}

TEST(LmConfig, UnknownKeysAreLogged) {
  std::string lines;
  const auto note = [](void* user, MoshiLogLevel, const char*, const char* message) {
    *static_cast<std::string*>(user) += message;
  };
  moshi::set_log(note, &lines);
  with({{"new_key", 1}, {"moshi_name", "x"}, {"depformer_causal", true}});
  moshi::set_log(nullptr, nullptr);
  EXPECT_NE(lines.find("new_key"), std::string::npos);
  EXPECT_EQ(lines.find("moshi_name"), std::string::npos);
  EXPECT_EQ(lines.find("depformer"), std::string::npos);
}

TEST(LmConfig, RefusesContradictions) {
  refused(MOSHI_ERR_MISMATCH, {{"delays", {0, 1}}}, "delays");
  refused(MOSHI_ERR_MISMATCH, {{"dep_q", 17}}, "dep_q");
  refused(MOSHI_ERR_MISMATCH, {{"num_heads", 3}}, "num_heads");
  refused(MOSHI_ERR_MISMATCH, {{"kv_repeat", 3}}, "kv_repeat");
  refused(MOSHI_ERR_MISMATCH, {{"dim", 33}, {"num_heads", 11}}, "num_heads");
  refused(MOSHI_ERR_MISMATCH, {{"depformer_num_heads", 5}}, "depformer_num_heads");
  refused(MOSHI_ERR_MISMATCH, {{"depformer_gating", "none"}}, "depformer_gating");
  refused(MOSHI_ERR_MISMATCH, {{"depformer_weights_per_step_schedule", {0, 1}}}, "depformer_weights_per_step_schedule");
  refused(MOSHI_ERR_MISMATCH, {{"depformer_dim_feedforward", {4224, 4224}}}, "depformer_dim_feedforward");
  refused(MOSHI_ERR_MISMATCH, {{"text_card_out", 40000}}, "text_card_out");
  refused(MOSHI_ERR_MISMATCH, {{"norm_emb", true}, {"demux_second_stream", true}}, "norm_emb");
  refused(MOSHI_ERR_MISMATCH, {{"lora", true}, {"quantize", true}}, "quantize");
  refused(MOSHI_ERR_MISMATCH, {{"cross_attention", true}}, "cross_attention");
  refused(MOSHI_ERR_MISMATCH, {{"fuser", {{"sum", {"description"}}}}}, "description");
  refused(MOSHI_ERR_MISMATCH, {{"hidden_scale", 0}}, "hidden_scale");
  refused(MOSHI_ERR_MISMATCH, {{"dim", 1 << 20}}, "dim");
}

TEST(LmConfig, RefusesWhatCannotRun) {
  refused(MOSHI_ERR_NOT_SUPPORTED, {{"context", nullptr}}, "context");
  refused(MOSHI_ERR_NOT_SUPPORTED, {{"causal", false}}, "causal");
  refused(MOSHI_ERR_NOT_SUPPORTED, {{"depformer_weights_per_step", false}}, "depformer_weights_per_step");
  refused(MOSHI_ERR_NOT_SUPPORTED, {{"norm", "batch_norm"}}, "norm");
  refused(MOSHI_ERR_NOT_SUPPORTED, {{"gating", "swish"}}, "gating");
  refused(MOSHI_ERR_NOT_SUPPORTED, {{"positional_embedding", "alibi"}}, "positional_embedding");
  refused(MOSHI_ERR_NOT_SUPPORTED, {{"conditioners", {{"x", {{"type", "clap"}}}}}}, "conditioners.x.type");
  refused(MOSHI_ERR_NOT_SUPPORTED, {{"conditioners", {{"x", kTable}}}, {"fuser", {{"prepend", {"x"}}}}}, "prepend");
  refused(MOSHI_ERR_FORMAT, {{"dim", "4096"}}, "dim");
  refused(MOSHI_ERR_FORMAT, {{"delays", 1}}, "delays");
  expect_error(MOSHI_ERR_MISMATCH, "num_layers", [] { parse({{"context", 4}, {"n_q", 0}, {"dep_q", 0}}); });
  json config = default_json();
  config.erase("depformer_num_heads");
  expect_error(MOSHI_ERR_MISMATCH, "depformer_num_heads", [&] { parse(config); });
}

}  // namespace

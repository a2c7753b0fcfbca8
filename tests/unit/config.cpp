// SPDX-License-Identifier: MIT
#include "mimi/config.h"

#include <nlohmann/json.hpp>

#include "common/log.h"
#include "temp_dir.h"

namespace {

using moshi::mimi::Config;
using moshi::mimi::parse_config;
using moshi::mimi::Positional;
using nlohmann::json;

json default_json() { return json::parse(moshi::mimi::to_json(moshi::mimi::default_config())); }

/// The default configuration with the value at a path such as "/seanet/norm" replaced.
std::string with(const std::string& path, const json& value) {
  json config = default_json();
  config[json::json_pointer(path)] = value;
  return config.dump();
}

void refused(MoshiStatus status, const std::string& path, const json& value, const std::string& part) {
  SCOPED_TRACE(path + " = " + value.dump());
  expect_error(status, part, [&] { parse_config(with(path, value), "mimi.json"); });
  expect_error(status, "mimi.json", [&] { parse_config(with(path, value), "mimi.json"); });
}

TEST(MimiConfig, DefaultsAreKyutaisMimi) {
  const Config c = moshi::mimi::default_config();
  EXPECT_EQ(c.frame_samples(), 1920);
  EXPECT_EQ(c.steps_per_frame(), 2);
  EXPECT_EQ(c.seanet.hop_length(), 960);
  EXPECT_EQ(c.quantizer.n_q, 32);
  EXPECT_EQ(c.transformer.context, 250);
  EXPECT_TRUE(c.transformer.layer_scale);
}

TEST(MimiConfig, JsonRoundTrip) {
  json config = default_json();
  config["sample_rate"] = 16000;
  config["frame_rate"] = 62.5;
  config["seanet"] = {{"dimension", 24},     {"n_filters", 6},   {"n_residual_layers", 3},
                      {"ratios", {4, 4, 4}}, {"kernel_size", 5}, {"last_kernel_size", 7},
                      {"dilation_base", 3},  {"compress", 3},    {"residual_kernel_size", 5},
                      {"true_skip", false}};
  config["transformer"] = {{"d_model", 32},
                           {"num_heads", 4},
                           {"num_layers", 1},
                           {"context", 17},
                           {"max_period", 500.5},
                           {"layer_scale", nullptr},
                           {"positional_embedding", "sin"},
                           {"dim_feedforward", 48}};
  config["quantizer"] = {{"dimension", 16}, {"n_q", 2}, {"bins", 100}};
  const Config c = parse_config(config.dump(), "x");
  EXPECT_EQ(c.steps_per_frame(), 4);
  EXPECT_EQ(c.frame_samples(), 256);
  EXPECT_EQ(c.seanet.ratios, (std::vector<int>{4, 4, 4}));
  EXPECT_FALSE(c.seanet.true_skip);
  EXPECT_FALSE(c.transformer.layer_scale);
  EXPECT_EQ(c.transformer.positional, Positional::kSin);
  EXPECT_EQ(c.transformer.input_dimension, 24) << "follows seanet.dimension when it is not given";
  EXPECT_EQ(c.quantizer.output_dimension, 24);
  const std::string text = moshi::mimi::to_json(c);
  EXPECT_EQ(moshi::mimi::to_json(parse_config(text, "y")), text);
  EXPECT_EQ(parse_config(text, "y").transformer.max_period, 500.5f);
}

TEST(MimiConfig, AllPositionsAreKnown) {
  const std::pair<const char*, Positional> known[] = {{"none", Positional::kNone},
                                                      {"rope", Positional::kRope},
                                                      {"rope_concat", Positional::kRopeConcat},
                                                      {"sin", Positional::kSin},
                                                      {"sin_rope", Positional::kSinRope}};
  for (const auto& [name, value] : known) {
    EXPECT_EQ(parse_config(with("/transformer/positional_embedding", name), "x").transformer.positional, value);
  }
  EXPECT_TRUE(uses_rope(Positional::kSinRope) && adds_sine(Positional::kSinRope));
  EXPECT_FALSE(uses_rope(Positional::kSin) || adds_sine(Positional::kRopeConcat));
}

TEST(MimiConfig, WrongTypesAreNamed) {
  refused(MOSHI_ERR_FORMAT, "/seanet", 3, "seanet must be an object");
  refused(MOSHI_ERR_FORMAT, "/seanet/dimension", "512", "seanet.dimension must be an integer");
  refused(MOSHI_ERR_FORMAT, "/seanet/dimension", 512.5, "seanet.dimension must be an integer");
  refused(MOSHI_ERR_FORMAT, "/seanet/ratios", 8, "seanet.ratios must be a list");
  refused(MOSHI_ERR_FORMAT, "/seanet/ratios", json::array({8, "6"}), "seanet.ratios must be an integer");
  refused(MOSHI_ERR_FORMAT, "/seanet/true_skip", 1, "seanet.true_skip must be true or false");
  refused(MOSHI_ERR_FORMAT, "/transformer/layer_scale", "x", "transformer.layer_scale must be a number or null");
  refused(MOSHI_ERR_FORMAT, "/transformer/context", nullptr, "transformer.context must be an integer");
  refused(MOSHI_ERR_FORMAT, "/transformer/positional_embedding", 1, "must be a string");
  refused(MOSHI_ERR_FORMAT, "/frame_rate", json::array(), "frame_rate must be a number");
}

TEST(MimiConfig, ImpossibleValuesAreNamedWithTheirRange) {
  refused(MOSHI_ERR_MISMATCH, "/sample_rate", 0, "sample_rate is 0; it must be from 1000 to 768000");
  refused(MOSHI_ERR_MISMATCH, "/sample_rate", 1e300, "sample_rate");
  refused(MOSHI_ERR_MISMATCH, "/frame_rate", -12.5, "frame_rate is -12.5");
  refused(MOSHI_ERR_MISMATCH, "/frame_rate", 13, "frame_rate must be a whole number");
  refused(MOSHI_ERR_MISMATCH, "/frame_rate", 50, "frame_rate must be a whole number");
  refused(MOSHI_ERR_MISMATCH, "/seanet/ratios", json::array(), "seanet.ratios has 0 entries");
  refused(MOSHI_ERR_MISMATCH, "/seanet/ratios", json::array({8, 6, 5, 0}), "seanet.ratios is 0");
  refused(MOSHI_ERR_MISMATCH, "/seanet/ratios", json::array({1000, 1000, 1000, 1000}), "seanet.ratios is above");
  refused(MOSHI_ERR_MISMATCH, "/seanet/n_filters", 65536, "seanet.n_filters doubled");
  refused(MOSHI_ERR_MISMATCH, "/seanet/n_filters", -1, "seanet.n_filters is -1");
  refused(MOSHI_ERR_MISMATCH, "/seanet/compress", 65, "seanet.compress (65)");
  refused(MOSHI_ERR_MISMATCH, "/seanet/n_residual_layers", 31, "looks back further");
  refused(MOSHI_ERR_MISMATCH, "/seanet/dimension", 256, "(512) differs from seanet.dimension (256)");
  refused(MOSHI_ERR_MISMATCH, "/transformer/output_dimensions", json::array({512, 512}), "has 2 entries");
  refused(MOSHI_ERR_MISMATCH, "/transformer/output_dimensions", json::array({256}), "transformer.output_dimensions");
  refused(MOSHI_ERR_MISMATCH, "/transformer/num_heads", 7, "no multiple of transformer.num_heads (7)");
  refused(MOSHI_ERR_MISMATCH, "/transformer/num_heads", 512, "even number of channels per head");
  refused(MOSHI_ERR_MISMATCH, "/transformer/context", 1, "transformer.context (1) is shorter than a frame");
  refused(MOSHI_ERR_MISMATCH, "/transformer/max_period", 0, "transformer.max_period");
  refused(MOSHI_ERR_MISMATCH, "/quantizer/n_q", 1, "quantizer.n_q is 1; it must be from 2 to 32");
  refused(MOSHI_ERR_MISMATCH, "/quantizer/bins", 65537, "quantizer.bins is 65537");
  refused(MOSHI_ERR_MISMATCH, "/quantizer/input_dimension", 256, "quantizer.input_dimension (256)");
}

TEST(MimiConfig, OptionsThatTheCoreLacksAreNotSupported) {
  refused(MOSHI_ERR_NOT_SUPPORTED, "/channels", 2, "channels is 2");
  refused(MOSHI_ERR_NOT_SUPPORTED, "/seanet/channels", 2, "seanet.channels is 2");
  refused(MOSHI_ERR_NOT_SUPPORTED, "/seanet/causal", false, "seanet.causal is false");
  refused(MOSHI_ERR_NOT_SUPPORTED, "/seanet/activation", "SiLU", "seanet.activation is \"SiLU\"");
  refused(MOSHI_ERR_NOT_SUPPORTED, "/seanet/activation_params", json{{"alpha", 0.5}}, "seanet.activation_params");
  refused(MOSHI_ERR_NOT_SUPPORTED, "/seanet/norm", "layer_norm", "seanet.norm is \"layer_norm\"");
  refused(MOSHI_ERR_NOT_SUPPORTED, "/seanet/pad_mode", "reflect", "seanet.pad_mode");
  refused(MOSHI_ERR_NOT_SUPPORTED, "/seanet/final_activation", "Tanh", "seanet.final_activation");
  refused(MOSHI_ERR_NOT_SUPPORTED, "/transformer/causal", false, "transformer.causal is false");
  refused(MOSHI_ERR_NOT_SUPPORTED, "/transformer/gating", "silu", "transformer.gating is \"silu\"");
  refused(MOSHI_ERR_NOT_SUPPORTED, "/transformer/norm", "rms_norm", "transformer.norm is \"rms_norm\"");
  refused(MOSHI_ERR_NOT_SUPPORTED, "/transformer/kv_repeat", 2, "transformer.kv_repeat is 2");
  refused(MOSHI_ERR_NOT_SUPPORTED, "/transformer/positional_embedding", "alibi", "is \"alibi\"; known are");
  refused(MOSHI_ERR_NOT_SUPPORTED, "/transformer/positional_scale", 0.5, "transformer.positional_scale");
  refused(MOSHI_ERR_NOT_SUPPORTED, "/quantizer/n_q_semantic", 2, "quantizer.n_q_semantic is 2");
  EXPECT_NO_THROW(parse_config(with("/seanet/norm", "weight_norm"), "x"));
  EXPECT_NO_THROW(parse_config(with("/quantizer/q_dropout", true), "x"));
}

TEST(MimiConfig, HostileJsonIsAnError) {
  const std::string whole = moshi::mimi::to_json(moshi::mimi::default_config());
  // The text ends with a newline after the closing brace, which nothing needs.
  for (size_t length = 0; length + 1 < whole.size(); ++length) {
    expect_error(MOSHI_ERR_FORMAT, "cut.json", [&] { parse_config(whole.substr(0, length), "cut.json"); });
  }
  std::string deep = "{\"a\":";
  deep.append(1000000, '[');
  expect_error(MOSHI_ERR_FORMAT, "deep.json", [&] { parse_config(deep, "deep.json"); });
  deep.append(1000000, ']').append("}");
  expect_error(MOSHI_ERR_FORMAT, "nested deeper", [&] { parse_config(deep, "deep.json"); });
  expect_error(MOSHI_ERR_FORMAT, "must hold a JSON object", [&] { parse_config("[]", "list.json"); });
  expect_error(MOSHI_ERR_FORMAT, "not valid JSON", [&] { parse_config("{\"a\":\"\xff\"}", "utf8.json"); });
  expect_error(MOSHI_ERR_FORMAT, "not valid JSON", [&] { parse_config("{\"sample_rate\":NaN}", "nan.json"); });
  const std::string long_value(100000, 'x');
  expect_error(MOSHI_ERR_NOT_SUPPORTED, "...", [&] { parse_config(with("/seanet/activation", long_value), "x"); });
}

TEST(MimiConfig, UnknownKeysAreLogged) {
  std::string logged;
  moshi::set_log([](void* user, MoshiLogLevel, const char*,
                    const char* message) { *static_cast<std::string*>(user) += std::string(message) + "\n"; },
                 &logged);
  parse_config(with("/seanet/some_new_key", 1), "mimi.json");
  moshi::set_log(nullptr, nullptr);
  EXPECT_NE(logged.find("some_new_key"), std::string::npos) << logged;
  EXPECT_NE(logged.find("mimi.json"), std::string::npos) << logged;
}

}  // namespace

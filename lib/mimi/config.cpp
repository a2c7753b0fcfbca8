// SPDX-License-Identifier: MIT
#include "mimi/config.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>

#include "checkpoint/config_reader.h"
#include "checkpoint/json_text.h"
#include "common/error.h"

namespace moshi::mimi {
namespace {

using checkpoint::ConfigReader;
using nlohmann::json;

// Bounds that no codec of this family comes near; they keep every product of two of them far from overflow.
constexpr int kMaxWidth = 65536;
constexpr int kMaxHistory = 1 << 20;  // samples that a convolution may look back
constexpr int kMaxCodebooks = 32;     // of the stream format

struct PositionalName {
  const char* name;
  Positional value;
};
constexpr PositionalName kPositionalNames[] = {{"none", Positional::kNone},
                                               {"rope", Positional::kRope},
                                               {"rope_concat", Positional::kRopeConcat},
                                               {"sin", Positional::kSin},
                                               {"sin_rope", Positional::kSinRope}};

Positional parse_positional(const std::string& name, const ConfigReader& reader) {
  for (const PositionalName& known : kPositionalNames) {
    if (name == known.name) return known.value;
  }
  throw Error(MOSHI_ERR_NOT_SUPPORTED, reader.where("positional_embedding") + " is \"" + name +
                                           "\"; known are rope, rope_concat, sin, sin_rope and none");
}

const char* positional_name(Positional value) {
  for (const PositionalName& known : kPositionalNames) {
    if (value == known.value) return known.name;
  }
  throw Error(MOSHI_ERR_INTERNAL, "A Mimi configuration has an unknown positional embedding");
}

SeanetConfig read_seanet(ConfigReader& in) {
  SeanetConfig c;
  in.require("channels", 1, "only mono models are supported");
  c.dimension = in.integer("dimension", c.dimension, 1, kMaxWidth);
  c.n_filters = in.integer("n_filters", c.n_filters, 1, kMaxWidth);
  c.n_residual_layers = in.integer("n_residual_layers", c.n_residual_layers, 0, 32);
  c.ratios = in.integers("ratios", c.ratios, 1, 12, 1, 1024);
  c.kernel_size = in.integer("kernel_size", c.kernel_size, 1, 1024);
  c.residual_kernel_size = in.integer("residual_kernel_size", c.residual_kernel_size, 1, 1024);
  c.last_kernel_size = in.integer("last_kernel_size", c.last_kernel_size, 1, 1024);
  c.dilation_base = in.integer("dilation_base", c.dilation_base, 1, 1024);
  c.compress = in.integer("compress", c.compress, 1, kMaxWidth);
  c.true_skip = in.boolean("true_skip", c.true_skip);
  in.require("causal", true, "only causal models can stream");
  in.require("activation", "ELU", "no other activation is supported");
  in.require("activation_params", json{{"alpha", 1.0}}, "only alpha 1 is supported");
  // Weight normalization is folded into the weights where a checkpoint has it, so both spellings mean the same.
  in.require_one_of("norm", {"none", "weight_norm"});
  in.require("pad_mode", "constant", "no other padding is supported");
  in.require("trim_right_ratio", 1, "only causal models can stream");
  in.require("final_activation", nullptr, "no activation after the last convolution is supported");
  in.ignore({"disable_norm_outer_blocks", "norm_params", "final_activation_params"});
  in.report_unknown();
  return c;
}

TransformerConfig read_transformer(ConfigReader& in, int latent_width) {
  TransformerConfig c;
  c.d_model = in.integer("d_model", c.d_model, 1, kMaxWidth);
  c.num_heads = in.integer("num_heads", c.num_heads, 1, kMaxWidth);
  c.num_layers = in.integer("num_layers", c.num_layers, 1, 1024);
  c.context = in.integer("context", c.context, 1, kMaxHistory);
  c.max_period = static_cast<float>(in.number("max_period", c.max_period, 1.0, 1e9));
  c.dim_feedforward = in.integer("dim_feedforward", c.dim_feedforward, 1, 4 * kMaxWidth);
  c.layer_scale = in.number_or_null("layer_scale", c.layer_scale);
  c.positional = parse_positional(in.text("positional_embedding", positional_name(c.positional)), in);
  c.input_dimension = in.integer("input_dimension", latent_width, 1, kMaxWidth);
  c.output_dimension = in.integers("output_dimensions", {latent_width}, 1, 1, 1, kMaxWidth).front();
  in.require("causal", true, "only causal models can stream");
  in.require("conv_layout", true, "the codec's transformers work on convolution outputs");
  in.require("gating", "none", "gated feed-forward layers are not supported in the codec");
  in.require("norm", "layer_norm", "no other normalization is supported in the codec");
  in.require("kv_repeat", 1, "grouped keys and values are not supported in the codec");
  in.require("positional_scale", 1, "scaled positions are not supported");
  in.require("cross_attention", false, "the codec has nothing to attend to");
  in.require("skip_self_attn", false, "layers without attention are not supported");
  in.require("quantize", false, "quantized checkpoints of the codec are not supported");
  in.require("weights_per_step", 0, "weights per step are not supported in the codec");
  in.require("weights_per_step_schedule", nullptr, "weights per step are not supported in the codec");
  in.ignore({"checkpointing"});
  in.report_unknown();
  return c;
}

QuantizerConfig read_quantizer(ConfigReader& in, int latent_width) {
  QuantizerConfig c;
  c.dimension = in.integer("dimension", c.dimension, 1, kMaxWidth);
  c.n_q = in.integer("n_q", c.n_q, 2, kMaxCodebooks);
  c.bins = in.integer("bins", c.bins, 2, 65536);
  c.input_dimension = in.integer("input_dimension", latent_width, 1, kMaxWidth);
  c.output_dimension = in.integer("output_dimension", latent_width, 1, kMaxWidth);
  in.require("n_q_semantic", 1, "exactly one semantic codebook is supported");
  in.ignore({"q_dropout", "no_quantization_rate", "decay", "threshold_usage_ratio", "replaced_usage_ratio"});
  in.report_unknown();
  return c;
}

void check(bool ok, const std::string& origin, const std::string& what) {
  if (!ok) throw Error(MOSHI_ERR_MISMATCH, "The Mimi configuration \"" + origin + "\" cannot be: " + what);
}

void validate_seanet(const SeanetConfig& c, const std::string& origin) {
  int64_t width = c.n_filters;
  int64_t hop = 1;
  for (const int ratio : c.ratios) {
    width *= 2;
    hop *= ratio;
    check(width <= kMaxWidth, origin,
          "seanet.n_filters doubled for each of seanet.ratios is above " + std::to_string(kMaxWidth));
    check(hop <= kMaxHistory, origin, "the product of seanet.ratios is above " + std::to_string(kMaxHistory));
  }
  check(c.compress <= c.n_filters, origin,
        "seanet.compress (" + std::to_string(c.compress) + ") is above seanet.n_filters (" +
            std::to_string(c.n_filters) + "), which leaves a residual block no channel");
  int64_t dilation = 1;
  for (int layer = 0; layer < c.n_residual_layers; ++layer) {
    check(dilation * c.residual_kernel_size <= kMaxHistory, origin,
          "a residual layer looks back further than " + std::to_string(kMaxHistory) +
              " steps (seanet.dilation_base to the power of its index, times seanet.residual_kernel_size)");
    dilation *= c.dilation_base;
  }
}

void validate_rates(const Config& c, const std::string& origin) {
  // The same division as the reference's, which demands an exact result.
  const double stride = static_cast<double>(c.sample_rate) / c.seanet.hop_length() / c.frame_rate;
  const std::string rates = "sample_rate " + std::to_string(c.sample_rate) + ", frame_rate " +
                            std::to_string(c.frame_rate) + " and the product of seanet.ratios, " +
                            std::to_string(c.seanet.hop_length());
  check(stride >= 1.0 && stride <= 1024.0 && stride == std::floor(stride), origin,
        "sample_rate / (product of seanet.ratios) / frame_rate must be a whole number from 1 to 1024, not that of " +
            rates);
  const double samples = c.sample_rate / c.frame_rate;
  check(samples <= kMaxHistory && std::floor(samples) == static_cast<double>(c.seanet.hop_length()) * stride, origin,
        "a frame is not a whole number of latent steps with " + rates);
}

void validate_transformer(const Config& c, const std::string& origin) {
  const TransformerConfig& t = c.transformer;
  check(t.d_model % t.num_heads == 0, origin,
        "transformer.d_model (" + std::to_string(t.d_model) + ") is no multiple of transformer.num_heads (" +
            std::to_string(t.num_heads) + ")");
  check(!uses_rope(t.positional) || t.d_model / t.num_heads % 2 == 0, origin,
        "rotary positions need an even number of channels per head, not " + std::to_string(t.d_model / t.num_heads));
  check(!adds_sine(t.positional) || (t.d_model % 2 == 0 && t.d_model >= 4), origin,
        "sine positions need an even transformer.d_model of at least 4, not " + std::to_string(t.d_model));
  check(t.context >= c.steps_per_frame(), origin,
        "transformer.context (" + std::to_string(t.context) + ") is shorter than a frame, which has " +
            std::to_string(c.steps_per_frame()) + " latent steps");
}

void validate_widths(const Config& c, const std::string& origin) {
  struct Width {
    const char* key;
    int value;
  };
  const Width widths[] = {{"transformer.input_dimension", c.transformer.input_dimension},
                          {"transformer.output_dimensions", c.transformer.output_dimension},
                          {"quantizer.input_dimension", c.quantizer.input_dimension},
                          {"quantizer.output_dimension", c.quantizer.output_dimension}};
  for (const Width& width : widths) {
    check(width.value == c.seanet.dimension, origin,
          std::string(width.key) + " (" + std::to_string(width.value) + ") differs from seanet.dimension (" +
              std::to_string(c.seanet.dimension) + ")");
  }
}

void validate(const Config& c, const std::string& origin) {
  validate_seanet(c.seanet, origin);
  validate_rates(c, origin);
  validate_transformer(c, origin);
  validate_widths(c, origin);
}

}  // namespace

int SeanetConfig::hop_length() const {
  int hop = 1;
  for (const int ratio : ratios) hop *= ratio;
  return hop;
}

int Config::frame_samples() const { return static_cast<int>(sample_rate / frame_rate); }

int Config::steps_per_frame() const {
  return static_cast<int>(static_cast<double>(sample_rate) / seanet.hop_length() / frame_rate);
}

Config parse_config(std::string_view text, const std::string& origin) {
  const json parsed = checkpoint::parse_json_object(text, origin);
  ConfigReader top(parsed, origin, "");
  Config c;
  c.sample_rate = top.integer("sample_rate", c.sample_rate, 1000, 768000);
  c.frame_rate = top.number("frame_rate", c.frame_rate, 0.01, 10000.0);
  top.require("channels", 1, "only mono models are supported");
  ConfigReader seanet = top.section("seanet");
  ConfigReader transformer = top.section("transformer");
  ConfigReader quantizer = top.section("quantizer");
  top.report_unknown();
  c.seanet = read_seanet(seanet);
  c.transformer = read_transformer(transformer, c.seanet.dimension);
  c.quantizer = read_quantizer(quantizer, c.seanet.dimension);
  validate(c, origin);
  return c;
}

Config default_config() { return parse_config("{}", "default"); }

std::string to_json(const Config& c) {
  const json seanet = {{"channels", c.seanet.channels},
                       {"dimension", c.seanet.dimension},
                       {"causal", true},
                       {"n_filters", c.seanet.n_filters},
                       {"n_residual_layers", c.seanet.n_residual_layers},
                       {"activation", "ELU"},
                       {"compress", c.seanet.compress},
                       {"dilation_base", c.seanet.dilation_base},
                       {"disable_norm_outer_blocks", 0},
                       {"kernel_size", c.seanet.kernel_size},
                       {"residual_kernel_size", c.seanet.residual_kernel_size},
                       {"last_kernel_size", c.seanet.last_kernel_size},
                       {"norm", "none"},
                       {"pad_mode", "constant"},
                       {"ratios", c.seanet.ratios},
                       {"true_skip", c.seanet.true_skip}};
  const json transformer = {{"d_model", c.transformer.d_model},
                            {"num_heads", c.transformer.num_heads},
                            {"num_layers", c.transformer.num_layers},
                            {"causal", true},
                            // The number itself is where training began; only its presence shapes the model.
                            {"layer_scale", c.transformer.layer_scale ? json(0.01) : json(nullptr)},
                            {"context", c.transformer.context},
                            {"conv_layout", true},
                            {"max_period", c.transformer.max_period},
                            {"gating", "none"},
                            {"norm", "layer_norm"},
                            {"positional_embedding", positional_name(c.transformer.positional)},
                            {"dim_feedforward", c.transformer.dim_feedforward},
                            {"input_dimension", c.transformer.input_dimension},
                            {"output_dimensions", {c.transformer.output_dimension}}};
  const json quantizer = {{"dimension", c.quantizer.dimension},
                          {"n_q", c.quantizer.n_q},
                          {"bins", c.quantizer.bins},
                          {"input_dimension", c.quantizer.input_dimension},
                          {"output_dimension", c.quantizer.output_dimension}};
  const json all = {{"sample_rate", c.sample_rate}, {"channels", 1},
                    {"frame_rate", c.frame_rate},   {"seanet", seanet},
                    {"quantizer", quantizer},       {"transformer", transformer}};
  return all.dump(2) + "\n";
}

}  // namespace moshi::mimi

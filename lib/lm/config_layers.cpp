// SPDX-License-Identifier: MIT
// What the two transformers have in common, and the depth transformer's own options.
#include <algorithm>
#include <numeric>

#include "common/error.h"
#include "lm/config_parts.h"

namespace moshi::lm {
namespace {

using checkpoint::ConfigReader;

template <class T>
struct Named {
  const char* name;
  T value;
};

constexpr Named<nn::Positional> kPositionals[] = {{"none", nn::Positional::kNone},
                                                  {"rope", nn::Positional::kRope},
                                                  {"rope_concat", nn::Positional::kRopeConcat},
                                                  {"sin", nn::Positional::kSin},
                                                  {"sin_rope", nn::Positional::kSinRope}};
constexpr Named<Norm> kNorms[] = {{"layer_norm", Norm::kLayerNorm},
                                  {"layer_norm_f32", Norm::kLayerNormF32},
                                  {"rms_norm", Norm::kRmsNorm},
                                  {"rms_norm_f32", Norm::kRmsNormF32}};
constexpr Named<Gating> kGatings[] = {{"none", Gating::kNone},
                                      {"silu", Gating::kSilu},
                                      {"gelu", Gating::kGelu},
                                      {"sigmoid", Gating::kSigmoid},
                                      {"tanh", Gating::kTanh},
                                      {"relu", Gating::kRelu},
                                      {"leaky_relu", Gating::kLeakyRelu},
                                      {"elu", Gating::kElu},
                                      {"mish", Gating::kMish},
                                      {"softsign", Gating::kSoftsign},
                                      {"identity", Gating::kIdentity}};

template <class T, size_t N>
T value_of(const Named<T> (&table)[N], const ConfigReader& in, const std::string& key, const std::string& name) {
  std::string list;
  for (const Named<T>& known : table) {
    if (name == known.name) return known.value;
    list += std::string(list.empty() ? "" : ", ") + known.name;
  }
  throw Error(MOSHI_ERR_NOT_SUPPORTED, in.where(key) + " is \"" + name.substr(0, 80) + "\"; known are " + list);
}

void read_schedule(ConfigReader& in, Config& c) {
  c.depth_multi_linear = in.boolean("depformer_multi_linear", false);
  const bool per_step = in.boolean("depformer_weights_per_step", false);
  const char* const key = "depformer_weights_per_step_schedule";
  if (in.given(key)) {
    c.depth_schedule = in.integers(key, {}, 0, kMaxStreams, 0, kMaxStreams - 1);
    if (c.depth_schedule.size() != static_cast<size_t>(c.dep_q)) {
      contradiction(in, key,
                    "a list of " + std::to_string(c.depth_schedule.size()) +
                        "; it must have dep_q = " + std::to_string(c.dep_q) + " entries");
    }
  } else {
    c.depth_schedule.resize(static_cast<size_t>(c.dep_q));
    std::iota(c.depth_schedule.begin(), c.depth_schedule.end(), 0);
  }
  c.depth_input_schedule = c.depth_multi_linear ? c.depth_schedule : std::vector<int>(c.depth_schedule.size(), 0);
  if (c.dep_q > 0 && !per_step) {
    throw Error(MOSHI_ERR_NOT_SUPPORTED, in.where("depformer_weights_per_step") +
                                             " is false; without weights per step the depth transformer cannot run "
                                             "step by step");
  }
}

void read_depth_hidden(ConfigReader& in, double hidden_scale, Config& c) {
  const char* const key = "depformer_dim_feedforward";
  TransformerShape& d = c.depth;
  const auto weights = static_cast<size_t>(c.depth_weights());
  if (!in.given(key)) {
    d.hidden.assign(weights, hidden_width(in, key, d, hidden_scale * d.dim));
    return;
  }
  for (const int wanted : in.integer_or_list(key, kMaxStreams, 1, kMaxHidden)) {
    d.hidden.push_back(hidden_width(in, key, d, wanted));
  }
  if (!in.is_list(key)) d.hidden.assign(weights, d.hidden.front());
  if (d.hidden.size() != weights) {
    contradiction(in, key,
                  "a list of " + std::to_string(d.hidden.size()) + "; there are " + std::to_string(weights) +
                      " weights per step");
  }
}

}  // namespace

nn::Positional read_positional(ConfigReader& in, const char* key) {
  return value_of(kPositionals, in, key, in.text(key, "sin"));
}

Norm parse_norm(ConfigReader& in, const char* key, const std::string& name) { return value_of(kNorms, in, key, name); }

void read_layers(ConfigReader& in, const std::string& prefix, TransformerShape& shape) {
  const auto key = [&](const char* name) { return prefix + name; };
  shape.layers = in.integer(key("num_layers").c_str(), shape.layers, 1, kMaxLayers);
  shape.kv_repeat = in.integer(key("kv_repeat").c_str(), shape.kv_repeat, 1, kMaxWidth);
  shape.max_period = static_cast<float>(in.number(key("max_period").c_str(), shape.max_period, 1.0, 1e9));
  shape.layer_scale = in.number_or_null(key("layer_scale").c_str(), shape.layer_scale);
  const std::string gating = key("gating");
  if (in.given(gating.c_str())) shape.gating = value_of(kGatings, in, gating, in.text(gating.c_str(), "none"));
}

void check_shape(const ConfigReader& in, const std::string& prefix, const TransformerShape& shape) {
  const std::string heads = prefix + "num_heads";
  if (shape.dim % shape.heads != 0) {
    contradiction(
        in, heads.c_str(),
        std::to_string(shape.heads) + ", which does not divide " + prefix + "dim (" + std::to_string(shape.dim) + ")");
  }
  if (shape.heads % shape.kv_repeat != 0) {
    contradiction(in, (prefix + "kv_repeat").c_str(),
                  std::to_string(shape.kv_repeat) + ", which does not divide " + heads + " (" +
                      std::to_string(shape.heads) + ")");
  }
  if (nn::uses_rope(shape.positional) && shape.head_dim() % 2 != 0) {
    contradiction(in, heads.c_str(),
                  std::to_string(shape.heads) + ", which gives heads of " + std::to_string(shape.head_dim()) +
                      "; rotary positions need an even width");
  }
  if (nn::adds_sine(shape.positional) && (shape.dim % 2 != 0 || shape.dim < 4)) {
    contradiction(in, (prefix + "dim").c_str(),
                  std::to_string(shape.dim) + "; sine positions need an even width of at least 4");
  }
}

int hidden_width(const ConfigReader& in, const char* key, const TransformerShape& shape, double wanted) {
  const auto width = static_cast<int64_t>(wanted);
  int64_t hidden = width;
  if (shape.gating != Gating::kNone) {
    hidden = width == 4 * static_cast<int64_t>(shape.dim) ? 21 * static_cast<int64_t>(shape.dim) / 8 : 2 * width / 3;
  }
  if (hidden < 1 || hidden > kMaxHidden) {
    contradiction(in, key,
                  "such that the feed-forward layer would be " + std::to_string(hidden) +
                      " wide; it must be from 1 to " + std::to_string(kMaxHidden));
  }
  return static_cast<int>(hidden);
}

void read_depth(ConfigReader& in, double hidden_scale, Config& c) {
  TransformerShape& d = c.depth;
  read_schedule(in, c);
  d.dim = in.integer("depformer_dim", 256, 1, kMaxWidth);
  d.layers = c.temporal.layers;
  d.kv_repeat = c.temporal.kv_repeat;
  d.max_period = c.temporal.max_period;
  d.layer_scale = c.temporal.layer_scale;
  d.gating = c.temporal.gating;
  d.norm = c.temporal.norm;
  d.context = c.dep_q;
  d.heads = in.integer("depformer_num_heads", 1, 1, kMaxWidth);
  d.positional = read_positional(in, "depformer_pos_emb");
  read_layers(in, "depformer_", d);
  if (in.given("depformer_low_rank_embeddings")) {
    c.depth_low_rank = in.integer("depformer_low_rank_embeddings", 0, 1, kMaxWidth);
  }
  if (in.given("depformer_norm")) c.depth_norm = parse_norm(in, "depformer_norm", in.text("depformer_norm", ""));
  in.require("depformer_positional_scale", 1, "scaled positions are not supported");
  in.require("depformer_skip_self_attn", false, "layers without attention are not supported");
  if (c.dep_q == 0) {
    // The options above are known, but nothing is made of them.
    in.ignore({"depformer_dim_feedforward"});
    d.layers = 0;
    d.heads = 1;
    d.kv_repeat = 1;
    return;
  }
  if (!in.given("depformer_num_heads")) contradiction(in, "depformer_num_heads", "missing");
  check_shape(in, "depformer_", d);
  if (d.gating == Gating::kNone) {
    contradiction(in, "depformer_gating", "none, which depformer_weights_per_step rules out");
  }
  read_depth_hidden(in, hidden_scale, c);
}

}  // namespace moshi::lm

// SPDX-License-Identifier: MIT
#include "lm/shapes.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace moshi::lm {
namespace {

class TensorList {
 public:
  void linear(std::string name, int64_t in, int64_t out, bool unused = false) {
    list_.push_back({std::move(name), TensorKind::kLinear, {out, in}, unused});
  }
  void table(std::string name, int64_t rows, int64_t width) {
    list_.push_back({std::move(name), TensorKind::kTable, {rows, width}});
  }
  void vector(std::string name, std::vector<int64_t> shape) {
    list_.push_back({std::move(name), TensorKind::kVector, std::move(shape)});
  }
  void norm(const std::string& module, Norm norm, int64_t width) {
    if (norm == Norm::kRmsNorm || norm == Norm::kRmsNormF32) {
      vector(module + ".alpha", {1, 1, width});
    } else {
      vector(module + ".weight", {width});
      vector(module + ".bias", {width});
    }
  }

  std::vector<TensorSpec> take() { return std::move(list_); }

 private:
  std::vector<TensorSpec> list_;
};

struct Embedding {
  int64_t rows = 0;
  int64_t width = 0;
  bool norm = false;
  bool demux = false;
  std::optional<int> low_rank;
};

void add_embedding(TensorList& list, const std::string& module, const Embedding& e) {
  const int64_t stored = e.low_rank.value_or(static_cast<int>(e.width));
  list.table(module, e.rows, stored);
  if (e.norm) list.norm(module + ".norm", Norm::kLayerNorm, stored);
  // Two streams are mapped by out1 and out2, which leaves low_rank without a use.
  if (e.low_rank) list.linear(module + ".low_rank", stored, e.width, e.demux);
  if (e.demux) {
    list.linear(module + ".out1", stored, e.width);
    list.linear(module + ".out2", stored, e.width);
  }
}

void add_attention(TensorList& list, const std::string& module, const TransformerShape& t, int weights) {
  const int64_t d = t.dim;
  const int64_t out = d + 2 * static_cast<int64_t>(t.head_dim()) * t.kv_heads();
  for (int i = 0; i < weights; ++i) list.linear(module + ".in_projs." + std::to_string(i), d, out);
  for (int i = 0; i < weights; ++i) list.linear(module + ".out_projs." + std::to_string(i), d, d);
}

void add_feed_forward(TensorList& list, const std::string& layer, const TransformerShape& t, bool indexed) {
  if (t.gating == Gating::kNone) {
    list.linear(layer + "linear1", t.dim, t.hidden.front());
    list.linear(layer + "linear2", t.hidden.front(), t.dim);
    return;
  }
  for (size_t i = 0; i < t.hidden.size(); ++i) {
    const std::string gating = layer + (indexed ? "gating." + std::to_string(i) : "gating");
    list.linear(gating + ".linear_in", t.dim, 2 * static_cast<int64_t>(t.hidden[i]));
    list.linear(gating + ".linear_out", t.hidden[i], t.dim);
  }
}

/// `weights`: distinct weights of the steps; 0: the same for all.
void add_transformer(TensorList& list, const std::string& module, const TransformerShape& t, int weights) {
  const std::vector<int64_t> scale{t.dim};
  for (int i = 0; i < t.layers; ++i) {
    const std::string layer = module + ".layers." + std::to_string(i) + ".";
    list.norm(layer + "norm1", t.norm, t.dim);
    add_attention(list, layer + "self_attn", t, std::max(weights, 1));
    if (t.layer_scale) list.vector(layer + "layer_scale_1.scale", scale);
    if (t.cross_attention) {
      list.norm(layer + "norm_cross", Norm::kLayerNorm, t.dim);
      add_attention(list, layer + "cross_attention", t, 1);
      if (t.layer_scale) list.vector(layer + "layer_scale_cross.scale", scale);
    }
    list.norm(layer + "norm2", t.norm, t.dim);
    add_feed_forward(list, layer, t, weights > 0);
    if (t.layer_scale) list.vector(layer + "layer_scale_2.scale", scale);
  }
}

void add_depth(TensorList& list, const Config& c) {
  const int64_t width = c.depth.dim;
  int inputs = 1;
  if (c.depth_multi_linear) inputs = c.depth_weights();
  for (int i = 0; i < inputs; ++i) {
    list.linear("depformer_in." + std::to_string(i), c.temporal.dim, width, c.dep_q == 0);
  }
  if (c.dep_q == 0) return;
  Embedding text{c.text_card + 1, width, c.norm_emb, c.demux_second_text_stream, c.depth_low_rank};
  add_embedding(list, "depformer_text_emb", text);
  const Embedding audio{c.card + 1, width, c.norm_emb, false, c.depth_low_rank};
  for (int i = 0; i + 1 < c.dep_q; ++i) add_embedding(list, "depformer_emb." + std::to_string(i), audio);
  add_transformer(list, "depformer", c.depth, c.depth_weights());
  for (int i = 0; i < c.dep_q; ++i) {
    const std::string step = std::to_string(i);
    if (c.depth_norm) list.norm("depformer_norms." + step, *c.depth_norm, width);
    list.linear("linears." + step, width, c.card);
    if (c.bias_proj) list.vector("linears." + step + ".bias", {c.card});
  }
}

void add_conditions(TensorList& list, const Config& c) {
  const int64_t width = c.temporal.dim;
  for (const auto& [name, shape] : c.conditioners) {
    const std::string module = "condition_provider.conditioners." + name + ".";
    if (shape.table) list.table(module + "embed", static_cast<int64_t>(shape.bins) + 1, shape.dim);
    if (shape.projected) list.linear(module + "output_proj", shape.dim, width);
    if (shape.learnt_padding) list.vector(module + "learnt_padding", {1, 1, width});
  }
}

constexpr std::string_view kProjections[] = {"in_proj", "out_proj"};

bool of_attention(std::string_view module) {
  return module.ends_with(".self_attn.") || module.ends_with(".cross_attention.");
}

}  // namespace

std::vector<TensorSpec> expected_tensors(const Config& c) {
  TensorList list;
  const int64_t width = c.temporal.dim;
  const Embedding audio{c.card + 1, width, c.norm_emb, false, std::nullopt};
  for (int i = 0; i < c.n_q; ++i) add_embedding(list, "emb." + std::to_string(i), audio);
  add_embedding(list, "text_emb", {c.text_card + 1, width, c.norm_emb, c.demux_second_text_stream, std::nullopt});
  add_transformer(list, "transformer", c.temporal, 0);
  list.norm("out_norm", c.temporal.norm, width);
  list.linear("text_linear", width, c.text_card_out);
  if (c.bias_proj) list.vector("text_linear.bias", {c.text_card_out});
  for (int i = 0; i < c.extra_heads; ++i) list.linear("extra_heads." + std::to_string(i), width, c.extra_heads_dim);
  add_depth(list, c);
  add_conditions(list, c);
  return list.take();
}

FusedName fused_name(const std::string& name) {
  for (const std::string_view projection : kProjections) {
    const std::string infix = std::string(projection) + "s.";
    const size_t at = name.rfind(infix);
    if (at == std::string::npos || !of_attention(std::string_view(name).substr(0, at))) continue;
    FusedName fused{name.substr(0, at).append(projection), 0};
    const char* const end = name.data() + name.size();
    const auto parsed = std::from_chars(name.data() + at + infix.size(), end, fused.block);
    if (parsed.ec == std::errc() && parsed.ptr == end) return fused;
  }
  return {name, 0};
}

int fused_blocks(const Config& config, std::string_view name) {
  return name.starts_with("depformer.") ? std::max(config.depth_weights(), 1) : 1;
}

}  // namespace moshi::lm

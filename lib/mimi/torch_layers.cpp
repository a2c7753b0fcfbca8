// SPDX-License-Identifier: MIT
#include "mimi/torch_layers.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "common/error.h"

namespace moshi::mimi {

TorchWeights::TorchWeights(const Config& config, const TensorSource& source, at::Device device,
                           std::function<void(int64_t)> on_elements)
    : source_(source), device_(device), on_elements_(std::move(on_elements)) {
  for (TensorSpec& spec : expected_tensors(config)) shapes_.emplace(spec.name, std::move(spec.shape));
}

at::Tensor TorchWeights::get(const std::string& name) {
  const auto shape = shapes_.find(name);
  if (shape == shapes_.end()) throw Error(MOSHI_ERR_INTERNAL, "no Mimi of this configuration has a tensor " + name);
  const std::vector<float> values = source_.read(name);
  at::Tensor tensor = at::empty(shape->second, at::kFloat);
  if (static_cast<int64_t>(values.size()) != tensor.numel()) {
    throw Error(MOSHI_ERR_MISMATCH, "tensor " + name + " has " + std::to_string(values.size()) +
                                        " elements; the model's configuration needs " + std::to_string(tensor.numel()));
  }
  std::memcpy(tensor.mutable_data_ptr<float>(), values.data(), tensor.nbytes());
  bytes_ += tensor.nbytes();
  if (on_elements_) on_elements_(tensor.numel());
  return tensor.to(device_);
}

TorchConv::TorchConv(const ConvShape& shape, bool bias, int groups, Start start, TorchWeights& weights,
                     const RowLayout& layout)
    : shape_(shape), groups_(groups), start_(start), weight_(weights.get(shape.name + ".weight")) {
  if (bias) bias_ = weights.get(shape.name + ".bias");
  if (shape.history() > 0) entry_ = layout.index(shape.name, RowEntry::Kind::kHistory);
}

at::Tensor TorchConv::with_history(const at::Tensor& input, RowBatch& rows) const {
  const int history = shape_.history();
  if (history == 0) return input;
  at::Tensor before = rows.gather(entry_);
  if (start_ == Start::kReplicate) {
    const at::Tensor fresh = rows.steps().eq(0).view({-1, 1, 1});
    before = at::where(fresh, input.narrow(2, 0, 1), before);
  }
  at::Tensor joined = at::cat({before, input}, 2);
  rows.store(entry_, joined.narrow(2, joined.size(2) - history, history));
  return joined;
}

at::Tensor TorchConv::operator()(const at::Tensor& input, RowBatch& rows) const {
  const at::Tensor joined = with_history(input, rows);
  if (!shape_.transposed) {
    return at::conv1d(joined, weight_, bias_, {shape_.stride}, at::IntArrayRef{0}, {shape_.dilation}, groups_);
  }
  // Of the whole result, the part that this call completes: it begins where the steps before it have all been added.
  const at::Tensor whole = at::conv_transpose1d(joined, weight_, bias_, shape_.stride, 0, 0, groups_);
  return whole.narrow(2, shape_.history() * shape_.stride, input.size(2) * shape_.stride);
}

TorchSeanet::TorchSeanet(const std::vector<SeanetLayer>& layers, TorchWeights& weights, const RowLayout& layout) {
  for (const SeanetLayer& layer : layers) {
    Layer loaded{layer.residual, layer.elu, {}};
    for (const ConvShape& shape : layer.convs) {
      loaded.convs.emplace_back(shape, true, 1, TorchConv::Start::kZeros, weights, layout);
    }
    layers_.push_back(std::move(loaded));
  }
}

at::Tensor TorchSeanet::operator()(at::Tensor x, RowBatch& rows) const {
  for (const Layer& layer : layers_) {
    if (!layer.residual) {
      x = layer.convs[0](layer.elu ? at::elu(x) : x, rows);
      continue;
    }
    const at::Tensor branch = layer.convs[1](at::elu(layer.convs[0](at::elu(x), rows)), rows);
    x = (layer.convs.size() > 2 ? layer.convs[2](x, rows) : x) + branch;
  }
  return x;
}

TorchTransformer::TorchTransformer(const std::string& name, const TransformerConfig& config, TorchWeights& weights,
                                   const RowLayout& layout)
    : config_(config) {
  if (config.input_dimension != config.d_model) input_proj_ = weights.get(name + ".input_proj.weight");
  for (int i = 0; i < config.num_layers; ++i) {
    layers_.push_back(load_layer(name + ".transformer.layers." + std::to_string(i), weights, layout));
  }
  if (config.output_dimension != config.d_model) output_proj_ = weights.get(name + ".output_projs.0.weight");
}

TorchTransformer::Layer TorchTransformer::load_layer(const std::string& name, TorchWeights& weights,
                                                     const RowLayout& layout) const {
  Layer layer;
  layer.norm1_weight = weights.get(name + ".norm1.weight");
  layer.norm1_bias = weights.get(name + ".norm1.bias");
  layer.in_proj = weights.get(name + ".self_attn.in_projs.0.weight");
  layer.out_proj = weights.get(name + ".self_attn.out_projs.0.weight");
  layer.norm2_weight = weights.get(name + ".norm2.weight");
  layer.norm2_bias = weights.get(name + ".norm2.bias");
  layer.linear1 = weights.get(name + ".linear1.weight");
  layer.linear2 = weights.get(name + ".linear2.weight");
  if (config_.layer_scale) {
    layer.scale1 = weights.get(name + ".layer_scale_1.scale");
    layer.scale2 = weights.get(name + ".layer_scale_2.scale");
  }
  layer.keys = layout.index(name, RowEntry::Kind::kKeys);
  layer.values = layout.index(name, RowEntry::Kind::kValues);
  return layer;
}

at::Tensor TorchTransformer::operator()(const at::Tensor& input, RowBatch& rows) const {
  at::Tensor x = input.transpose(1, 2);
  if (input_proj_.defined()) x = at::linear(x, input_proj_);
  const at::Tensor positions = rows.steps().view({-1, 1}) + at::arange(x.size(1), rows.steps().options());
  if (adds_sine(config_.positional)) x = x + sine_embedding(positions);
  const Frame shared = frame(positions);
  const auto scaled = [](const at::Tensor& scale, const at::Tensor& y) { return scale.defined() ? scale * y : y; };
  for (const Layer& layer : layers_) {
    const at::Tensor normed1 = at::layer_norm(x, {config_.d_model}, layer.norm1_weight, layer.norm1_bias, 1e-5);
    x = x + scaled(layer.scale1, attention(normed1, layer, shared, rows));
    const at::Tensor normed2 = at::layer_norm(x, {config_.d_model}, layer.norm2_weight, layer.norm2_bias, 1e-5);
    x = x + scaled(layer.scale2, at::linear(at::gelu(at::linear(normed2, layer.linear1)), layer.linear2));
  }
  if (output_proj_.defined()) x = at::linear(x, output_proj_);
  return x.transpose(1, 2);
}

TorchTransformer::Frame TorchTransformer::frame(const at::Tensor& positions) const {
  Frame shared;
  shared.mask = ring_mask(positions);
  if (uses_rope(config_.positional)) {
    const int64_t head = config_.d_model / config_.num_heads;
    const at::Tensor pair = at::arange(head / 2, positions.options().dtype(at::kFloat));
    const double log_period = std::log(static_cast<double>(config_.max_period));
    const at::Tensor frequency = at::exp(pair * (-log_period * 2.0 / static_cast<double>(head)));
    const at::Tensor angle = frequency * positions.to(at::kFloat).view({positions.size(0), 1, -1, 1});
    shared.cosine = at::cos(angle);
    shared.sine = at::sin(angle);
  }
  return shared;
}

/// All steps of a frame are in the ring before any of them looks: the earlier ones have lost the oldest keys to the
/// later ones, so that step q of frame f sees the keys of positions last(f) - context < p <= q.
at::Tensor TorchTransformer::ring_mask(const at::Tensor& positions) const {
  const at::Tensor last = positions.narrow(1, positions.size(1) - 1, 1);
  const at::Tensor slot = at::arange(config_.context, positions.options()).view({1, -1});
  // The newest position that falls on each slot; negative where nothing has been written yet.
  const at::Tensor held = last - (last - slot).remainder(config_.context);
  const at::Tensor seen = held.ge(0).unsqueeze(1) & held.unsqueeze(1).le(positions.unsqueeze(2));
  return seen.unsqueeze(1);
}

at::Tensor TorchTransformer::rotate(const at::Tensor& x, const Frame& frame) const {
  const int64_t half = x.size(3) / 2;
  const bool interleaved = config_.positional != Positional::kRopeConcat;
  at::Tensor re, im;
  if (interleaved) {
    const at::Tensor pairs = x.reshape({x.size(0), x.size(1), x.size(2), half, 2});
    re = pairs.select(4, 0);
    im = pairs.select(4, 1);
  } else {
    re = x.narrow(3, 0, half);
    im = x.narrow(3, half, half);
  }
  const at::Tensor new_re = re * frame.cosine - im * frame.sine;
  const at::Tensor new_im = re * frame.sine + im * frame.cosine;
  return interleaved ? at::stack({new_re, new_im}, 4).view(x.sizes()) : at::cat({new_re, new_im}, 3);
}

at::Tensor TorchTransformer::sine_embedding(const at::Tensor& positions) const {
  const auto options = positions.options().dtype(at::kFloat);
  const int64_t half = config_.d_model / 2;
  const at::Tensor exponent = at::arange(half, options) / static_cast<double>(half - 1);
  const at::Tensor period = at::pow(at::full({}, config_.max_period, options), exponent);
  const at::Tensor phase = positions.to(at::kFloat).unsqueeze(2) / period;
  return at::cat({at::cos(phase), at::sin(phase)}, 2);
}

at::Tensor TorchTransformer::attention(const at::Tensor& x, const Layer& layer, const Frame& frame,
                                       RowBatch& rows) const {
  const int64_t batch = x.size(0);
  const int64_t time = x.size(1);
  const int64_t head = config_.d_model / config_.num_heads;
  const at::Tensor projected = at::linear(x, layer.in_proj).view({batch, time, 3, config_.num_heads, head});
  const at::Tensor parts = projected.permute({2, 0, 3, 1, 4});
  at::Tensor query = parts[0];
  at::Tensor key = parts[1];
  if (frame.cosine.defined()) {
    query = rotate(query, frame);
    key = rotate(key, frame);
  }
  rows.append(layer.keys, key);
  rows.append(layer.values, parts[2]);
  const at::Tensor y =
      at::scaled_dot_product_attention(query, rows.gather(layer.keys), rows.gather(layer.values), frame.mask);
  return at::linear(y.transpose(1, 2).reshape({batch, time, config_.d_model}), layer.out_proj);
}

TorchQuantizer::TorchQuantizer(const QuantizerConfig& config, TorchWeights& weights, bool encode, bool decode)
    : first_(load_branch("quantizer.rvq_first", 1, weights, encode, decode)),
      rest_(load_branch("quantizer.rvq_rest", config.n_q - 1, weights, encode, decode)) {}

TorchQuantizer::Branch TorchQuantizer::load_branch(const std::string& name, int levels, TorchWeights& weights,
                                                   bool encode, bool decode) {
  constexpr float kLeastUsage = 1e-5f;  // vectors that training never chose have a usage of about zero
  Branch branch;
  if (encode) branch.input_proj = weights.get(name + ".input_proj.weight");
  for (int i = 0; i < levels; ++i) {
    const std::string codebook = name + ".vq.layers." + std::to_string(i) + "._codebook.";
    const at::Tensor usage = weights.get(codebook + "cluster_usage").clamp_min(kLeastUsage);
    branch.tables.push_back(weights.get(codebook + "embedding_sum") / usage.unsqueeze(1));
  }
  if (decode) branch.output_proj = weights.get(name + ".output_proj.weight");
  return branch;
}

at::Tensor TorchQuantizer::encode(const at::Tensor& latent, int codebooks) const {
  std::vector<at::Tensor> codes;
  search(first_, latent, 1, codes);
  search(rest_, latent, codebooks - 1, codes);
  return at::stack(codes, 1);
}

void TorchQuantizer::search(const Branch& branch, const at::Tensor& latent, int levels,
                            std::vector<at::Tensor>& codes) {
  if (levels == 0) return;
  at::Tensor residual = at::conv1d(latent, branch.input_proj).squeeze(2);
  for (int level = 0; level < levels; ++level) {
    const at::Tensor& table = branch.tables[static_cast<size_t>(level)];
    const at::Tensor distance = at::cdist(residual.unsqueeze(0), table.unsqueeze(0)).squeeze(0);
    codes.push_back(distance.argmin(1));
    residual = residual - table.index_select(0, codes.back());
  }
}

at::Tensor TorchQuantizer::decode(const at::Tensor& codes, const at::Tensor& used) const {
  const at::Tensor semantic = sum(first_, codes.narrow(1, 0, 1), used, 0);
  if (codes.size(1) == 1) return semantic;
  return semantic + sum(rest_, codes.narrow(1, 1, codes.size(1) - 1), used, 1);
}

at::Tensor TorchQuantizer::sum(const Branch& branch, const at::Tensor& codes, const at::Tensor& used, int first_level) {
  at::Tensor total = at::zeros({codes.size(0), branch.tables[0].size(1)}, branch.tables[0].options());
  for (int64_t i = 0; i < codes.size(1); ++i) {
    const at::Tensor chosen = branch.tables[static_cast<size_t>(i)].index_select(0, codes.select(1, i));
    total = at::where(used.gt(first_level + i).unsqueeze(1), total + chosen, total);
  }
  return at::conv1d(total.unsqueeze(2), branch.output_proj);
}

}  // namespace moshi::mimi

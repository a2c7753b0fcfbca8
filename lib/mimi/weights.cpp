// SPDX-License-Identifier: MIT
#include "mimi/weights.h"

#include <string_view>

namespace moshi::mimi {
namespace {

class TensorList {
 public:
  void add(std::string name, std::vector<int64_t> shape) { list_.push_back({std::move(name), std::move(shape)}); }

  void convolution(const std::string& module, int64_t in, int64_t out, int64_t kernel) {
    add(module + ".conv.conv.weight", {out, in, kernel});
    add(module + ".conv.conv.bias", {out});
  }

  void transposed_convolution(const std::string& module, int64_t in, int64_t out, int64_t kernel) {
    add(module + ".convtr.convtr.weight", {in, out, kernel});
    add(module + ".convtr.convtr.bias", {out});
  }

  std::vector<TensorSpec> take() { return std::move(list_); }

 private:
  std::vector<TensorSpec> list_;
};

void add_residual_blocks(TensorList& list, const SeanetConfig& c, const std::string& model, int& index, int64_t width) {
  for (int layer = 0; layer < c.n_residual_layers; ++layer) {
    const std::string block = model + std::to_string(index++);
    list.convolution(block + ".block.1", width, width / c.compress, c.residual_kernel_size);
    list.convolution(block + ".block.3", width / c.compress, width, 1);
    if (!c.true_skip) list.convolution(block + ".shortcut", width, width, 1);
  }
}

// Activations have an index of their own in the reference's sequences, hence the steps over one.
void add_encoder(TensorList& list, const SeanetConfig& c) {
  const std::string model = "encoder.model.";
  int index = 0;
  int64_t width = c.n_filters;
  list.convolution(model + std::to_string(index++), c.channels, width, c.kernel_size);
  for (auto ratio = c.ratios.rbegin(); ratio != c.ratios.rend(); ++ratio) {
    add_residual_blocks(list, c, model, index, width);
    ++index;
    list.convolution(model + std::to_string(index++), width, 2 * width, 2 * *ratio);
    width *= 2;
  }
  ++index;
  list.convolution(model + std::to_string(index), width, c.dimension, c.last_kernel_size);
}

void add_decoder(TensorList& list, const SeanetConfig& c) {
  const std::string model = "decoder.model.";
  int index = 0;
  int64_t width = static_cast<int64_t>(c.n_filters) << c.ratios.size();
  list.convolution(model + std::to_string(index++), c.dimension, width, c.kernel_size);
  for (const int ratio : c.ratios) {
    ++index;
    list.transposed_convolution(model + std::to_string(index++), width, width / 2, 2 * ratio);
    width /= 2;
    add_residual_blocks(list, c, model, index, width);
  }
  ++index;
  list.convolution(model + std::to_string(index), width, c.channels, c.last_kernel_size);
}

void add_transformer(TensorList& list, const TransformerConfig& c, const std::string& module) {
  const int64_t d = c.d_model;
  if (d != c.input_dimension) list.add(module + ".input_proj.weight", {d, c.input_dimension});
  for (int i = 0; i < c.num_layers; ++i) {
    const std::string layer = module + ".transformer.layers." + std::to_string(i) + ".";
    list.add(layer + "norm1.weight", {d});
    list.add(layer + "norm1.bias", {d});
    list.add(layer + "self_attn.in_projs.0.weight", {3 * d, d});
    list.add(layer + "self_attn.out_projs.0.weight", {d, d});
    if (c.layer_scale) list.add(layer + "layer_scale_1.scale", {d});
    list.add(layer + "norm2.weight", {d});
    list.add(layer + "norm2.bias", {d});
    list.add(layer + "linear1.weight", {c.dim_feedforward, d});
    list.add(layer + "linear2.weight", {d, c.dim_feedforward});
    if (c.layer_scale) list.add(layer + "layer_scale_2.scale", {d});
  }
  if (d != c.output_dimension) list.add(module + ".output_projs.0.weight", {c.output_dimension, d});
}

void add_quantizer(TensorList& list, const QuantizerConfig& c, const std::string& module, int levels) {
  list.add(module + ".input_proj.weight", {c.dimension, c.input_dimension, 1});
  for (int i = 0; i < levels; ++i) {
    const std::string codebook = module + ".vq.layers." + std::to_string(i) + "._codebook.";
    list.add(codebook + "_initialized", {1});
    list.add(codebook + "cluster_usage", {c.bins});
    list.add(codebook + "embedding_sum", {c.bins, c.dimension});
  }
  list.add(module + ".output_proj.weight", {c.output_dimension, c.dimension, 1});
}

}  // namespace

int64_t TensorSpec::elements() const {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

std::vector<TensorSpec> expected_tensors(const Config& config) {
  const int64_t latent = config.seanet.dimension;
  const int64_t stride = config.steps_per_frame();
  TensorList list;
  add_encoder(list, config.seanet);
  add_transformer(list, config.transformer, "encoder_transformer");
  if (stride > 1) list.add("downsample.conv.conv.conv.weight", {latent, latent, 2 * stride});
  add_quantizer(list, config.quantizer, "quantizer.rvq_first", 1);
  add_quantizer(list, config.quantizer, "quantizer.rvq_rest", config.quantizer.n_q - 1);
  if (stride > 1) list.add("upsample.convtr.convtr.convtr.weight", {latent, 1, 2 * stride});
  add_transformer(list, config.transformer, "decoder_transformer");
  add_decoder(list, config.seanet);
  return list.take();
}

bool used_by(const TensorSpec& tensor, Direction direction) {
  const std::string_view name = tensor.name;
  const bool encodes = direction == Direction::kEncode;
  if (name.ends_with("._initialized")) return false;
  if (name.starts_with("quantizer.")) {
    if (name.ends_with(".input_proj.weight")) return encodes;
    if (name.ends_with(".output_proj.weight")) return !encodes;
    return true;
  }
  const bool of_encoder =
      name.starts_with("encoder.") || name.starts_with("encoder_transformer.") || name.starts_with("downsample.");
  return of_encoder == encodes;
}

}  // namespace moshi::mimi

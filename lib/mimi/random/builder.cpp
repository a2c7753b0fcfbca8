// SPDX-License-Identifier: MIT
#include "mimi/random/builder.h"

#include <cmath>

#include "common/random_numbers.h"
#include "mimi/random/codebooks.h"

namespace moshi::mimi::random {
namespace {

constexpr double kCentering = 0.5;     // part of each channel's mean that its bias takes away
constexpr double kBias = 0.15;         // deviation of biases, for outputs of deviation 1
constexpr double kAudioBias = 0.01;    // the same where the output is audio
constexpr double kAudio = 0.06;        // deviation of the decoded audio
constexpr double kBranch = 0.7;        // deviation of each of the two quantizers' shares of the decoded latent
constexpr double kNoLayerScale = 0.2;  // stands in for layer scales in models without them

struct Spread {
  std::vector<double> means;  // of each channel over time
  double deviation = 0.0;     // from them, over all channels
};

Spread spread_of(const Signal& y) {
  Spread spread{std::vector<double>(y.width), 0.0};
  for (size_t step = 0; step < y.steps; ++step) {
    for (size_t c = 0; c < y.width; ++c) spread.means[c] += y.row(step)[c];
  }
  for (double& mean : spread.means) mean /= static_cast<double>(y.steps);
  double square = 0.0;
  for (size_t step = 0; step < y.steps; ++step) {
    for (size_t c = 0; c < y.width; ++c) {
      const double difference = y.row(step)[c] - spread.means[c];
      square += difference * difference;
    }
  }
  spread.deviation = std::sqrt(square / static_cast<double>(y.data.size()));
  return spread;
}

double fan_in(const std::vector<int64_t>& shape) {
  double count = 1.0;
  for (size_t i = 1; i < shape.size(); ++i) count *= static_cast<double>(shape[i]);
  return count;
}

/// Makes a layer with one output blind to the mean of its input: audio would be little more than an offset otherwise.
void ignore_mean(std::vector<float>& weight, const Signal& x, size_t kernel) {
  const std::vector<double> means = spread_of(x).means;
  double square = 0.0;
  for (const double mean : means) square += mean * mean;
  if (square == 0.0) return;
  for (size_t k = 0; k < kernel; ++k) {
    double product = 0.0;
    for (size_t c = 0; c < x.width; ++c) product += means[c] * weight[c * kernel + k];
    for (size_t c = 0; c < x.width; ++c) {
      weight[c * kernel + k] -= static_cast<float>(product / square * means[c]);
    }
  }
}

}  // namespace

Builder::Builder(const Config& config, uint64_t seed, int threads) : config_(config), seed_(seed), threads_(threads) {
  for (const TensorSpec& spec : expected_tensors(config)) {
    tensors_[spec.name] = {spec.shape, std::vector<float>(static_cast<size_t>(spec.elements()))};
  }
}

std::vector<float>& Builder::tensor(const std::string& name) { return tensors_.at(name).data; }

void Builder::draw_normal(const std::string& name, double mean, double deviation) {
  const RandomNumbers numbers(seed_, name);
  std::vector<float>& data = tensor(name);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<float>(mean + deviation * numbers.normal(i));
}

void Builder::draw_uniform(const std::string& name, double low, double high) {
  const RandomNumbers numbers(seed_, name);
  std::vector<float>& data = tensor(name);
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<float>(low + (high - low) * numbers.uniform(i));
}

/// Scales a layer and its output `y`, which has no bias yet, to a deviation, and gives it a bias if it has one.
void Builder::settle(const std::string& weight, const std::string& bias, Signal& y, double deviation) {
  const Spread spread = spread_of(y);
  const auto scale = static_cast<float>(spread.deviation > 0.0 ? deviation / spread.deviation : 1.0);
  for (float& value : tensor(weight)) value *= scale;
  for (float& value : y.data) value *= scale;
  if (bias.empty()) return;
  draw_normal(bias, 0.0, (y.width > 1 ? kBias : kAudioBias) * deviation);
  std::vector<float>& biases = tensor(bias);
  for (size_t c = 0; c < y.width; ++c) biases[c] -= static_cast<float>(kCentering * spread.means[c] * scale);
  for (size_t step = 0; step < y.steps; ++step) {
    for (size_t c = 0; c < y.width; ++c) y.row(step)[c] += biases[c];
  }
}

Signal Builder::convolution(const std::string& module, const Signal& x, size_t kernel, size_t stride, size_t dilation,
                            double deviation) {
  const std::string weight = module + ".conv.conv.weight";
  const std::vector<int64_t>& shape = tensors_.at(weight).shape;
  draw_normal(weight, 0.0, 1.0 / std::sqrt(fan_in(shape)));
  if (shape[0] == 1 && x.width > 1) ignore_mean(tensor(weight), x, kernel);
  Signal y =
      convolve(x, tensor(weight), static_cast<size_t>(shape[0]), kernel, stride, dilation, Padding::kZeros, threads_);
  settle(weight, module + ".conv.conv.bias", y, deviation);
  return y;
}

Signal Builder::transposed_convolution(const std::string& module, const Signal& x, size_t stride) {
  const std::string weight = module + ".convtr.convtr.weight";
  draw_normal(weight, 0.0, 1.0 / std::sqrt(2.0 * static_cast<double>(x.width)));
  Signal y =
      convolve_transposed(x, tensor(weight), static_cast<size_t>(tensors_.at(weight).shape[1]), stride, threads_);
  settle(weight, module + ".convtr.convtr.bias", y, 1.0);
  return y;
}

Signal Builder::projection(const std::string& weight, const Signal& x, double deviation) {
  const std::vector<int64_t>& shape = tensors_.at(weight).shape;
  draw_normal(weight, 0.0, 1.0 / std::sqrt(fan_in(shape)));
  Signal y = linear(x, tensor(weight), static_cast<size_t>(shape[0]), threads_);
  settle(weight, "", y, deviation);
  return y;
}

Signal Builder::resample_down(const Signal& x) {
  const auto stride = static_cast<size_t>(config_.steps_per_frame());
  if (stride == 1) return x;
  const std::string weight = "downsample.conv.conv.conv.weight";
  draw_normal(weight, 0.0, 1.0 / std::sqrt(fan_in(tensors_.at(weight).shape)));
  Signal y = convolve(x, tensor(weight), x.width, 2 * stride, stride, 1, Padding::kReplicate, threads_);
  settle(weight, "", y, 1.0);
  return y;
}

Signal Builder::resample_up(const Signal& x) {
  const auto stride = static_cast<size_t>(config_.steps_per_frame());
  if (stride == 1) return x;
  const std::string weight = "upsample.convtr.convtr.convtr.weight";
  draw_normal(weight, 0.5, 0.3);
  Signal y = upsample(x, tensor(weight), stride);
  settle(weight, "", y, 1.0);
  return y;
}

Signal Builder::residual_blocks(const std::string& model, int& index, Signal x) {
  const SeanetConfig& c = config_.seanet;
  size_t dilation = 1;
  for (int layer = 0; layer < c.n_residual_layers; ++layer) {
    const std::string block = model + std::to_string(index++);
    Signal branch = x;
    elu(branch);
    branch = convolution(block + ".block.1", branch, static_cast<size_t>(c.residual_kernel_size), 1, dilation, 1.0);
    elu(branch);
    branch = convolution(block + ".block.3", branch, 1, 1, 1, 1.0);
    if (!c.true_skip) x = convolution(block + ".shortcut", x, 1, 1, 1, 1.0);
    add(x, branch);
    dilation *= static_cast<size_t>(c.dilation_base);
  }
  return x;
}

Signal Builder::encode(Signal x) {
  const SeanetConfig& c = config_.seanet;
  const std::string model = "encoder.model.";
  int index = 0;
  x = convolution(model + std::to_string(index++), x, static_cast<size_t>(c.kernel_size), 1, 1, 1.0);
  for (auto ratio = c.ratios.rbegin(); ratio != c.ratios.rend(); ++ratio) {
    x = residual_blocks(model, index, std::move(x));
    elu(x);
    ++index;
    const auto stride = static_cast<size_t>(*ratio);
    x = convolution(model + std::to_string(index++), x, 2 * stride, stride, 1, 1.0);
  }
  elu(x);
  ++index;
  return convolution(model + std::to_string(index), x, static_cast<size_t>(c.last_kernel_size), 1, 1, 1.0);
}

Signal Builder::decode(Signal x) {
  const SeanetConfig& c = config_.seanet;
  const std::string model = "decoder.model.";
  int index = 0;
  x = convolution(model + std::to_string(index++), x, static_cast<size_t>(c.kernel_size), 1, 1, 1.0);
  for (const int ratio : c.ratios) {
    elu(x);
    ++index;
    x = transposed_convolution(model + std::to_string(index++), x, static_cast<size_t>(ratio));
    x = residual_blocks(model, index, std::move(x));
  }
  elu(x);
  ++index;
  return convolution(model + std::to_string(index), x, static_cast<size_t>(c.last_kernel_size), 1, 1, kAudio);
}

void Builder::transform_layer(const std::string& layer, Signal& x) {
  const TransformerConfig& c = config_.transformer;
  const auto width = static_cast<size_t>(c.d_model);
  const double unit = 1.0 / std::sqrt(static_cast<double>(width));
  const double scale = c.layer_scale ? 1.0 : kNoLayerScale;
  for (const char* norm : {"norm1", "norm2"}) {
    draw_normal(layer + norm + ".weight", 1.0, 0.1);
    draw_normal(layer + norm + ".bias", 0.0, 0.1);
  }
  draw_normal(layer + "self_attn.in_projs.0.weight", 0.0, unit);
  draw_normal(layer + "self_attn.out_projs.0.weight", 0.0, scale * unit);
  draw_normal(layer + "linear1.weight", 0.0, unit);
  draw_normal(layer + "linear2.weight", 0.0, 1.5 * scale / std::sqrt(static_cast<double>(c.dim_feedforward)));
  static const std::vector<float> kOne;
  std::vector<float>* scales[2] = {nullptr, nullptr};
  for (int i = 0; i < 2 && c.layer_scale; ++i) {
    const std::string name = layer + "layer_scale_" + std::to_string(i + 1) + ".scale";
    draw_uniform(name, 0.05, 0.3);
    scales[i] = &tensor(name);
  }

  AttentionShape shape;
  shape.heads = static_cast<size_t>(c.num_heads);
  shape.context = static_cast<size_t>(c.context);
  shape.max_period = c.max_period;
  if (uses_rope(c.positional)) {
    shape.rotation = c.positional == Positional::kRopeConcat ? AttentionShape::kHalves : AttentionShape::kInterleaved;
  }
  Signal y = layer_norm(x, tensor(layer + "norm1.weight"), tensor(layer + "norm1.bias"));
  y = attend(linear(y, tensor(layer + "self_attn.in_projs.0.weight"), 3 * width, threads_), shape);
  add(x, linear(y, tensor(layer + "self_attn.out_projs.0.weight"), width, threads_), scales[0] ? *scales[0] : kOne);
  y = layer_norm(x, tensor(layer + "norm2.weight"), tensor(layer + "norm2.bias"));
  y = linear(y, tensor(layer + "linear1.weight"), static_cast<size_t>(c.dim_feedforward), threads_);
  gelu(y);
  add(x, linear(y, tensor(layer + "linear2.weight"), width, threads_), scales[1] ? *scales[1] : kOne);
}

Signal Builder::transform(const std::string& module, Signal x) {
  const TransformerConfig& c = config_.transformer;
  if (c.d_model != c.input_dimension) x = projection(module + ".input_proj.weight", x, 1.0);
  if (adds_sine(c.positional)) add_sine_positions(x, c.max_period);
  for (int i = 0; i < c.num_layers; ++i) {
    transform_layer(module + ".transformer.layers." + std::to_string(i) + ".", x);
  }
  if (c.d_model != c.output_dimension) x = projection(module + ".output_projs.0.weight", x, 1.0);
  return x;
}

Signal Builder::quantize_branch(const std::string& module, const Signal& latent, int levels) {
  const Signal input = projection(module + ".input_proj.weight", latent, 1.0);
  Signal residual = input;
  for (int level = 0; level < levels; ++level) {
    const std::string name = module + ".vq.layers." + std::to_string(level) + "._codebook.";
    Codebook book = draw_codebook(seed_, name, config_.quantizer.bins, residual, threads_);
    tensor(name + "_initialized") = {1.0f};
    tensor(name + "cluster_usage") = std::move(book.usage);
    tensor(name + "embedding_sum") = std::move(book.sum);
  }
  Signal quantized = input;
  for (size_t i = 0; i < quantized.data.size(); ++i) quantized.data[i] -= residual.data[i];
  return projection(module + ".output_proj.weight", quantized, kBranch);
}

Signal Builder::quantize(const Signal& latent) {
  Signal sum = quantize_branch("quantizer.rvq_first", latent, 1);
  add(sum, quantize_branch("quantizer.rvq_rest", latent, config_.quantizer.n_q - 1));
  return sum;
}

void Builder::build(const Signal& speech) {
  Signal latent = resample_down(transform("encoder_transformer", encode(speech)));
  latent = quantize(latent);
  decode(transform("decoder_transformer", resample_up(latent)));
}

}  // namespace moshi::mimi::random

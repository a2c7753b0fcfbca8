// SPDX-License-Identifier: MIT
#include "nn/transformer.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "common/error.h"

namespace moshi::nn {
namespace {

constexpr float kNormEps = 1e-5f;
constexpr int kMaxHeadDim = 512;

kernels::PackedMatrix read_linear(const checkpoint::TensorSource& source, const std::string& name, int in, int out,
                                  kernels::Arena& arena) {
  const std::vector<float> weight = source.read(name);
  return kernels::pack(arena, in, out, [&](int k, int n) { return weight[static_cast<size_t>(n) * in + k]; });
}

const float* read_vector(const checkpoint::TensorSource& source, const std::string& name, kernels::Arena& arena) {
  const std::vector<float> values = source.read(name);
  return kernels::pack_vector(arena, static_cast<int>(values.size()), [&](int i) { return values[i]; });
}

}  // namespace

Transformer::Transformer(const TransformerConfig& config, const checkpoint::TensorSource& source,
                         const std::string& name, int steps_per_frame, kernels::Arena& arena, StateLayout& layout)
    : input(config.input_dimension, 0, steps_per_frame, layout, {}),
      width_(config.d_model),
      heads_(config.num_heads),
      steps_per_frame_(steps_per_frame),
      feed_forward_(config.dim_feedforward),
      positional_(config.positional),
      max_period_(config.max_period),
      rope_(config.d_model / config.num_heads, config.max_period, config.positional != Positional::kRopeConcat),
      ring_(config.context, config.d_model / config.num_heads) {
  if (ring_.width() > kMaxHeadDim) {
    throw Error(MOSHI_ERR_NOT_SUPPORTED, "attention heads of " + std::to_string(ring_.head_dim()) +
                                             " dimensions; the packed kernels take at most " +
                                             std::to_string(kMaxHeadDim));
  }
  if (config.input_dimension != width_) {
    input_projection_ = read_linear(source, name + ".input_proj.weight", config.input_dimension, width_, arena);
  }
  for (int i = 0; i < config.num_layers; ++i) {
    load_layer(config, source, name + ".transformer.layers." + std::to_string(i), arena, layout);
  }
  if (config.output_dimension != width_) {
    output_projection_ = read_linear(source, name + ".output_projs.0.weight", width_, config.output_dimension, arena);
  }
}

void Transformer::load_layer(const TransformerConfig& config, const checkpoint::TensorSource& source,
                             const std::string& name, kernels::Arena& arena, StateLayout& layout) {
  Layer layer;
  layer.norm1_weight = read_vector(source, name + ".norm1.weight", arena);
  layer.norm1_bias = read_vector(source, name + ".norm1.bias", arena);
  layer.qkv = read_linear(source, name + ".self_attn.in_projs.0.weight", width_, 3 * width_, arena);
  layer.out = read_linear(source, name + ".self_attn.out_projs.0.weight", width_, width_, arena);
  layer.norm2_weight = read_vector(source, name + ".norm2.weight", arena);
  layer.norm2_bias = read_vector(source, name + ".norm2.bias", arena);
  layer.up = read_linear(source, name + ".linear1.weight", width_, feed_forward_, arena);
  layer.down = read_linear(source, name + ".linear2.weight", feed_forward_, width_, arena);
  if (config.layer_scale) {
    layer.scale1 = read_vector(source, name + ".layer_scale_1.scale", arena);
    layer.scale2 = read_vector(source, name + ".layer_scale_2.scale", arena);
  }
  layer.rings = layout.take(ring_.floats() * heads_);
  layers_.push_back(layer);
}

void Transformer::begin(std::span<const Part> parts) {
  input.begin(parts);
  rows_ = input.total_rows();
  const auto rows = static_cast<size_t>(rows_);
  grow(x_, rows * width_);
  grow(normed_, rows * width_);
  grow(qkv_, rows * 3 * width_);
  grow(attended_, rows * width_);
  grow(hidden_, rows * feed_forward_);
  grow(cos_sin_, rows * 2 * rope_.half());
  grow(scores_, parts.size() * heads_ * 2 * kernels::round_up(ring_.capacity(), kernels::kLanes));
}

void Transformer::product(Context& context, const float* in, int in_width, kernels::GemmCall call, float* out,
                          float* residual) {
  RowLists& lists = context.rows;
  lists.a.clear();
  lists.out.clear();
  for (int row = 0; row < rows_; ++row) {
    lists.a.push_back(in + static_cast<size_t>(row) * in_width);
    lists.out.push_back(out + static_cast<size_t>(row) * call.b.n);
  }
  lists.residual.assign(lists.out.begin(), lists.out.end());
  call.rows = rows_;
  call.a = lists.a.data();
  call.out = lists.out.data();
  call.residual = residual ? lists.residual.data() : nullptr;
  kernels::run_gemm(context.pool, context.kernels, call);
}

void Transformer::norm_rows(Context& context, const float* weight, const float* bias) {
  for (int row = 0; row < rows_; ++row) {
    const size_t at = static_cast<size_t>(row) * width_;
    context.kernels.layer_norm(&x_[at], weight, bias, &normed_[at], width_, kNormEps);
  }
}

void Transformer::embed_positions(std::span<const Part> parts) {
  int row = 0;
  for (const Part& part : parts) {
    for (int step = 0; step < part.frames * steps_per_frame_; ++step, ++row) {
      if (adds_sine(positional_)) {
        add_sin_embedding(part.position + step, max_period_, width_, &x_[static_cast<size_t>(row) * width_]);
      }
      if (uses_rope(positional_)) {
        rope_.angles(part.position + step, &cos_sin_[static_cast<size_t>(row) * 2 * rope_.half()]);
      }
    }
  }
}

void Transformer::attend_head(const Context& context, const Part& part, int first_row, const Layer& layer, int head,
                              float* scores) {
  const int head_dim = ring_.head_dim();
  const bool rotate = uses_rope(positional_);
  float* ring = part.state + layer.rings + head * ring_.floats();
  // Padded copies, as kernels read whole vectors.
  alignas(64) float query[kMaxHeadDim] = {};
  alignas(64) float result[kMaxHeadDim];
  for (int frame = 0; frame < part.frames; ++frame) {
    const int row0 = first_row + frame * steps_per_frame_;
    const int64_t position0 = part.position + static_cast<int64_t>(frame) * steps_per_frame_;
    for (int step = 0; step < steps_per_frame_; ++step) {
      float* q = &qkv_[static_cast<size_t>(row0 + step) * 3 * width_ + head * head_dim];
      if (rotate) {
        const float* cos_sin = &cos_sin_[static_cast<size_t>(row0 + step) * 2 * rope_.half()];
        rope_.rotate(cos_sin, q);
        rope_.rotate(cos_sin, q + width_);
      }
      ring_.write(ring, position0 + step, q + width_, q + 2 * width_);
    }
    const int64_t last = position0 + steps_per_frame_ - 1;
    const int64_t oldest = std::max<int64_t>(0, last - ring_.capacity() + 1);
    for (int step = 0; step < steps_per_frame_; ++step) {
      const size_t row = static_cast<size_t>(row0 + step);
      std::copy_n(&qkv_[row * 3 * width_ + head * head_dim], head_dim, query);
      kernels::AttendCall call;
      call.keys = ring;
      call.values = ring_.values(ring);
      call.query = query;
      call.out = result;
      call.scores = scores;
      call.head_dim = ring_.width();
      call.capacity = ring_.capacity();
      call.first_slot = static_cast<int>(oldest % ring_.capacity());
      call.count = static_cast<int>(position0 + step - oldest + 1);
      call.scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
      context.kernels.attend(call);
      std::copy_n(result, head_dim, &attended_[row * width_ + head * head_dim]);
    }
  }
}

void Transformer::attend(Context& context, std::span<const Part> parts, const Layer& layer) {
  const size_t scores = 2 * kernels::round_up(ring_.capacity(), kernels::kLanes);
  context.pool.run(static_cast<int>(parts.size()) * heads_, [&](int task) {
    const int item = task / heads_;
    const auto first_row =
        static_cast<int>((input.row(item, 0) - input.row(0, 0)) / static_cast<ptrdiff_t>(input.channels()));
    attend_head(context, parts[item], first_row, layer, task % heads_, &scores_[task * scores]);
  });
}

void Transformer::run_layer(Context& context, std::span<const Part> parts, const Layer& layer) {
  norm_rows(context, layer.norm1_weight, layer.norm1_bias);
  product(context, normed_.data(), width_, {.b = layer.qkv}, qkv_.data(), nullptr);
  attend(context, parts, layer);
  product(context, attended_.data(), width_, {.b = layer.out, .scale = layer.scale1}, x_.data(), x_.data());
  norm_rows(context, layer.norm2_weight, layer.norm2_bias);
  product(context, normed_.data(), width_, {.b = layer.up, .activation = kernels::Activation::kGelu}, hidden_.data(),
          nullptr);
  product(context, hidden_.data(), feed_forward_, {.b = layer.down, .scale = layer.scale2}, x_.data(), x_.data());
}

void Transformer::compute(Context& context, std::span<const Part> parts, StreamBuffer& out) {
  if (input_projection_.data) {
    product(context, input.data(), input.channels(), {.b = input_projection_}, x_.data(), nullptr);
  } else {
    std::memcpy(x_.data(), input.data(), sizeof(float) * rows_ * width_);
  }
  embed_positions(parts);
  for (const Layer& layer : layers_) run_layer(context, parts, layer);
  RowLists& lists = context.rows;
  lists.a.clear();
  lists.out.clear();
  int row = 0;
  for (int item = 0; item < out.items(); ++item) {
    for (int step = 0; step < out.rows(item); ++step, ++row) {
      lists.a.push_back(&x_[static_cast<size_t>(row) * width_]);
      lists.out.push_back(out.row(item, step));
    }
  }
  if (output_projection_.data) {
    kernels::run_gemm(context.pool, context.kernels,
                      {.rows = rows_, .a = lists.a.data(), .b = output_projection_, .out = lists.out.data()});
  } else {
    for (int i = 0; i < rows_; ++i) std::copy_n(lists.a[i], width_, lists.out[i]);
  }
}

}  // namespace moshi::nn

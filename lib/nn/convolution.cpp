// SPDX-License-Identifier: MIT
#include "nn/convolution.h"

#include <cstring>

namespace moshi::nn {

using kernels::pack;
using kernels::pack_vector;

void StreamingProduct::list_inputs(Context& context) {
  auto& a = context.rows.a;
  a.clear();
  for (int item = 0; item < input.items(); ++item) {
    for (int row = 0; row < input.rows(item); row += stride_) a.push_back(input.row(item, row - input.history()));
  }
  if (dilation_ > 1 && taps_ > 1) gather_windows(context);
}

void StreamingProduct::gather_windows(Context& context) {
  auto& a = context.rows.a;
  const auto channels = static_cast<size_t>(input.channels());
  const size_t width = taps_ * channels;
  grow(windows_, a.size() * width);
  for (size_t i = 0; i < a.size(); ++i) {
    for (int tap = 0; tap < taps_; ++tap) {
      std::memcpy(&windows_[i * width + tap * channels], a[i] + tap * dilation_ * channels, channels * sizeof(float));
    }
    a[i] = &windows_[i * width];
  }
}

void StreamingProduct::list_outputs(Context& context, const Sink& sink) const {
  RowLists& lists = context.rows;
  lists.out.clear();
  lists.out_elu.clear();
  lists.residual.clear();
  for (int item = 0; item < input.items(); ++item) {
    for (int t = 0; t < input.rows(item) / stride_; ++t) {
      const int row = sink.row + t * outputs_per_row_;
      if (sink.raw) lists.out.push_back(sink.raw->row(sink.item + item, row));
      if (sink.elu) lists.out_elu.push_back(sink.elu->row(sink.item + item, row));
      if (sink.residual) lists.residual.push_back(sink.residual->row(item, t));
    }
  }
}

void StreamingProduct::compute(Context& context, const Sink& sink) {
  list_inputs(context);
  list_outputs(context, sink);
  kernels::GemmCall call;
  call.rows = static_cast<int>(context.rows.a.size());
  call.a = context.rows.a.data();
  call.b = weight_;
  call.bias = bias_;
  if (sink.residual) call.residual = context.rows.residual.data();
  if (sink.raw) call.out = context.rows.out.data();
  if (sink.elu) call.out_elu = context.rows.out_elu.data();
  kernels::run_gemm(context.pool, context.kernels, call);
}

Convolution::Convolution(const ConvolutionShape& shape, const checkpoint::TensorSource& source,
                         int input_rows_per_frame, kernels::Arena& arena, StateLayout& layout) {
  taps_ = shape.kernel;
  dilation_ = shape.dilation;
  stride_ = shape.stride;
  const int history = (shape.kernel - 1) * shape.dilation + 1 - shape.stride;
  input = StreamBuffer(shape.in, history, input_rows_per_frame, layout, shape.name);
  const std::vector<float> weight = source.read(shape.name + ".weight");
  weight_ = pack(arena, shape.kernel * shape.in, shape.out, [&](int k, int n) {
    const int tap = k / shape.in;
    const int channel = k % shape.in;
    return weight[(static_cast<size_t>(n) * shape.in + channel) * shape.kernel + tap];
  });
  if (shape.bias) {
    const std::vector<float> bias = source.read(shape.name + ".bias");
    bias_ = pack_vector(arena, shape.out, [&](int n) { return bias[n]; });
  }
}

TransposedConvolution::TransposedConvolution(const ConvolutionShape& shape, const checkpoint::TensorSource& source,
                                             int input_rows_per_frame, kernels::Arena& arena, StateLayout& layout) {
  const int in = shape.in;
  const int out = shape.out;
  const int stride = shape.stride;
  taps_ = 2;
  outputs_per_row_ = stride;
  input = StreamBuffer(in, 1, input_rows_per_frame, layout, shape.name);
  const std::vector<float> weight = source.read(shape.name + ".weight");
  const std::vector<float> bias = source.read(shape.name + ".bias");
  weight_ = pack(arena, 2 * in, stride * out, [&](int k, int n) {
    // Rows 0 to in - 1 meet x[t - 1], whose part of output step j is tap j + stride; the others meet x[t] with tap j.
    const int channel = k % in;
    const int tap = n / out + (k < in ? stride : 0);
    return weight[(static_cast<size_t>(channel) * out + n % out) * (2 * stride) + tap];
  });
  bias_ = pack_vector(arena, stride * out, [&](int n) { return bias[n % out]; });
}

ResidualBlock::ResidualBlock(const ConvolutionShape& first, const ConvolutionShape& second,
                             const ConvolutionShape* shortcut, const checkpoint::TensorSource& source,
                             int rows_per_frame, kernels::Arena& arena, StateLayout& layout)
    : x(first.in, 0, rows_per_frame, layout, {}),
      first_(first, source, rows_per_frame, arena, layout),
      second_(second, source, rows_per_frame, arena, layout) {
  if (!shortcut) return;
  shortcut_.emplace(*shortcut, source, rows_per_frame, arena, layout);
  skipped_ = StreamBuffer(shortcut->out, 0, rows_per_frame, layout, {});
}

void ResidualBlock::begin(std::span<const Part> parts) {
  if (shortcut_) {
    shortcut_->input.begin(parts);
    skipped_.begin(parts);
  }
  x.begin(parts);
  first_.input.begin(parts);
  second_.input.begin(parts);
}

void ResidualBlock::compute(Context& context, Sink sink) {
  first_.compute(context, {.elu = &second_.input});
  sink.residual = &x;
  if (shortcut_) {
    std::memcpy(shortcut_->input.data(), x.data(), sizeof(float) * x.total_rows() * x.channels());
    shortcut_->compute(context, {.raw = &skipped_});
    sink.residual = &skipped_;
  }
  second_.compute(context, sink);
}

void ResidualBlock::commit(std::span<const Part> parts) const {
  first_.input.commit(parts);
  second_.input.commit(parts);
}

}  // namespace moshi::nn

// SPDX-License-Identifier: MIT
// Streaming convolutions as matrix products. A window of the time-major input is one contiguous row of kernel * Cin
// values, so that a convolution of stride s reads rows s * Cin apart. A transposed convolution with kernel 2 * stride
// needs no overlap-add: output step t * s + j depends on x[t - 1] and x[t] alone, one row of 2 * Cin values in, stride
// * Cout values out, which already are `stride` time steps.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "checkpoint/tensor_source.h"
#include "nn/context.h"
#include "nn/stream_buffer.h"

namespace moshi::nn {

/// Where output rows go, raw and after ELU: the layer's item i to item `item` + i, from row `row` on.
struct Sink {
  StreamBuffer* raw = nullptr;
  StreamBuffer* elu = nullptr;
  StreamBuffer* residual = nullptr;  ///< added before; rows as the input's (layers of stride 1 only)
  int item = 0;
  int row = 0;
};

/// A layer's input buffer and its product. begin() and commit() of the input frame every call.
class StreamingProduct {
 public:
  StreamBuffer input;

  /// Covers all rows of all items of `input`.
  void compute(Context& context, const Sink& sink);

 protected:
  kernels::PackedMatrix weight_;
  const float* bias_ = nullptr;
  int taps_ = 1;
  int dilation_ = 1;
  int stride_ = 1;
  int outputs_per_row_ = 1;

 private:
  void list_inputs(Context& context);
  void gather_windows(Context& context);
  void list_outputs(Context& context, const Sink& sink) const;

  std::vector<float> windows_;  ///< only where dilation breaks contiguity
};

struct ConvolutionShape {
  std::string name;  ///< of its tensors: `name`.weight and `name`.bias
  int in = 0;
  int out = 0;
  int kernel = 1;
  int stride = 1;
  int dilation = 1;
  bool bias = true;
};

/// A causal convolution: history of (kernel - 1) * dilation + 1 - stride rows, zeros at first.
/// Weight [out, in, kernel], bias [out].
class Convolution : public StreamingProduct {
 public:
  Convolution(const ConvolutionShape& shape, const checkpoint::TensorSource& source, int input_rows_per_frame,
              kernels::Arena& arena, StateLayout& layout);
};

/// A causal transposed convolution with kernel 2 * stride, trimmed on the right: `stride` output steps for each input.
/// Weight [in, out, kernel], bias [out].
class TransposedConvolution : public StreamingProduct {
 public:
  TransposedConvolution(const ConvolutionShape& shape, const checkpoint::TensorSource& source, int input_rows_per_frame,
                        kernels::Arena& arena, StateLayout& layout);
};

/// y = x + block(x) (or shortcut(x) + block(x)), block = ELU, convolution, ELU, convolution.
class ResidualBlock {
 public:
  /// `shortcut` is null where the shortcut is the identity.
  ResidualBlock(const ConvolutionShape& first, const ConvolutionShape& second, const ConvolutionShape* shortcut,
                const checkpoint::TensorSource& source, int rows_per_frame, kernels::Arena& arena, StateLayout& layout);

  /// Where the layer before writes: its raw output to `x`, its ELU to `activated()`.
  StreamBuffer x;
  StreamBuffer& activated() { return first_.input; }

  void begin(std::span<const Part> parts);
  void compute(Context& context, Sink sink);
  void commit(std::span<const Part> parts) const;

 private:
  Convolution first_;
  Convolution second_;
  std::optional<Convolution> shortcut_;
  StreamBuffer skipped_;
};

}  // namespace moshi::nn

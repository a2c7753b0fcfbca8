// SPDX-License-Identifier: MIT
#include "mimi/random/network.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "mimi/random/functions.h"
#include "mimi/random/product.h"

namespace moshi::mimi::random {
namespace {

/// `x` with `history` steps in front of it.
Signal with_history(const Signal& x, size_t history, Padding padding) {
  Signal padded(x.steps + history, x.width);
  std::memcpy(padded.row(history), x.data.data(), x.data.size() * sizeof(float));
  if (padding == Padding::kReplicate) {
    for (size_t step = 0; step < history; ++step) std::memcpy(padded.row(step), x.row(0), x.width * sizeof(float));
  }
  return padded;
}

void rotate(float* head, size_t width, const std::vector<double>& frequencies, size_t position, bool halves) {
  const size_t pairs = width / 2;
  for (size_t i = 0; i < pairs; ++i) {
    float& real = halves ? head[i] : head[2 * i];
    float& imaginary = halves ? head[i + pairs] : head[2 * i + 1];
    const double angle = static_cast<double>(position) * frequencies[i];
    const double c = cosine(angle);
    const double s = sine(angle);
    const double r = real;
    const double m = imaginary;
    real = static_cast<float>(r * c - m * s);
    imaginary = static_cast<float>(r * s + m * c);
  }
}

void attend_head(const Signal& x, size_t head, size_t width, size_t context, Signal& out) {
  const size_t model = x.width / 3;
  const double scale = 1.0 / std::sqrt(static_cast<double>(width));
  std::vector<double> weights(x.steps);
  std::vector<double> sum(width);
  for (size_t q = 0; q < x.steps; ++q) {
    const size_t first = q + 1 > context ? q + 1 - context : 0;
    const float* query = x.row(q) + head * width;
    double highest = -1e300;
    for (size_t k = first; k <= q; ++k) {
      const float* key = x.row(k) + model + head * width;
      double score = 0.0;
      for (size_t i = 0; i < width; ++i) score += static_cast<double>(query[i]) * key[i];
      weights[k] = score * scale;
      highest = std::max(highest, weights[k]);
    }
    double total = 0.0;
    std::fill(sum.begin(), sum.end(), 0.0);
    for (size_t k = first; k <= q; ++k) {
      const float* value = x.row(k) + 2 * model + head * width;
      const double weight = exponential(weights[k] - highest);
      total += weight;
      for (size_t i = 0; i < width; ++i) sum[i] += weight * value[i];
    }
    for (size_t i = 0; i < width; ++i) out.row(q)[head * width + i] = static_cast<float>(sum[i] / total);
  }
}

}  // namespace

Signal convolve(const Signal& x, const std::vector<float>& weight, size_t out, size_t kernel, size_t stride,
                size_t dilation, Padding padding, int threads) {
  Panels panels(kernel * x.width, out);
  for (size_t o = 0; o < out; ++o) {
    for (size_t c = 0; c < x.width; ++c) {
      for (size_t k = 0; k < kernel; ++k) panels.at(k * x.width + c, o) = weight[(o * x.width + c) * kernel + k];
    }
  }
  const Signal padded = with_history(x, (kernel - 1) * dilation + 1 - stride, padding);
  Signal y(x.steps / stride, out);
  multiply({padded.data.data(), y.steps, stride * x.width, kernel, dilation * x.width, x.width}, panels, y.data.data(),
           threads);
  return y;
}

// The output at step t * stride + j is x[t - 1] times tap stride + j plus x[t] times tap j.
Signal convolve_transposed(const Signal& x, const std::vector<float>& weight, size_t out, size_t stride, int threads) {
  Panels panels(2 * x.width, stride * out);
  for (size_t c = 0; c < x.width; ++c) {
    for (size_t o = 0; o < out; ++o) {
      const float* taps = weight.data() + (c * out + o) * 2 * stride;
      for (size_t j = 0; j < stride; ++j) {
        panels.at(c, j * out + o) = taps[stride + j];
        panels.at(x.width + c, j * out + o) = taps[j];
      }
    }
  }
  const Signal padded = with_history(x, 1, Padding::kZeros);
  Signal y(x.steps * stride, out);
  multiply({padded.data.data(), x.steps, x.width, 2, x.width, x.width}, panels, y.data.data(), threads);
  return y;
}

Signal upsample(const Signal& x, const std::vector<float>& weight, size_t stride) {
  Signal y(x.steps * stride, x.width);
  for (size_t step = 0; step < x.steps; ++step) {
    for (size_t j = 0; j < stride; ++j) {
      for (size_t c = 0; c < x.width; ++c) {
        const float* taps = weight.data() + c * 2 * stride;
        const float before = step > 0 ? x.row(step - 1)[c] * taps[stride + j] : 0.0f;
        y.row(step * stride + j)[c] = before + x.row(step)[c] * taps[j];
      }
    }
  }
  return y;
}

Signal linear(const Signal& x, const std::vector<float>& weight, size_t out, int threads) {
  return convolve(x, weight, out, 1, 1, 1, Padding::kZeros, threads);
}

void elu(Signal& x) {
  for (float& value : x.data) {
    if (value < 0.0f) value = static_cast<float>(exponential(value) - 1.0);
  }
}

void gelu(Signal& x) {
  constexpr double kHalfRoot = 0.70710678118654752440;
  for (float& value : x.data) {
    const double v = value;
    value = static_cast<float>(0.5 * v * (1.0 + error_function(v * kHalfRoot)));
  }
}

Signal layer_norm(const Signal& x, const std::vector<float>& weight, const std::vector<float>& bias) {
  Signal y(x.steps, x.width);
  for (size_t step = 0; step < x.steps; ++step) {
    const float* in = x.row(step);
    double mean = 0.0;
    for (size_t c = 0; c < x.width; ++c) mean += in[c];
    mean /= static_cast<double>(x.width);
    double variance = 0.0;
    for (size_t c = 0; c < x.width; ++c) variance += (in[c] - mean) * (in[c] - mean);
    const double scale = 1.0 / std::sqrt(variance / static_cast<double>(x.width) + 1e-5);
    for (size_t c = 0; c < x.width; ++c) {
      y.row(step)[c] = static_cast<float>((in[c] - mean) * scale) * weight[c] + bias[c];
    }
  }
  return y;
}

void add(Signal& x, const Signal& update, const std::vector<float>& scale) {
  for (size_t step = 0; step < x.steps; ++step) {
    for (size_t c = 0; c < x.width; ++c) x.row(step)[c] += (scale.empty() ? 1.0f : scale[c]) * update.row(step)[c];
  }
}

Signal attend(const Signal& projected, const AttentionShape& shape) {
  const size_t model = projected.width / 3;
  const size_t width = model / shape.heads;
  Signal x = projected;
  if (shape.rotation != AttentionShape::kNone) {
    std::vector<double> frequencies(width / 2);
    const double rate = -logarithm(shape.max_period) * 2.0 / static_cast<double>(width);
    for (size_t i = 0; i < frequencies.size(); ++i) frequencies[i] = exponential(rate * static_cast<double>(i));
    for (size_t step = 0; step < x.steps; ++step) {
      for (size_t head = 0; head < 2 * shape.heads; ++head) {  // queries, then keys
        rotate(x.row(step) + head * width, width, frequencies, step, shape.rotation == AttentionShape::kHalves);
      }
    }
  }
  Signal out(x.steps, model);
  for (size_t head = 0; head < shape.heads; ++head) attend_head(x, head, width, shape.context, out);
  return out;
}

void add_sine_positions(Signal& x, double max_period) {
  const size_t half = x.width / 2;
  const double rate = -logarithm(max_period) / static_cast<double>(half - 1);
  for (size_t i = 0; i < half; ++i) {
    const double frequency = exponential(rate * static_cast<double>(i));
    for (size_t step = 0; step < x.steps; ++step) {
      const double phase = static_cast<double>(step) * frequency;
      x.row(step)[i] += static_cast<float>(cosine(phase));
      x.row(step)[half + i] += static_cast<float>(sine(phase));
    }
  }
}

}  // namespace moshi::mimi::random

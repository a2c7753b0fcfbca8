// SPDX-License-Identifier: MIT
// Draws a random Mimi's tensors while speech runs through the layers made so far. Internal to the random model.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "mimi/config.h"
#include "mimi/random/network.h"
#include "mimi/weights.h"

namespace moshi::mimi::random {

class Builder {
 public:
  Builder(const Config& config, uint64_t seed, int threads);

  /// Makes all tensors. `speech` has a whole number of frames.
  void build(const Signal& speech);

  std::vector<float>& tensor(const std::string& name);

 private:
  struct Quantized {
    Signal sum;  // of the rows chosen for each frame, over all levels
  };

  // Each returns its output on the signal, after scaling itself by it.
  Signal encode(Signal x);
  Signal decode(Signal x);
  Signal residual_blocks(const std::string& model, int& index, Signal x);
  Signal transform(const std::string& module, Signal x);
  void transform_layer(const std::string& layer, Signal& x);
  Signal quantize(const Signal& latent);
  Signal quantize_branch(const std::string& module, const Signal& latent, int levels);

  Signal convolution(const std::string& module, const Signal& x, size_t kernel, size_t stride, size_t dilation,
                     double deviation);
  Signal transposed_convolution(const std::string& module, const Signal& x, size_t stride);
  Signal projection(const std::string& weight, const Signal& x, double deviation);
  Signal resample_down(const Signal& x);
  Signal resample_up(const Signal& x);

  void draw_normal(const std::string& name, double mean, double deviation);
  void draw_uniform(const std::string& name, double low, double high);
  void settle(const std::string& weight, const std::string& bias, Signal& y, double deviation);

  Config config_;
  uint64_t seed_;
  int threads_;
  struct Named {
    std::vector<int64_t> shape;
    std::vector<float> data;
  };
  std::map<std::string, Named, std::less<>> tensors_;
};

}  // namespace moshi::mimi::random

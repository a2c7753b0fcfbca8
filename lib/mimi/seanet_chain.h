// SPDX-License-Identifier: MIT
// A run of SEANet layers on packed kernels, each writing into the next one's input buffer.
#pragma once

#include <memory>
#include <span>
#include <variant>
#include <vector>

#include "mimi/seanet_layers.h"
#include "mimi/weights.h"
#include "nn/convolution.h"

namespace moshi::mimi {

class SeanetChain {
 public:
  /// `rows_per_frame`: input rows of the first layer for each frame of a part.
  SeanetChain(std::span<const SeanetLayer> layers, int rows_per_frame, const TensorSource& source,
              kernels::Arena& arena, nn::StateLayout& layout);

  void begin(std::span<const nn::Part> parts);
  /// Where the first layer's input goes. It wants it after ELU if its `elu` is set, which then is in `elu`.
  nn::Sink entry();
  void compute(nn::Context& context, const nn::Sink& end);
  void commit(std::span<const nn::Part> parts) const;

 private:
  using Layer = std::variant<nn::Convolution, nn::TransposedConvolution, nn::ResidualBlock>;
  struct Step {
    bool elu;  ///< a convolution's input is activated
    Layer layer;
  };

  static nn::Sink input_of(Step& step);

  std::vector<std::unique_ptr<Step>> steps_;
};

/// Output rows of a layer for `rows` input rows.
int rows_after(const SeanetLayer& layer, int rows);
/// Channels that a layer puts out.
int channels_after(const SeanetLayer& layer);

}  // namespace moshi::mimi

// SPDX-License-Identifier: MIT
// The shape of a Mimi model. Field names and defaults are those of the reference's Mimi configuration, as found in
// the JSON file that a model's `mimi_config_name` points to; no file means the defaults (Kyutai's published Mimi).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "nn/transformer_config.h"

namespace moshi::mimi {

struct SeanetConfig {
  int channels = 1;
  int dimension = 512;
  int n_filters = 64;
  int n_residual_layers = 1;
  std::vector<int> ratios{8, 6, 5, 4};  ///< strides in the decoder's order
  int kernel_size = 7;
  int residual_kernel_size = 3;
  int last_kernel_size = 3;
  int dilation_base = 2;
  int compress = 2;
  bool true_skip = true;

  int hop_length() const;  ///< samples per latent step: the product of the ratios
};

using nn::Positional;
using nn::TransformerConfig;

struct QuantizerConfig {
  int dimension = 256;
  int n_q = 32;  ///< all codebooks, the semantic one included
  int bins = 2048;
  int input_dimension = 512;
  int output_dimension = 512;
};

struct Config {
  int sample_rate = 24000;
  double frame_rate = 12.5;
  SeanetConfig seanet;
  TransformerConfig transformer;
  QuantizerConfig quantizer;

  int frame_samples() const;    ///< samples per frame: sample_rate / frame_rate, rounded down
  int steps_per_frame() const;  ///< latent steps per frame: the stride of the down- and upsampling
};

/// Reads the JSON text of a Mimi configuration. Missing keys keep their defaults; unknown keys are logged.
/// Throws Error: FORMAT for JSON that does not parse or has a wrong type, MISMATCH for values that no model can
/// have (named, with the range), NOT_SUPPORTED for reference options that this core lacks.
Config parse_config(std::string_view json, const std::string& origin);

/// The default configuration after validation.
Config default_config();

/// `config` as JSON in the reference's layout; parse_config() of it gives the same configuration.
std::string to_json(const Config& config);

}  // namespace moshi::mimi

// SPDX-License-Identifier: MIT
// The parts of a language model's configuration that have a file of their own. Internal to parse_config().
#pragma once

#include <string>

#include "checkpoint/config_reader.h"
#include "lm/config.h"

namespace moshi::lm {

// Bounds that no model of this family comes near; they keep every product of two of them far from overflow.
inline constexpr int kMaxWidth = 65536;
inline constexpr int kMaxHidden = 1 << 20;
inline constexpr int kMaxVocabulary = 1 << 22;
inline constexpr int kMaxStreams = 256;
inline constexpr int kMaxLayers = 256;
inline constexpr int kMaxContext = 1 << 20;
inline constexpr int kMaxDelay = 4096;

/// Throws Error(MISMATCH) that begins with the file and the key.
[[noreturn]] void contradiction(const checkpoint::ConfigReader& in, const char* key, const std::string& what);

/// "conditioners" and "fuser".
void read_conditions(checkpoint::ConfigReader& top, Config& config);

/// lm_gen_config, stt_config and tts_config.
GenerationDefaults read_generation(checkpoint::ConfigReader& top);

/// Everything of the depth transformer; without one (dep_q 0), only what shapes depformer_in. `in` is the top level,
/// `hidden_scale` the temporal transformer's, whose options are inherited from config.temporal.
void read_depth(checkpoint::ConfigReader& in, double hidden_scale, Config& config);

/// Options that both transformers have: `prefix` is "" or "depformer_", and `shape` holds what a missing key means.
void read_layers(checkpoint::ConfigReader& in, const std::string& prefix, TransformerShape& shape);

nn::Positional read_positional(checkpoint::ConfigReader& in, const char* key);
Norm parse_norm(checkpoint::ConfigReader& in, const char* key, const std::string& name);

/// The rules on the widths of a transformer. `heads_key` is named in errors.
void check_shape(const checkpoint::ConfigReader& in, const std::string& prefix, const TransformerShape& shape);

/// The width of a feed-forward layer behind the reference's dim_feedforward. `key` is named in errors.
int hidden_width(const checkpoint::ConfigReader& in, const char* key, const TransformerShape& shape, double wanted);

}  // namespace moshi::lm

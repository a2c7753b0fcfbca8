// SPDX-License-Identifier: MIT
// The shape of a language model, as its config.json gives it to the reference's constructors.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "nn/transformer_config.h"

namespace moshi::lm {

enum class Norm { kLayerNorm, kLayerNormF32, kRmsNorm, kRmsNormF32 };
enum class Gating { kNone, kSilu, kGelu, kSigmoid, kTanh, kRelu, kLeakyRelu, kElu, kMish, kSoftsign, kIdentity };

/// One of the two transformers.
struct TransformerShape {
  int dim = 0;
  int heads = 0;
  int layers = 0;
  int kv_repeat = 1;  ///< query heads that share a key-value head
  int context = 0;    ///< steps; of the depth transformer: its number of steps
  float max_period = 10000.0f;
  nn::Positional positional = nn::Positional::kSin;
  Norm norm = Norm::kLayerNorm;
  Gating gating = Gating::kNone;
  bool layer_scale = false;
  bool cross_attention = false;
  /// Of the feed-forward: one value, or one for each distinct weight of the depth transformer. Ungated: the width
  /// itself; gated: that of the gate and of the product, after the reference's rule (21 dim / 8 where the
  /// configuration says 4 dim, else two thirds).
  std::vector<int> hidden;

  int head_dim() const { return dim / heads; }
  int kv_heads() const { return heads / kv_repeat; }
};

struct ConditionerShape {
  bool table = true;                ///< a lookup table of strings, else a tensor
  int dim = 0;                      ///< of the table's rows, or of the tensor's columns
  int bins = 0;                     ///< rows of the table without the one of absence
  std::vector<std::string> values;  ///< that the table knows; empty: by hash
  bool learnt_padding = true;
  bool projected = true;  ///< has an output_proj
};

struct FuserShape {
  std::vector<std::string> sum;    ///< conditions added to every input
  std::vector<std::string> cross;  ///< conditions attended to, in this order
  bool cross_positions = false;
  float cross_position_scale = 1.0f;
};

/// lm_gen_config and its like: what a model wants by default.
struct GenerationDefaults {
  bool sampling = true;
  float temperature = 0.8f;
  float text_temperature = 0.7f;
  int top_k = 250;
  int text_top_k = 25;
  float cfg_coef = 1.0f;
  double audio_delay_seconds = 0.0;
  double audio_silence_prefix_seconds = 0.0;
};

struct Config {
  std::string model_type = "moshi";
  int n_q = 16;   ///< audio streams: own, then the user's
  int dep_q = 8;  ///< own audio streams; 0: text only
  int card = 2048;
  int text_card = 32000;
  int text_card_out = 32000;  ///< text tokens that it can say
  int text_padding = 3;
  int text_end_padding = 0;
  std::vector<int> delays;  ///< 1 + n_q
  bool norm_emb = false;
  bool bias_proj = false;
  bool demux_second_text_stream = false;
  int extra_heads = 0;
  int extra_heads_dim = 6;
  TransformerShape temporal;

  TransformerShape depth;
  bool depth_multi_linear = false;
  /// The weight that each of the dep_q steps uses. All 0 without weights per step.
  std::vector<int> depth_schedule;
  /// The input projection (depformer_in) that each step uses.
  std::vector<int> depth_input_schedule;
  std::optional<int> depth_low_rank;  ///< width of the low-rank embeddings
  std::optional<Norm> depth_norm;     ///< of each step's output, if any

  std::map<std::string, ConditionerShape> conditioners;
  FuserShape fuser;
  bool lora = false;
  int lora_rank = 128;
  float lora_scaling = 2.0f;
  bool quantized = false;  ///< the int8 layout with weight_scb

  GenerationDefaults generation;

  int user_streams() const { return n_q - dep_q; }
  int streams() const { return 1 + n_q; }
  /// The highest text token that it can be given: the initial one, of both streams where two are in one token.
  int32_t highest_text() const;
  int max_delay() const;
  /// Distinct weights of the depth transformer.
  int depth_weights() const;
};

/// Reads the text of a config.json as the reference does; keys that nothing knows are logged and ignored. "{}" is not
/// the published Moshi: see default_config(). Throws Error: FORMAT, MISMATCH or NOT_SUPPORTED, naming `origin` and the
/// key.
Config parse_config(std::string_view text, const std::string& origin);

/// The original Moshi 7B: what a repository without config.json holds.
Config default_config();
std::string_view default_config_text();

}  // namespace moshi::lm

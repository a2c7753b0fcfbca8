// SPDX-License-Identifier: MIT
// What the engine asks of a loaded language model, whichever backend computes it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lm/config.h"

namespace moshi::lm {

/// How a row draws its tokens. Holds from the next step on.
struct Sampling {
  bool sampling = true;  ///< false: the most likely token
  float temperature = 0.8f;
  float text_temperature = 0.7f;
  int top_k = 250;  ///< 0: all
  int text_top_k = 25;
  uint64_t seed = 0;
};

/// Classifier-free guidance: every step also runs without conditions, and logits go from there by `coefficient`.
struct Guidance {
  float coefficient = 1.0f;  ///< 1: none
  bool text = true;          ///< false: text logits are the conditional ones, and the other half sees no text
  int masked_until = -1;     ///< steps in which the other half sees no tokens; -1: it sees all

  bool active() const { return coefficient != 1.0f; }
};

/// One condition of a row; the row copies it.
struct Condition {
  std::string name;
  bool negative = false;          ///< of the unconditional half
  bool absent = false;            ///< neither text nor tensor: the learnt padding
  std::string text;               ///< of a table
  std::vector<float> tensor;      ///< rows * columns
  std::vector<uint8_t> mask;      ///< rows; empty: all valid
  int64_t rows = 0, columns = 0;  ///< 0: it is a table's
};

/// A conversation: tokens of the last frames, key-value rings, position, settings, conditions.
class Row {
 public:
  virtual ~Row() = default;
  /// Back to the first step. Settings and conditions stay; the same seed draws the same again.
  virtual void reset() = 0;
  virtual std::unique_ptr<Row> clone() const = 0;
  virtual int64_t steps() const = 0;  ///< since the last reset

  virtual const Sampling& sampling() const = 0;
  virtual void set_sampling(const Sampling& sampling) = 0;
  virtual const Guidance& guidance() const = 0;
  /// Throws Error(CONFLICT) if that turns guidance on or off after the first step, INVALID_ARGUMENT for what this
  /// model cannot do.
  virtual void set_guidance(const Guidance& guidance) = 0;
  /// Replaces all conditions. Throws Error: CONFLICT after the first step; INVALID_ARGUMENT naming the condition and
  /// what it may be. The next step computes what it needs of them.
  virtual void set_conditions(std::span<const Condition> conditions) = 0;

  /// Position, tokens and rings in an unpacked form that does not depend on the instruction set; settings and
  /// conditions are not part of it.
  virtual size_t saved_bytes() const = 0;
  virtual void save(std::byte* out) const = 0;
  /// Throws Error(FORMAT) if `in` is not a state of this shape.
  virtual void load(std::span<const std::byte> in) = 0;
};

/// One row's part of a call: `frames` steps of one conversation. Rows of one call are distinct.
struct StepItem {
  Row* row = nullptr;
  int frames = 0;
  const int32_t* user = nullptr;          ///< frames * user_streams, each -1 to card; null: all -1
  const int32_t* forced_text = nullptr;   ///< frames, or null; MOSHI_TOKEN_GENERATE generates
  const int32_t* forced_audio = nullptr;  ///< frames * dep_q, or null; likewise
  const float* logit_bias = nullptr;      ///< text_card_out, or null
  bool text_only = false;                 ///< no depth transformer; audio tokens are -1
  int32_t* tokens = nullptr;              ///< frames * (1 + dep_q): undelayed, -2 before the first frame
  int32_t* sampled = nullptr;             ///< optional: the same, of the step itself
  float* text_logits = nullptr;           ///< optional: frames * text_card_out
  float* audio_logits = nullptr;          ///< optional: frames * dep_q * card
  float* extra_heads = nullptr;           ///< optional: frames * extra_heads * extra_heads_dim

  int done = 0;                   ///< result: steps completed
  const char* problem = nullptr;  ///< result: why not all of them ("the text logits are not finite"), or null
};

/// Looks at or changes what a step computes, for all rows of the step at once. `items` are those that take part.
class StepHooks {
 public:
  virtual ~StepHooks() = default;
  /// Row r's text logits begin at logits + r * stride.
  virtual void text_logits(std::span<StepItem* const> items, float* logits, ptrdiff_t stride) = 0;
  virtual void text(std::span<StepItem* const> items, int32_t* tokens) = 0;
  /// Row r's own codes begin at tokens + r * stride.
  virtual void audio(std::span<StepItem* const> items, int32_t* tokens, ptrdiff_t stride) = 0;
};

/// A language model with its weights. The result of an item depends on its row's history alone, bit for bit: not on
/// the other items nor on how steps are grouped. One call at a time; rows may be made, changed and destroyed from other
/// threads while they take no part in it.
class LanguageModel {
 public:
  virtual ~LanguageModel() = default;
  virtual const Config& config() const = 0;
  virtual const char* name() const = 0;  ///< of the code path: "avx512", "avx2", "portable"
  virtual std::unique_ptr<Row> make_row() const = 0;
  /// Memory of one row with full rings; twice the rings under guidance.
  virtual size_t row_bytes(bool guidance) const = 0;
  /// Memory that conditions take beside that, once the first step has run; twice that under guidance. Throws
  /// Error(INVALID_ARGUMENT) as Row::set_conditions() does.
  virtual size_t condition_bytes(std::span<const Condition> conditions) const = 0;
  virtual size_t weight_bytes() const = 0;  ///< memory of the weights as packed
  /// Runs the items' steps, frame by frame over all items. `hooks` may be null.
  virtual void step(std::span<StepItem> items, StepHooks* hooks) = 0;
};

}  // namespace moshi::lm

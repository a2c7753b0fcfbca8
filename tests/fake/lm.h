// SPDX-License-Identifier: MIT
// The language model of the fake core. Tests include this too, to know the right answer.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "model.h"

namespace moshi_fake {

// Text tokens: these five, then 256 bytes, then words.
inline constexpr int kTextEndPadding = 0;
inline constexpr int kTextEos = 2;
inline constexpr int kTextPadding = 3;
inline constexpr int kFirstByte = 4;
inline constexpr int kFirstWord = 260;
inline constexpr int kTextCardinality = 1000;
inline constexpr int kExtraHeadWidth = 6;

/** What a language model is made like; fake.h names the knobs. */
struct LmShape {
  int own = 8, user = 8;  ///< streams
  int cardinality = kCardinality;
  int max_delay = 1;
  int extra_heads = 0;
  int eos_after = 3;  ///< steps from the end mark to the end-of-stream token; -1: never
};

/** A conversation. */
struct LmState {
  uint64_t hash = 0;
  int64_t steps = 0;
  int64_t since_end = -1;  ///< steps since the mark of the end; -1: it has not come
};

/** The code that silence has in a user stream. */
inline int32_t SilenceCode(int stream) { return 100 + stream; }

/**
 * One step: `tokens` gets the text token and the own codes, all -2 for the first max_delay steps. `seed` is 0 when
 * decoding is greedy. The first step does not look at `user`, which may be null then and is all -1 if it is later.
 */
inline void LmStep(const LmShape& shape, LmState& state, uint64_t seed, const int32_t* user, int32_t forced_text,
                   int32_t* tokens) {
  if (state.steps == 0) state.hash = Mix(0x6c6d, seed);
  bool end = state.steps > 0 && shape.user > 0;
  for (int k = 0; k < shape.user; ++k) {
    const int32_t token = state.steps == 0 || user == nullptr ? -1 : user[k];
    end = end && token == shape.cardinality;
    state.hash = Mix(state.hash, static_cast<uint32_t>(token));
  }
  state.hash = Mix(state.hash, static_cast<uint64_t>(state.steps));
  if (end)
    state.since_end = 0;
  else if (state.since_end >= 0)
    ++state.since_end;
  const uint64_t draw = Mix(state.hash, 1000);
  tokens[0] =
      draw % 3 == 0 ? static_cast<int32_t>(kFirstWord + draw / 3 % (kTextCardinality - kFirstWord)) : kTextPadding;
  if (shape.eos_after >= 0 && state.since_end == shape.eos_after) tokens[0] = kTextEos;
  if (forced_text != INT32_MIN) tokens[0] = forced_text;
  for (int k = 0; k < shape.own; ++k) tokens[1 + k] = static_cast<int32_t>(Mix(state.hash, k) % shape.cardinality);
  if (state.steps < shape.max_delay)
    for (int k = 0; k < 1 + shape.own; ++k) tokens[k] = -2;
  ++state.steps;
}

/** Probability `i` of extra head `head` at step `step`. */
inline float ExtraHead(int64_t step, int head, int i) {
  return static_cast<float>(step % 10) / 100.0f + static_cast<float>(head) / 10.0f + static_cast<float>(i) / 1000.0f;
}

/** The text of a token; "" if it is not said. Even words begin with a space. */
inline std::string PieceOf(int32_t token) {
  if (token < kFirstByte || token >= kTextCardinality) return "";
  if (token < kFirstWord) return std::string(1, static_cast<char>(token - kFirstByte));
  std::string word = token % 2 == 0 ? " w" : "x";
  word += std::to_string(token);
  return word;
}

}  // namespace moshi_fake

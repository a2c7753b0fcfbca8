// SPDX-License-Identifier: MIT
// The tokens of a conversation's last frames, and the delays between streams: stream k of what a step reads lies
// delay[k] frames behind its own time. Position s of the ring is what step s reads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lm/config.h"

namespace moshi::lm {

class TokenRing {
 public:
  explicit TokenRing(const Config& config);

  int64_t step() const { return step_; }
  void reset() { step_ = 0; }

  /// Puts a user frame (user_streams tokens; null: all -1) where later steps will read it.
  void write_user(const int32_t* tokens);
  /// What this step reads, streams() tokens: initial ones up to each stream's delay.
  void read_input(int32_t* tokens) const;
  /// Whether stream k's token of this step is an initial one.
  bool is_initial(int stream) const { return step_ <= delays_[stream]; }
  int delay(int stream) const { return delays_[stream]; }
  /// Ends the step with the tokens that it made: text, then own codes.
  void commit(const int32_t* tokens);
  /// The frame that the last step completed, streams lined up again: 1 + dep_q tokens, -2 if there is none yet.
  void read_frame(int32_t* tokens) const;

  /// The whole ring, for saving: streams() * capacity() tokens.
  std::span<const int32_t> tokens() const { return tokens_; }
  /// Whether every one of such a ring's tokens is one that its stream can have.
  bool could_hold(std::span<const int32_t> tokens) const;
  void restore(int64_t step, std::span<const int32_t> tokens);

 private:
  int32_t& at(int stream, int64_t position) { return tokens_[index(stream, position)]; }
  size_t index(int stream, int64_t position) const {
    return static_cast<size_t>(stream) * capacity_ + static_cast<size_t>(position % capacity_);
  }

  std::vector<int> delays_;
  int own_;  ///< dep_q
  int max_delay_;
  int capacity_;
  int32_t initial_text_;
  int32_t highest_text_;
  int32_t initial_audio_;
  int64_t step_ = 0;
  std::vector<int32_t> tokens_;
};

}  // namespace moshi::lm

// SPDX-License-Identifier: MIT
#include "lm/token_ring.h"

#include <algorithm>

#include "moshi/core.h"

namespace moshi::lm {

TokenRing::TokenRing(const Config& config)
    : delays_(config.delays),
      own_(config.dep_q),
      max_delay_(config.max_delay()),
      capacity_(max_delay_ + 2),
      initial_text_(config.text_card),
      highest_text_(config.highest_text()),
      initial_audio_(config.card),
      tokens_(static_cast<size_t>(config.streams()) * capacity_, MOSHI_TOKEN_NONE) {}

void TokenRing::write_user(const int32_t* tokens) {
  const int streams = static_cast<int>(delays_.size());
  for (int stream = 1 + own_; stream < streams; ++stream) {
    at(stream, step_ + delays_[stream]) = tokens ? tokens[stream - 1 - own_] : MOSHI_TOKEN_ZERO;
  }
}

void TokenRing::read_input(int32_t* tokens) const {
  const int streams = static_cast<int>(delays_.size());
  for (int stream = 0; stream < streams; ++stream) {
    const int32_t initial = stream == 0 ? initial_text_ : initial_audio_;
    tokens[stream] = is_initial(stream) ? initial : tokens_[index(stream, step_)];
  }
}

void TokenRing::commit(const int32_t* tokens) {
  ++step_;
  for (int stream = 0; stream <= own_; ++stream) at(stream, step_) = tokens[stream];
}

void TokenRing::read_frame(int32_t* tokens) const {
  for (int stream = 0; stream <= own_; ++stream) {
    tokens[stream] =
        step_ <= max_delay_ ? MOSHI_TOKEN_NONE : tokens_[index(stream, step_ - max_delay_ + delays_[stream])];
  }
}

bool TokenRing::could_hold(std::span<const int32_t> tokens) const {
  const auto text = static_cast<size_t>(capacity_);
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < MOSHI_TOKEN_NONE || tokens[i] > (i < text ? highest_text_ : initial_audio_)) return false;
  }
  return true;
}

void TokenRing::restore(int64_t step, std::span<const int32_t> tokens) {
  step_ = step;
  std::copy(tokens.begin(), tokens.end(), tokens_.begin());
}

}  // namespace moshi::lm

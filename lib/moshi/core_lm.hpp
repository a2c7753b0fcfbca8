// SPDX-License-Identifier: MIT
// Part of moshi/core.hpp: conversations with a language model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "moshi/core.hpp"

namespace moshi::core {

/// How a conversation is run.
struct LmOptions {
  MoshiClass work_class = MOSHI_CLASS_LIVE;
  int64_t seed = -1;     ///< -1 draws one: LmSession::seed() tells it
  int max_sessions = 0;  ///< MOSHI_ERR_BUSY when the model has this many already; 0: bounded by memory only
};

/// What a call of steps may say besides its data. Pointers of MoshiJob that are not here: LmSession::submit().
struct StepOptions {
  bool reset = false;                          ///< start a new conversation with this call
  bool text_only = false;                      ///< no audio tokens
  int64_t deadline_ns = MOSHI_NO_DEADLINE;     ///< CLOCK_MONOTONIC; orders live sessions
  std::span<const int32_t> forced_text = {};   ///< if given: steps
  std::span<const int32_t> forced_audio = {};  ///< if given: steps * own_streams
  std::span<const float> logit_bias = {};      ///< if given: text_logits
};

/// A condition of a conversation by name: a text, a tensor, or neither, which is absent.
struct Condition {
  std::string name;
  std::string text;
  std::span<const float> tensor = {};  ///< rows of `columns` values
  int64_t columns = 0;
  std::span<const uint8_t> mask = {};  ///< one for each row; empty: all valid
  bool negative = false;
};

/// A text token as text; `bytes` lives as long as the engine.
struct Piece {
  MoshiPieceKind kind = MOSHI_PIECE_NONE;
  std::string_view bytes;
};

/// What to show for a text token.
inline Result<Piece> piece(const Engine& engine, int32_t token) {
  MoshiPiece found = MOSHI_INIT(MoshiPiece);
  if (auto got = detail::call(engine.api().lm_piece, engine.handle(), token, &found); !got) return got.error();
  return Piece{found.kind, {found.bytes, found.count}};
}

/// One conversation: user codes in, Moshi's text and codes out, a frame at a time.
class LmSession {
 public:
  /// The engine must be loaded, for MOSHI_ROLE_LM.
  static Result<LmSession> open(const Engine& engine, LmOptions options = {}) {
    auto info = engine.lm_info();
    if (!info) return info.error();
    MoshiSessionConfig config = MOSHI_INIT(MoshiSessionConfig);
    config.roles = MOSHI_ROLE_LM;
    config.work_class = options.work_class;
    config.seed = options.seed;
    config.max_sessions = options.max_sessions;
    const MoshiSessionConfig* wish = &config;
    MoshiSession* made = nullptr;
    if (auto opened = detail::call(engine.api().session_open, engine.handle(), wish, &made); !opened) {
      return opened.error();
    }
    return LmSession(*info, Session(&engine.api(), 1, made));
  }

  /// Tokens of one frame of `user` and of `tokens`.
  size_t user_width() const { return user_width_; }
  size_t token_width() const { return 1 + own_streams_; }

  /// Runs a step for each frame of `user` (user_width() tokens each), and writes token_width() tokens for each to
  /// `tokens`: the text, then own codes; MOSHI_TOKEN_NONE in the first max_delay frames.
  Result<void> step(std::span<const int32_t> user, std::span<int32_t> tokens, const StepOptions& options = {}) {
    auto pending = submit_step(user, tokens, options);
    if (!pending) return pending.error();
    return pending->wait();
  }
  /// The same without waiting. Submit for several sessions, then wait for each: they are computed together.
  Result<Pending> submit_step(std::span<const int32_t> user, std::span<int32_t> tokens,
                              const StepOptions& options = {}) {
    // A model that listens to nothing still steps: as often as there is room for its tokens.
    const size_t frames = user_width_ ? user.size() / user_width_ : tokens.size() / token_width();
    if (frames == 0 || user.size() != frames * user_width_) {
      return detail::wrong("user tokens must be whole frames of " + std::to_string(user_width_) + " tokens, not " +
                           std::to_string(user.size()) + " tokens");
    }
    if (auto fits = check("tokens", tokens.size(), frames * token_width(), true); !fits) return fits.error();
    if (auto fits = check("forced_text", options.forced_text.size(), frames); !fits) return fits.error();
    if (auto fits = check("forced_audio", options.forced_audio.size(), frames * own_streams_); !fits) {
      return fits.error();
    }
    if (auto fits = check("logit_bias", options.logit_bias.size(), text_logits_); !fits) return fits.error();
    auto job = std::make_unique<MoshiJob>(MOSHI_INIT(MoshiJob));
    if (options.reset) job->flags |= MOSHI_JOB_RESET;
    if (options.text_only) job->flags |= MOSHI_JOB_TEXT_ONLY;
    job->frames = static_cast<int32_t>(frames);
    job->deadline_ns = options.deadline_ns;
    job->user_tokens = or_null(user);
    job->forced_text = or_null(options.forced_text);
    job->forced_audio = or_null(options.forced_audio);
    job->logit_bias = or_null(options.logit_bias);
    job->tokens_out = tokens.data();
    return submit(std::move(job));
  }
  /// A job with every field the caller's, but for its kind.
  Result<Pending> submit(std::unique_ptr<MoshiJob> job) {
    job->kind = MOSHI_JOB_STEP;
    return session_.submit(std::move(job));
  }

  /// "temperature", "top-k", "cfg-coef", ...: see session_set() in core.h.
  Result<void> set(const std::string& name, double value) { return session_.set(name, value); }
  /// Replaces all conditions, before the first step or after a reset.
  Result<void> set_conditions(std::span<const Condition> conditions) {
    std::vector<MoshiCondition> all;
    for (const Condition& from : conditions) {
      MoshiCondition to = MOSHI_INIT(MoshiCondition);
      to.name = from.name.c_str();
      to.text = from.text.empty() ? nullptr : from.text.c_str();
      to.negative = from.negative;
      to.tensor = or_null(from.tensor);
      to.columns = from.columns;
      to.rows = from.columns > 0 ? static_cast<int64_t>(from.tensor.size()) / from.columns : 0;
      if (to.rows * to.columns != static_cast<int64_t>(from.tensor.size())) {
        return detail::wrong("condition \"" + from.name + "\" is not whole rows of its columns");
      }
      if (!from.mask.empty() && static_cast<int64_t>(from.mask.size()) != to.rows) {
        return detail::wrong("the mask of condition \"" + from.name + "\" has not one value for each row");
      }
      to.mask = or_null(from.mask);
      all.push_back(to);
    }
    const MoshiCondition* first = all.data();
    return detail::call(session_.api_->session_set_conditions, handle(), first, all.size());
  }
  /// The seed in use, drawn or given.
  Result<int64_t> seed() const {
    int64_t seed = 0;
    if (auto got = detail::call(session_.api_->session_seed, handle(), &seed); !got) return got.error();
    return seed;
  }

  /// Back to the first step; settings and conditions stay, and the same seed draws the same again.
  Result<void> reset() { return session_.reset(); }
  /// Ends what is in flight; from any thread.
  void cancel() { session_.cancel(); }
  /// A second conversation that goes on from the same state, with the same settings and conditions.
  Result<LmSession> fork() {
    auto copy = session_.fork();
    if (!copy) return copy.error();
    LmSession result(*this, std::move(*copy));
    return result;
  }
  /// The state as bytes, without settings and conditions.
  Result<std::vector<std::byte>> save() { return session_.save(); }
  Result<void> load(std::span<const std::byte> state) { return session_.load(state); }

  /// For what this class does not offer.
  MoshiSession* handle() const { return session_.handle(); }

 private:
  LmSession(const MoshiLmInfo& info, Session session)
      : session_(std::move(session)),
        user_width_(static_cast<size_t>(info.user_streams)),
        own_streams_(static_cast<size_t>(info.own_streams)),
        text_logits_(static_cast<size_t>(info.text_logits)) {}
  LmSession(const LmSession& shape, Session session)
      : session_(std::move(session)),
        user_width_(shape.user_width_),
        own_streams_(shape.own_streams_),
        text_logits_(shape.text_logits_) {}

  template <class T>
  static T* or_null(std::span<T> values) {
    return values.empty() ? nullptr : values.data();
  }
  /// Where `values` are not `required`, none are right too.
  static Result<void> check(const char* what, size_t values, size_t wanted, bool required = false) {
    if (values == wanted || (values == 0 && !required)) return {};
    return detail::wrong(std::string("the span `") + what + "` has " + std::to_string(values) + " elements, not " +
                         std::to_string(wanted));
  }

  Session session_;
  size_t user_width_;
  size_t own_streams_;
  size_t text_logits_;
};

}  // namespace moshi::core

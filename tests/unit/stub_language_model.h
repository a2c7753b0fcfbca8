// SPDX-License-Identifier: MIT
// A language model without weights for the engine's tests: each row's tokens are a hash of all that the row has seen,
// its settings and its conditions, so that any mix-up of rows, steps or settings shows.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "common/error.h"
#include "lm/language_model.h"
#include "lm/weights.h"
#include "moshi/core.h"
#include "stub_codec.h"
#include "text/tokenizer.h"

namespace stub {

namespace lm = moshi::lm;

constexpr int kOwn = 2;
constexpr int kUser = 3;
constexpr int kCard = 64;  ///< as the stub codec's
constexpr int kTextCard = 20;
constexpr int kMaxDelay = 2;
constexpr int kHeads = 2;
constexpr int kHeadWidth = 3;
constexpr size_t kLmRowBytes = 1'000'000;
constexpr size_t kConditionBytes = 100'000;  ///< of each value of a tensor
/// User token 0 of a step at which a row's logits stop being numbers.
constexpr int32_t kPoison = 13;

inline lm::Config small_lm_config() {
  lm::Config config;
  config.n_q = kOwn + kUser;
  config.dep_q = kOwn;
  config.card = kCard;
  config.text_card = kTextCard;
  config.text_card_out = kTextCard;
  config.delays = {0, 0, kMaxDelay, 0, 1, kMaxDelay};
  config.temporal.context = 5;
  config.extra_heads = kHeads;
  config.extra_heads_dim = kHeadWidth;
  config.generation.temperature = 0.5f;
  config.generation.top_k = 7;
  return config;
}

/// What a test sees and decides beyond Control.
struct LmControl {
  Control& calls;
  std::atomic<int> models{0};  ///< alive
  std::atomic<int> rows{0};    ///< alive
};

class LmRow final : public lm::Row {
 public:
  explicit LmRow(LmControl& control) : control_(control) { ++control_.rows; }
  LmRow(const LmRow& other)
      : lm::Row(other),
        state(other.state),
        conditions(other.conditions),
        control_(other.control_),
        sampling_(other.sampling_),
        guidance_(other.guidance_),
        steps_(other.steps_) {
    ++control_.rows;
  }
  ~LmRow() override { --control_.rows; }

  void reset() override {
    state = 1;
    steps_ = 0;
  }
  std::unique_ptr<lm::Row> clone() const override { return std::make_unique<LmRow>(*this); }
  int64_t steps() const override { return steps_; }
  const lm::Sampling& sampling() const override { return sampling_; }
  void set_sampling(const lm::Sampling& sampling) override { sampling_ = sampling; }
  const lm::Guidance& guidance() const override { return guidance_; }
  void set_guidance(const lm::Guidance& guidance) override {
    if (guidance.active() != guidance_.active() && steps_ > 0) throw moshi::Error(MOSHI_ERR_CONFLICT, "too late");
    guidance_ = guidance;
  }
  void set_conditions(std::span<const lm::Condition> wanted) override {
    for (const lm::Condition& condition : wanted) {
      if (condition.name == "unheard") {
        throw moshi::Error(MOSHI_ERR_INVALID_ARGUMENT, "the model has no condition \"unheard\"");
      }
    }
    conditions.assign(wanted.begin(), wanted.end());
  }

  size_t saved_bytes() const override { return sizeof state + sizeof steps_; }
  void save(std::byte* out) const override {
    std::memcpy(out, &state, sizeof state);
    std::memcpy(out + sizeof state, &steps_, sizeof steps_);
  }
  void load(std::span<const std::byte> in) override {
    if (in.size() != saved_bytes()) throw moshi::Error(MOSHI_ERR_FORMAT, "not the state of a stub row");
    std::memcpy(&state, in.data(), sizeof state);
    std::memcpy(&steps_, in.data() + sizeof state, sizeof steps_);
  }

  /// What a step draws, given what has been said so far.
  uint64_t draw() const {
    uint64_t drawn = mix(state, sampling_.sampling ? sampling_.seed + 1 : 0);
    drawn = mix(drawn, static_cast<uint64_t>(sampling_.temperature * 1000));
    drawn = mix(drawn, static_cast<uint64_t>(guidance_.coefficient * 1000));
    for (const lm::Condition& condition : conditions) {
      drawn = mix(drawn, condition.name.size() + 16 * condition.text.size() + 256 * condition.tensor.size());
    }
    return drawn;
  }

  uint64_t state = 1;
  std::vector<lm::Condition> conditions;

 private:
  friend class StubLanguageModel;
  LmControl& control_;
  lm::Sampling sampling_;
  lm::Guidance guidance_;
  int64_t steps_ = 0;
};

class StubLanguageModel final : public lm::LanguageModel {
 public:
  StubLanguageModel(LmControl& control, lm::Config config) : control_(control), config_(std::move(config)) {
    ++control_.models;
  }
  ~StubLanguageModel() override { --control_.models; }
  const lm::Config& config() const override { return config_; }
  const char* name() const override { return "stub"; }
  std::unique_ptr<lm::Row> make_row() const override { return std::make_unique<LmRow>(control_); }
  size_t row_bytes(bool guidance) const override { return guidance ? 2 * kLmRowBytes : kLmRowBytes; }
  size_t condition_bytes(std::span<const lm::Condition> conditions) const override {
    size_t bytes = 0;
    for (const lm::Condition& condition : conditions) bytes += condition.tensor.size() * kConditionBytes;
    return bytes;
  }
  size_t weight_bytes() const override { return 70'000'000; }

  void step(std::span<lm::StepItem> items, lm::StepHooks* hooks) override {
    Call call{Direction::kEncode, {}};
    int longest = 0;
    for (const lm::StepItem& item : items) {
      longest = std::max(longest, item.frames);
      for (const lm::StepItem& other : items) {
        if (&item != &other && item.row == other.row) throw std::logic_error("a row takes part twice");
      }
      if (control_.calls.record) call.items.push_back({item.user, item.frames});
    }
    control_.calls.enter(std::move(call), longest);
    for (int frame = 0; frame < longest; ++frame) run_frame(items, frame, hooks);
    if (control_.calls.throw_in_call.exchange(false)) throw std::runtime_error("the stub was asked to fail");
  }

 private:
  void run_frame(std::span<lm::StepItem> items, int frame, lm::StepHooks* hooks) {
    std::vector<lm::StepItem*> active;
    for (lm::StepItem& item : items) {
      if (frame >= item.frames || item.problem) continue;
      if (item.user && item.user[frame * kUser] == kPoison) {
        item.problem = "the text logits are not finite";
        continue;
      }
      active.push_back(&item);
    }
    if (active.empty()) return;
    const size_t rows = active.size();
    const int width = config_.text_card_out;
    std::vector<float> logits(rows * static_cast<size_t>(width));
    std::vector<int32_t> text(rows);
    std::vector<int32_t> audio(rows * kOwn);
    for (size_t r = 0; r < rows; ++r) {
      hear(*active[r], frame);
      const uint64_t said = row_of(*active[r]).draw() % static_cast<uint64_t>(width);
      logits[r * static_cast<size_t>(width) + said] = 1.0f;
    }
    if (hooks) hooks->text_logits(active, logits.data(), width);
    for (size_t r = 0; r < rows; ++r) text[r] = pick_text(*active[r], frame, &logits[r * static_cast<size_t>(width)]);
    if (hooks) hooks->text(active, text.data());
    for (size_t r = 0; r < rows; ++r) speak(*active[r], frame, text[r], &audio[r * kOwn]);
    if (hooks) hooks->audio(active, audio.data(), kOwn);
    for (size_t r = 0; r < rows; ++r) keep(*active[r], frame, text[r], &audio[r * kOwn]);
  }

  static LmRow& row_of(const lm::StepItem& item) { return static_cast<LmRow&>(*item.row); }

  static void hear(const lm::StepItem& item, int frame) {
    LmRow& row = row_of(item);
    for (int k = 0; k < kUser; ++k) {
      row.state = mix(row.state, static_cast<uint64_t>(item.user ? item.user[frame * kUser + k] + 2 : 1));
    }
  }

  int32_t pick_text(const lm::StepItem& item, int frame, const float* logits) const {
    if (item.text_logits) std::copy_n(logits, config_.text_card_out, item.text_logits + frame * config_.text_card_out);
    if (item.forced_text && item.forced_text[frame] != MOSHI_TOKEN_GENERATE) return item.forced_text[frame];
    std::vector<float> biased(logits, logits + config_.text_card_out);
    for (size_t i = 0; item.logit_bias && i < biased.size(); ++i) biased[i] += item.logit_bias[i];
    return static_cast<int32_t>(std::max_element(biased.begin(), biased.end()) - biased.begin());
  }

  static void speak(const lm::StepItem& item, int frame, int32_t text, int32_t* audio) {
    LmRow& row = row_of(item);
    row.state = mix(row.state, static_cast<uint64_t>(text + 2));
    for (int k = 0; k < kOwn; ++k) {
      const int32_t forced = item.forced_audio ? item.forced_audio[frame * kOwn + k] : MOSHI_TOKEN_GENERATE;
      audio[k] = static_cast<int32_t>(mix(row.draw(), static_cast<uint64_t>(k)) >> 40) % kCard;
      if (forced != MOSHI_TOKEN_GENERATE) audio[k] = forced;
      if (item.text_only) audio[k] = MOSHI_TOKEN_ZERO;
    }
  }

  static void keep(lm::StepItem& item, int frame, int32_t text, const int32_t* audio) {
    LmRow& row = row_of(item);
    int32_t* out = item.tokens + frame * (1 + kOwn);
    out[0] = text;
    for (int k = 0; k < kOwn; ++k) {
      out[1 + k] = audio[k];
      row.state = mix(row.state, static_cast<uint64_t>(audio[k] + 2));
    }
    if (item.sampled) std::copy_n(out, 1 + kOwn, item.sampled + frame * (1 + kOwn));
    if (row.steps_ < kMaxDelay) std::fill_n(out, 1 + kOwn, MOSHI_TOKEN_NONE);
    if (item.audio_logits) std::fill_n(item.audio_logits + frame * kOwn * kCard, kOwn * kCard, 0.25f);
    if (item.extra_heads) std::fill_n(item.extra_heads + frame * kHeads * kHeadWidth, kHeads * kHeadWidth, 0.5f);
    ++row.steps_;
    ++item.done;
  }

  LmControl& control_;
  lm::Config config_;
};

class StubWeights final : public lm::Weights {
 public:
  explicit StubWeights(std::string file) : file_(std::move(file)) {}
  bool has(const std::string&) const override { return false; }
  lm::Linear linear(const std::string&) const override { return {}; }
  std::vector<float> vector(const std::string&) const override { return {}; }
  lm::Matrix table(const std::string&) const override { return {}; }
  void drop(const lm::Matrix&) const override {}
  uint64_t file_bytes() const override { return 4321; }
  std::string sha256(const std::function<void()>&) const override {
    return (file_ + std::string(64, '1')).substr(0, 64);
  }

 private:
  std::string file_;
};

/// Piece i is the text "i"; the last one is a byte, and the first is not said.
class StubTokenizer final : public moshi::text::Tokenizer {
 public:
  explicit StubTokenizer(int size) {
    using Kind = moshi::text::Piece::Kind;
    for (int i = 0; i < size; ++i) pieces_.push_back({Kind::kText, std::string(" ").append(std::to_string(i))});
    pieces_.front() = {Kind::kNone, ""};
    pieces_.back() = {Kind::kByte, "\xe2"};
  }
  int size() const override { return static_cast<int>(pieces_.size()); }
  int eos_id() const override { return 2; }
  const std::vector<moshi::text::Piece>& pieces() const override { return pieces_; }

 private:
  std::vector<moshi::text::Piece> pieces_;
};

}  // namespace stub

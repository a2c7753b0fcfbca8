// SPDX-License-Identifier: MIT
// The packed language model against itself: what must not change its results, and what must. That they are the
// reference's is for the conformance vectors and the comparison with it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/error.h"
#include "lm_random_weights.h"
#include "moshi/core.h"

namespace moshi::lm {
namespace {

const char* const kMoshi = R"({"dim":48,"text_card":60,"n_q":6,"dep_q":3,"card":40,"num_heads":2,"num_layers":2,
  "hidden_scale":4.125,"context":10,"gating":"silu","norm":"rms_norm_f32","positional_embedding":"rope",
  "depformer_dim":32,"depformer_num_heads":2,"depformer_num_layers":2,"depformer_multi_linear":true,
  "depformer_pos_emb":"none","depformer_weights_per_step":true,"delays":[0,0,1,1,0,1,1])";
const char* const kConditions = R"(,"cross_attention":true,
  "conditioners":{"description":{"type":"lut","lut":{"n_bins":4,"dim":8,"tokenizer":"noop","possible_values":["good","bad"]}},
                  "voice":{"type":"tensor","tensor":{"dim":5}}},
  "fuser":{"sum":["description"],"cross":["voice"]})";

/// What a conversation gives: tokens and text logits of each step.
struct Heard {
  std::vector<int32_t> tokens;
  std::vector<float> logits;
  bool operator==(const Heard&) const = default;
};

Condition word(const std::string& name, const std::string& text) {
  Condition condition;
  condition.name = name;
  condition.text = text;
  return condition;
}

Condition tensor(const std::string& name, int rows, int columns) {
  Condition condition;
  condition.name = name;
  condition.tensor.assign(static_cast<size_t>(rows) * columns, 0.5f);
  condition.rows = rows;
  condition.columns = columns;
  return condition;
}

class LmModelTest : public testing::Test {
 protected:
  void make(const std::string& json, int threads = 1, bool bf16 = false) {
    config_ = parse_config(json, "test");
    weights_ = std::make_unique<test::RandomLmWeights>(config_);
    build(threads, bf16);
  }
  void build(int threads, bool bf16) {
    model_.reset();
    pool_ = std::make_unique<kernels::Pool>(threads);
    model_ = make_language_model({config_, *weights_, bf16, false, *pool_, progress_});
  }

  std::vector<int32_t> user(int seed, int frames) const {
    std::vector<int32_t> tokens(static_cast<size_t>(frames) * config_.user_streams());
    uint32_t state = 12345u + static_cast<uint32_t>(seed);
    for (int32_t& token : tokens) {
      state = state * 1664525u + 1013904223u;
      token = static_cast<int32_t>((state >> 8) % static_cast<uint32_t>(config_.card));
    }
    return tokens;
  }

  /// Runs the rows together, `frames` steps of each, `at_once` in a call.
  std::vector<Heard> run(const std::vector<Row*>& rows, const std::vector<std::vector<int32_t>>& users, int frames,
                         int at_once = 1) {
    std::vector<Heard> heard(rows.size());
    const size_t width = 1 + static_cast<size_t>(config_.dep_q);
    for (Heard& one : heard) {
      one.tokens.resize(width * frames);
      one.logits.resize(static_cast<size_t>(config_.text_card_out) * frames);
    }
    for (int first = 0; first < frames; first += at_once) {
      std::vector<StepItem> items(rows.size());
      for (size_t i = 0; i < rows.size(); ++i) {
        items[i].row = rows[i];
        items[i].frames = std::min(at_once, frames - first);
        items[i].user = users[i].data() + static_cast<size_t>(first) * config_.user_streams();
        items[i].tokens = heard[i].tokens.data() + first * width;
        items[i].text_logits = heard[i].logits.data() + static_cast<size_t>(first) * config_.text_card_out;
      }
      model_->step(items, nullptr);
      for (const StepItem& item : items) EXPECT_EQ(item.done, item.frames) << (item.problem ? item.problem : "");
    }
    return heard;
  }
  Heard run_one(Row& row, int seed, int frames, int at_once = 1) {
    return run({&row}, {user(seed, frames)}, frames, at_once)[0];
  }

  const std::function<void(double)> progress_;
  Config config_;
  std::unique_ptr<test::RandomLmWeights> weights_;
  std::unique_ptr<kernels::Pool> pool_;
  std::unique_ptr<LanguageModel> model_;
};

constexpr int kFrames = 25;  // beyond the context

TEST_F(LmModelTest, NeighborsGroupingThreadsAndRowsChangeNothing) {
  make(std::string(kMoshi) + "}");
  const auto alone = model_->make_row();
  const Heard expected = run_one(*alone, 1, kFrames);
  const auto grouped = model_->make_row();
  EXPECT_EQ(run_one(*grouped, 1, kFrames, 7), expected);
  std::vector<std::unique_ptr<Row>> rows;
  std::vector<Row*> pointers;
  std::vector<std::vector<int32_t>> users;
  for (int i = 0; i < 9; ++i) {
    pointers.push_back(rows.emplace_back(model_->make_row()).get());
    users.push_back(user(i == 5 ? 1 : 50 + i, kFrames));
  }
  EXPECT_EQ(run(pointers, users, kFrames)[5], expected);
  build(2, false);
  const auto threaded = model_->make_row();
  EXPECT_EQ(run_one(*threaded, 1, kFrames), expected);
}

TEST_F(LmModelTest, AnotherUserIsHeard) {
  make(std::string(kMoshi) + "}");
  const auto row = model_->make_row();
  const Heard one = run_one(*row, 1, kFrames);
  row->reset();
  EXPECT_NE(run_one(*row, 2, kFrames), one);
  row->reset();
  EXPECT_EQ(run_one(*row, 1, kFrames), one);
}

TEST_F(LmModelTest, ACopyAndASavedStateGoOnAlike) {
  for (const bool bf16 : {false, true}) {
    make(std::string(kMoshi) + "}", 1, bf16);
    const auto row = model_->make_row();
    run_one(*row, 1, 14);
    const auto copy = row->clone();
    std::vector<std::byte> state(row->saved_bytes());
    row->save(state.data());
    const auto other = model_->make_row();
    run_one(*other, 3, 4);
    Sampling sampling = row->sampling();
    other->set_sampling(sampling);
    other->load(state);
    const Heard expected = run_one(*row, 9, 15);
    EXPECT_EQ(run_one(*copy, 9, 15), expected);
    EXPECT_EQ(run_one(*other, 9, 15), expected);
    // What it is made of, where a Header begins and where tokens do.
    const auto refused = [&](size_t at, auto value) {
      std::vector<std::byte> bad = state;
      std::memcpy(bad.data() + at, &value, sizeof value);
      EXPECT_THROW(other->load(bad), Error) << "at " << at;
    };
    refused(0, uint32_t{0});
    refused(32, int64_t{-1});
    refused(32, std::numeric_limits<int64_t>::max());
    refused(40, int32_t{61});                        // text: 60 is the initial one
    refused(40 + 3 * sizeof(int32_t), int32_t{41});  // a code: likewise 40
    refused(40 + 3 * sizeof(int32_t), int32_t{-3});
    EXPECT_EQ(run_one(*other, 2, 3), run_one(*row, 2, 3)) << "as if nothing had been loaded";
    state.pop_back();
    EXPECT_THROW(other->load(state), Error);
  }
}

TEST_F(LmModelTest, SeedsAndTemperaturesAreTheRows) {
  make(std::string(kMoshi) + "}");
  const auto greedy = model_->make_row();
  greedy->set_sampling({.sampling = false});
  const auto cold = model_->make_row();
  cold->set_sampling({.temperature = 0, .text_temperature = 0});
  EXPECT_EQ(run_one(*greedy, 1, kFrames), run_one(*cold, 1, kFrames));
  const auto one = model_->make_row();
  one->set_sampling({.seed = 1});
  const auto two = model_->make_row();
  two->set_sampling({.seed = 2});
  const Heard first = run_one(*one, 1, kFrames);
  EXPECT_NE(first, run_one(*two, 1, kFrames));
  two->reset();
  two->set_sampling({.seed = 1});
  EXPECT_EQ(first, run_one(*two, 1, kFrames));
}

TEST_F(LmModelTest, ForcedTokensAreTakenAndLed) {
  make(std::string(kMoshi) + "}");
  const auto row = model_->make_row();
  const std::vector<int32_t> heard = user(1, 3);
  const int32_t text[] = {11, MOSHI_TOKEN_GENERATE, 13};
  const int32_t codes[] = {1, 2, 3, MOSHI_TOKEN_GENERATE, 5, MOSHI_TOKEN_GENERATE, 7, 8, 9};
  std::vector<int32_t> tokens(12), sampled(12);
  StepItem item{.row = row.get(), .frames = 3, .user = heard.data(), .forced_text = text, .forced_audio = codes};
  item.tokens = tokens.data();
  item.sampled = sampled.data();
  model_->step(std::span(&item, 1), nullptr);
  EXPECT_EQ(item.done, 3);
  EXPECT_EQ(sampled[0], 11);
  EXPECT_EQ(sampled[8], 13);
  EXPECT_EQ((std::vector<int32_t>(sampled.begin() + 1, sampled.begin() + 4)), (std::vector<int32_t>{1, 2, 3}));
  EXPECT_EQ(sampled[6], 5);
  EXPECT_EQ((std::vector<int32_t>(tokens.begin() + 8, tokens.end())),
            (std::vector<int32_t>{sampled[4], sampled[5], 8, 9}));
}

TEST_F(LmModelTest, TextOnlyStepsHaveNoAudio) {
  make(std::string(kMoshi) + "}");
  const auto row = model_->make_row();
  std::vector<int32_t> tokens(8), sampled(8);
  StepItem item{.row = row.get(), .frames = 2, .text_only = true};
  item.tokens = tokens.data();
  item.sampled = sampled.data();
  model_->step(std::span(&item, 1), nullptr);
  EXPECT_EQ((std::vector<int32_t>(sampled.begin() + 1, sampled.begin() + 4)), std::vector<int32_t>(3, -1));
}

TEST_F(LmModelTest, NumbersThatAreNoneEndOneRowAlone) {
  make(std::string(kMoshi) + "}");
  weights_->values("emb.3")[7 * 48] = std::numeric_limits<float>::infinity();  // the first user stream's token 7
  build(1, false);
  const auto good = model_->make_row();
  const auto bad = model_->make_row();
  std::vector<int32_t> calm(3 * 4, 1), damaging(3 * 4, 1);
  damaging[2 * 3] = 7;
  std::vector<int32_t> tokens(4 * 4 * 2);
  StepItem items[2] = {{.row = good.get(), .frames = 4, .user = calm.data()},
                       {.row = bad.get(), .frames = 4, .user = damaging.data()}};
  items[0].tokens = tokens.data();
  items[1].tokens = tokens.data() + 16;
  model_->step(items, nullptr);
  EXPECT_EQ(items[0].done, 4);
  EXPECT_EQ(items[0].problem, nullptr);
  EXPECT_EQ(items[1].done, 2);
  EXPECT_NE(items[1].problem, nullptr);
}

/// Puts one value in the first row's text logits, text or codes.
class Meddler final : public StepHooks {
 public:
  void text_logits(std::span<StepItem* const>, float* logits, ptrdiff_t) override {
    if (ruled_out > 0) std::fill_n(logits, ruled_out, -std::numeric_limits<float>::infinity());
    if (logit != 0) logits[0] = logit;
  }
  void text(std::span<StepItem* const>, int32_t* tokens) override { tokens[0] = text_token.value_or(tokens[0]); }
  void audio(std::span<StepItem* const>, int32_t* tokens, ptrdiff_t) override { tokens[2] = code.value_or(tokens[2]); }
  int ruled_out = 0;
  float logit = 0;
  std::optional<int32_t> text_token, code;
};

TEST_F(LmModelTest, WhatHooksLeaveIsChecked) {
  make(std::string(kMoshi) + "}");
  const auto step = [&](auto change) {
    Meddler hooks;
    change(hooks);
    const auto meddled = model_->make_row();
    const auto neighbor = model_->make_row();
    std::vector<int32_t> sampled(8);
    std::vector<int32_t> tokens(8);
    StepItem items[2] = {{.row = meddled.get(), .frames = 1}, {.row = neighbor.get(), .frames = 1}};
    for (int i = 0; i < 2; ++i) {
      items[i].tokens = &tokens[i * 4];
      items[i].sampled = &sampled[i * 4];
    }
    model_->step(items, &hooks);
    EXPECT_EQ(items[1].done, 1);
    EXPECT_EQ(items[0].done == 1, items[0].problem == nullptr);
    return items[0].problem ? -100 : sampled[0];
  };
  EXPECT_EQ(step([](Meddler& m) { m.text_token = 60; }), 60);
  EXPECT_EQ(step([](Meddler& m) { m.text_token = -1; }), -1);
  EXPECT_EQ(step([](Meddler& m) { m.ruled_out = 59; }), 59);
  EXPECT_EQ(step([](Meddler& m) { m.ruled_out = 60; }), -100);
  EXPECT_EQ(step([](Meddler& m) { m.logit = std::numeric_limits<float>::infinity(); }), -100);
  EXPECT_EQ(step([](Meddler& m) { m.logit = std::numeric_limits<float>::quiet_NaN(); }), -100);
  EXPECT_EQ(step([](Meddler& m) { m.text_token = 61; }), -100);
  EXPECT_EQ(step([](Meddler& m) { m.text_token = -2; }), -100);
  EXPECT_NE(step([](Meddler& m) { m.code = 40; }), -100);
  EXPECT_EQ(step([](Meddler& m) { m.code = 41; }), -100);
  EXPECT_EQ(step([](Meddler& m) { m.code = -2; }), -100);
}

TEST_F(LmModelTest, ConditionsAreCheckedAndHeard) {
  make(std::string(kMoshi) + kConditions + "}");
  const auto row = model_->make_row();
  const Heard none = run_one(*row, 1, 6);
  row->reset();
  const Condition good = word("description", "good");
  const Condition voice = tensor("voice", 2, 5);
  row->set_conditions(std::vector{good});
  const Heard with_good = run_one(*row, 1, 6);
  EXPECT_NE(with_good.logits, none.logits);
  EXPECT_THROW(row->set_conditions({}), Error) << "after the first step";
  row->reset();
  row->set_conditions(std::vector{good, voice});
  EXPECT_NE(run_one(*row, 1, 6).logits, with_good.logits);
  row->reset();
  EXPECT_THROW(row->set_conditions(std::vector{word("mood", "any")}), Error);
  EXPECT_THROW(row->set_conditions(std::vector{word("description", "ugly")}), Error);
  EXPECT_THROW(row->set_conditions(std::vector{good, good}), Error);
  EXPECT_GT(model_->condition_bytes(std::vector{tensor("voice", 40, 5)}), model_->condition_bytes(std::vector{voice}));
  Condition narrow = voice;
  narrow.columns = 4;
  EXPECT_THROW(row->set_conditions(std::vector{narrow}), Error);
}

TEST_F(LmModelTest, GuidanceLeadsAwayFromItsOtherHalf) {
  make(std::string(kMoshi) + kConditions + "}");
  const Condition good = word("description", "good");
  const auto plain = model_->make_row();
  plain->set_conditions(std::vector{good});
  const Heard expected = run_one(*plain, 1, 6);
  const auto guided = model_->make_row();
  guided->set_conditions(std::vector{good});
  guided->set_guidance({.coefficient = 2.0f});
  EXPECT_NE(run_one(*guided, 1, 6).logits, expected.logits);
  EXPECT_THROW(guided->set_guidance({}), Error) << "in the middle";
  // Both halves alike: nothing to lead away from.
  const auto same = model_->make_row();
  Condition negative = good;
  negative.negative = true;
  same->set_conditions(std::vector{good, negative});
  same->set_guidance({.coefficient = 2.0f});
  EXPECT_EQ(run_one(*same, 1, 6), expected);
}

TEST_F(LmModelTest, GuidanceWithoutConditionsNeedsAnotherForm) {
  make(std::string(kMoshi) + "}");
  const auto row = model_->make_row();
  EXPECT_THROW(row->set_guidance({.coefficient = 2.0f}), Error);
  row->set_guidance({.coefficient = 2.0f, .text = false});
  row->set_guidance({.coefficient = 2.0f, .masked_until = 3});
  run_one(*row, 1, 6);
}

}  // namespace
}  // namespace moshi::lm

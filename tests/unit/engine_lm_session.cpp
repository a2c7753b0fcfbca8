// SPDX-License-Identifier: MIT
// Sessions of a language model: how many, seeds, settings, guidance and its memory, conditions, states, hooks.
#include <cmath>

#include "engine_lm_fixture.h"

namespace {

using fixture::heard;
using fixture::LmTest;
using fixture::Steps;

constexpr int kWidth = 1 + stub::kOwn;

class EngineLmSession : public LmTest {
 protected:
  int64_t seed(MoshiSession* session) {
    int64_t result = -5;
    EXPECT_EQ(api.session_seed(session, &result, &error), MOSHI_OK) << error.message;
    return result;
  }
  MoshiStatus set(MoshiSession* session, const char* name, double value) {
    return api.session_set(session, name, value, &error);
  }
  MoshiSession* forked(MoshiSession* session) {
    MoshiSession* copy = nullptr;
    EXPECT_EQ(api.session_fork(session, &copy, &error), MOSHI_OK) << error.message;
    return adopt(copy);
  }
  static MoshiCondition condition(const char* name, const char* text) {
    MoshiCondition result = MOSHI_INIT(MoshiCondition);
    result.name = name;
    result.text = text;
    return result;
  }
};

TEST_F(EngineLmSession, OnlySoManyAreOpenedAtOnce) {
  MoshiEngine* engine = lm_loaded();
  MoshiSession* first = nullptr;
  MoshiSession* second = nullptr;
  MoshiSession* third = nullptr;
  ASSERT_EQ(try_lm_session(engine, &first, 1, 2), MOSHI_OK);
  ASSERT_EQ(try_lm_session(lm_loaded(), &second, 1, 2), MOSHI_OK);  // another reference, the same model
  EXPECT_EQ(try_lm_session(engine, &third, 1, 2), MOSHI_ERR_BUSY);
  EXPECT_EQ(third, nullptr);
  EXPECT_TRUE(says("2 sessions open") && says("allows 2")) << error.message;
  EXPECT_EQ(api.session_fork(first, &third, &error), MOSHI_ERR_BUSY);
  EXPECT_EQ(try_lm_session(engine, &third, 1, -1), MOSHI_ERR_INVALID_ARGUMENT);
  close(second);
  EXPECT_EQ(try_lm_session(engine, &third, 1, 2), MOSHI_OK) << error.message;
  EXPECT_EQ(try_lm_session(engine, &second, 1, 0), MOSHI_OK) << error.message;
}

TEST_F(EngineLmSession, ASessionThatCannotBeMadeTakesNoPlace) {
  MoshiEngine* engine = lm_loaded();
  MoshiSession* session = nullptr;
  free_bytes = 10;
  EXPECT_EQ(try_lm_session(engine, &session, 1, 1), MOSHI_ERR_NO_MEMORY);
  free_bytes = 1'000'000'000;
  EXPECT_EQ(try_lm_session(engine, &session, 1, 1), MOSHI_OK) << error.message;
}

TEST_F(EngineLmSession, TheSameSeedSaysTheSame) {
  MoshiEngine* engine = lm_loaded();
  const auto user = heard(4, 1);
  EXPECT_EQ(alone(engine, user, 7), alone(engine, user, 7));
  EXPECT_NE(alone(engine, user, 7), alone(engine, user, 8));
  MoshiSession* session = lm_session(engine, 7);
  EXPECT_EQ(seed(session), 7);
  EXPECT_EQ(set(session, "seed", 8), MOSHI_OK);
  EXPECT_EQ(seed(session), 8);
  EXPECT_EQ(sampled(session, user), alone(engine, user, 8));
}

TEST_F(EngineLmSession, ASeedIsDrawnAndTold) {
  MoshiEngine* engine = lm_loaded();
  MoshiSession* first = lm_session(engine, -1);
  MoshiSession* second = lm_session(engine, -1);
  EXPECT_GE(seed(first), 0);
  EXPECT_NE(seed(first), seed(second));
  const auto user = heard(4, 1);
  EXPECT_EQ(sampled(first, user), alone(engine, user, seed(first)));
  // A double holds it.
  EXPECT_EQ(set(second, "seed", static_cast<double>(seed(first))), MOSHI_OK) << error.message;
  EXPECT_EQ(seed(second), seed(first));
  MoshiSession* none = nullptr;
  EXPECT_EQ(try_lm_session(engine, &none, -2), MOSHI_ERR_INVALID_ARGUMENT);
}

TEST_F(EngineLmSession, SettingsHoldFromTheNextStepOn) {
  MoshiEngine* engine = lm_loaded();
  const auto user = heard(2, 1);
  MoshiSession* session = lm_session(engine);
  MoshiSession* other = lm_session(engine);
  const std::vector<int32_t> first(user.begin(), user.begin() + stub::kUser);
  const std::vector<int32_t> second(user.begin() + stub::kUser, user.end());
  EXPECT_EQ(sampled(session, first), sampled(other, first));
  EXPECT_EQ(set(session, "temperature", 0.9), MOSHI_OK) << error.message;
  EXPECT_NE(sampled(session, second), sampled(other, second));
}

TEST_F(EngineLmSession, SettingsAreTakenWhileAStepRuns) {
  MoshiEngine* engine = lm_loaded();
  MoshiSession* session = lm_session(engine);
  Steps steps(heard(1, 1));
  control.hold();
  submit(session, steps);
  control.wait_for_held();
  EXPECT_EQ(set(session, "temperature", 0.9), MOSHI_OK);
  EXPECT_EQ(set(session, "cfg-text", 0), MOSHI_OK);
  EXPECT_EQ(set(session, "cfg-coef", 2), MOSHI_ERR_CONFLICT);
  control.let_all();
  EXPECT_EQ(wait(session, steps), MOSHI_OK);
}

TEST_F(EngineLmSession, WrongSettingsAreRefused) {
  MoshiSession* session = lm_session(lm_loaded());
  for (const auto& [name, value] : std::initializer_list<std::pair<const char*, double>>{{"temperature", -0.1},
                                                                                         {"temperature", std::nan("")},
                                                                                         {"text-temperature", INFINITY},
                                                                                         {"top-k", 1.5},
                                                                                         {"top-k", -1},
                                                                                         {"text-top-k", 1e12},
                                                                                         {"sampling", 2},
                                                                                         {"seed", -2},
                                                                                         {"seed", 0.5},
                                                                                         {"seed", 1e300},
                                                                                         {"cfg-coef", std::nan("")},
                                                                                         {"cfg-text", 3},
                                                                                         {"cfg-masked-until", -2}}) {
    EXPECT_EQ(set(session, name, value), MOSHI_ERR_INVALID_ARGUMENT) << name << " " << value;
    EXPECT_TRUE(says(name)) << error.message;
  }
  EXPECT_EQ(set(session, "loudness", 1), MOSHI_ERR_NOT_SUPPORTED);
  EXPECT_TRUE(says("text-top-k")) << error.message;
}

TEST_F(EngineLmSession, GuidanceTakesItsMemoryBeforeItBegins) {
  MoshiEngine* engine = lm_loaded();
  const auto user = heard(8, 1);
  const auto unguided = alone(engine, user);
  free_bytes = stub::kLmRowBytes + stub::kLmRowBytes / 2;
  MoshiSession* session = lm_session(engine);
  EXPECT_EQ(set(session, "cfg-coef", 3), MOSHI_ERR_NO_MEMORY);
  EXPECT_TRUE(says("1.0 MB (1000000 bytes)") && says("500.0 kB (500000 bytes)")) << error.message;
  EXPECT_EQ(sampled(session, user), unguided);  // as if it had not been asked for

  free_bytes = 2 * stub::kLmRowBytes;
  EXPECT_EQ(api.session_reset(session, &error), MOSHI_OK);
  EXPECT_EQ(set(session, "cfg-coef", 3), MOSHI_OK) << error.message;
  MoshiEngineLimits limits = MOSHI_INIT(MoshiEngineLimits);
  ASSERT_EQ(api.engine_limits(engine, MOSHI_ROLE_LM, &limits, &error), MOSHI_OK);
  EXPECT_EQ(limits.bytes_free, stub::kLmRowBytes);  // the first half was filled before, the second is promised
  EXPECT_EQ(set(session, "cfg-coef", 1), MOSHI_OK);
  ASSERT_EQ(api.engine_limits(engine, MOSHI_ROLE_LM, &limits, &error), MOSHI_OK);
  EXPECT_EQ(limits.bytes_free, 2 * stub::kLmRowBytes);
  EXPECT_EQ(set(session, "cfg-coef", 3), MOSHI_OK);
  EXPECT_NE(sampled(session, user), unguided);
  ASSERT_EQ(api.engine_limits(engine, MOSHI_ROLE_LM, &limits, &error), MOSHI_OK);
  EXPECT_EQ(limits.bytes_free, 2 * stub::kLmRowBytes);  // and filled now
}

TEST_F(EngineLmSession, GuidanceBeginsWithTheConversation) {
  MoshiEngine* engine = lm_loaded();
  MoshiSession* session = lm_session(engine);
  sampled(session, heard(1, 1));
  EXPECT_EQ(set(session, "cfg-coef", 2), MOSHI_ERR_CONFLICT);
  EXPECT_EQ(api.session_reset(session, &error), MOSHI_OK);
  EXPECT_EQ(set(session, "cfg-coef", 2), MOSHI_OK);
  sampled(session, heard(1, 1));
  EXPECT_EQ(set(session, "cfg-coef", 3), MOSHI_OK);  // still guidance
  EXPECT_EQ(set(session, "cfg-coef", 1), MOSHI_ERR_CONFLICT);
  MoshiSession* copy = forked(session);
  EXPECT_EQ(sampled(copy, heard(1, 2)), sampled(session, heard(1, 2)));
}

TEST_F(EngineLmSession, ConditionsReachTheRow) {
  MoshiEngine* engine = lm_loaded();
  const auto user = heard(3, 1);
  MoshiSession* session = lm_session(engine);
  const float values[] = {1, 2, 3, 4, 5, 6};
  MoshiCondition conditions[] = {condition("description", "calm"), condition("voice", nullptr)};
  conditions[1].tensor = values;
  conditions[1].rows = 2;
  conditions[1].columns = 3;
  ASSERT_EQ(api.session_set_conditions(session, conditions, 2, &error), MOSHI_OK) << error.message;
  MoshiSession* copy = forked(session);
  const auto said = sampled(session, user);
  EXPECT_NE(said, alone(engine, user));
  EXPECT_EQ(sampled(copy, user), said);
  EXPECT_EQ(api.session_set_conditions(session, conditions, 2, &error), MOSHI_ERR_CONFLICT);
  EXPECT_EQ(api.session_reset(session, &error), MOSHI_OK);
  EXPECT_EQ(sampled(session, user), said);  // they stay
  EXPECT_EQ(api.session_reset(session, &error), MOSHI_OK);
  EXPECT_EQ(api.session_set_conditions(session, nullptr, 0, &error), MOSHI_OK) << error.message;
  EXPECT_EQ(sampled(session, user), alone(engine, user));
}

TEST_F(EngineLmSession, ConditionsTakeTheirMemoryBeforeTheyAreHeard) {
  MoshiEngine* engine = lm_loaded();
  const float values[] = {1, 2, 3};
  MoshiCondition voice = condition("voice", nullptr);
  voice.tensor = values;
  voice.rows = 3;
  voice.columns = 1;
  free_bytes = stub::kLmRowBytes + 2 * stub::kConditionBytes;
  MoshiSession* session = lm_session(engine);
  EXPECT_EQ(api.session_set_conditions(session, &voice, 1, &error), MOSHI_ERR_NO_MEMORY);
  EXPECT_TRUE(says("300.0 kB (300000 bytes)") && says("200.0 kB (200000 bytes)")) << error.message;

  free_bytes = 2 * stub::kLmRowBytes + 6 * stub::kConditionBytes;
  EXPECT_EQ(api.session_set_conditions(session, &voice, 1, &error), MOSHI_OK) << error.message;
  EXPECT_EQ(set(session, "cfg-coef", 3), MOSHI_OK) << error.message;
  MoshiEngineLimits limits = MOSHI_INIT(MoshiEngineLimits);
  ASSERT_EQ(api.engine_limits(engine, MOSHI_ROLE_LM, &limits, &error), MOSHI_OK);
  EXPECT_EQ(limits.bytes_free, 0u);
  sampled(session, heard(1, 1));
  ASSERT_EQ(api.engine_limits(engine, MOSHI_ROLE_LM, &limits, &error), MOSHI_OK);
  EXPECT_EQ(limits.bytes_free, 3 * stub::kConditionBytes);  // the second half's are promised with its ring
}

TEST_F(EngineLmSession, WrongConditionsAreRefused) {
  MoshiSession* session = lm_session(lm_loaded());
  const float values[] = {1, std::nanf("")};
  const auto refused = [&](auto change) {
    MoshiCondition one = condition("voice", nullptr);
    one.tensor = values;
    one.rows = one.columns = 1;
    change(one);
    const MoshiStatus status = api.session_set_conditions(session, &one, 1, &error);
    return status;
  };
  EXPECT_EQ(refused([](auto&) {}), MOSHI_OK) << error.message;
  EXPECT_EQ(refused([](auto& one) { one.size = 4; }), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(refused([](auto& one) { one.name = nullptr; }), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(refused([](auto& one) { one.text = "calm"; }), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(refused([](auto& one) { one.rows = 0; }), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(refused([](auto& one) { one.columns = INT64_MAX; }), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(refused([](auto& one) { one.columns = 2; }), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(refused([](auto& one) { one.name = "unheard"; }), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_TRUE(says("no condition \"unheard\"")) << error.message;
  EXPECT_EQ(api.session_set_conditions(session, nullptr, 1, &error), MOSHI_ERR_INVALID_ARGUMENT);
}

TEST_F(EngineLmSession, StatesAreForkedSavedAndLoaded) {
  MoshiEngine* engine = lm_loaded();
  const auto user = heard(6, 1);
  const auto expected = alone(engine, user);
  const std::vector<int32_t> begin(user.begin(), user.begin() + 3 * stub::kUser);
  const std::vector<int32_t> end(user.begin() + 3 * stub::kUser, user.end());
  const std::vector<int32_t> rest(expected.begin() + 3 * kWidth, expected.end());
  MoshiSession* session = lm_session(engine);
  sampled(session, begin);
  size_t bytes = 0;
  ASSERT_EQ(api.session_save(session, nullptr, &bytes, &error), MOSHI_OK);
  std::vector<std::byte> state(bytes);
  ASSERT_EQ(api.session_save(session, state.data(), &bytes, &error), MOSHI_OK);
  MoshiSession* copy = forked(session);
  EXPECT_EQ(seed(copy), seed(session));
  EXPECT_EQ(sampled(session, end), rest);
  EXPECT_EQ(sampled(copy, end), rest);
  MoshiSession* loaded_one = lm_session(engine);
  ASSERT_EQ(api.session_load(loaded_one, state.data(), bytes, &error), MOSHI_OK) << error.message;
  EXPECT_EQ(sampled(loaded_one, end), rest);
  EXPECT_EQ(api.session_load(lm_session(lm_loaded("b")), state.data(), bytes, &error), MOSHI_ERR_MISMATCH);
  state.back() ^= std::byte{1};
  EXPECT_EQ(api.session_load(loaded_one, state.data(), bytes, &error), MOSHI_ERR_FORMAT);
}

/// Counts the calls of an engine's hooks and whom they were for, and makes every row say 9 and then 5.
struct Listener {
  std::mutex mutex;
  std::vector<std::vector<MoshiSession*>> logits, text, audio;

  MoshiStepHooks hooks() {
    MoshiStepHooks result = MOSHI_INIT(MoshiStepHooks);
    result.user = this;
    result.text_logits = [](void* user, int32_t rows, MoshiSession* const* sessions, void* data, int64_t stride) {
      auto* self = static_cast<Listener*>(user);
      self->note(self->logits, rows, sessions);
      for (int32_t r = 0; r < rows; ++r) static_cast<float*>(data)[r * stride + 9] += 50.0f;
    };
    result.text = [](void* user, int32_t rows, MoshiSession* const* sessions, void* data, int64_t stride) {
      auto* self = static_cast<Listener*>(user);
      self->note(self->text, rows, sessions);
      for (int32_t r = 0; r < rows; ++r) {
        int32_t& token = static_cast<int32_t*>(data)[r * stride];
        EXPECT_EQ(token, 9);
        token = 5;
      }
    };
    result.audio = [](void* user, int32_t rows, MoshiSession* const* sessions, void* data, int64_t stride) {
      auto* self = static_cast<Listener*>(user);
      self->note(self->audio, rows, sessions);
      for (int32_t r = 0; r < rows; ++r) static_cast<int32_t*>(data)[r * stride + 1] = 1;
    };
    return result;
  }
  void note(std::vector<std::vector<MoshiSession*>>& list, int32_t rows, MoshiSession* const* sessions) {
    std::lock_guard lock(mutex);
    list.emplace_back(sessions, sessions + rows);
    std::sort(list.back().begin(), list.back().end());
  }
};

TEST_F(EngineLmSession, HooksAreForTheSessionsOfTheirEngineOncePerStep) {
  MoshiEngine* listening = lm_loaded();
  MoshiEngine* deaf = lm_loaded();
  Listener listener;
  const MoshiStepHooks hooks = listener.hooks();
  const auto expected = alone(deaf, heard(1, 0));
  std::vector<MoshiSession*> sessions, listened;
  std::vector<std::unique_ptr<Steps>> works;
  MoshiSession* first = lm_session(deaf);
  Steps holding(heard(1, 99));
  control.hold();
  submit(first, holding);
  control.wait_for_held();
  ASSERT_EQ(api.engine_set_hooks(listening, &hooks, &error), MOSHI_OK) << error.message;
  for (int i = 0; i < 6; ++i) {
    sessions.push_back(lm_session(i % 2 ? deaf : listening));
    if (i % 2 == 0) listened.push_back(sessions.back());
    works.push_back(std::make_unique<Steps>(heard(1, 0)));
    submit(sessions.back(), *works.back());
  }
  std::sort(listened.begin(), listened.end());
  control.let_all();
  for (size_t i = 0; i < sessions.size(); ++i) {
    EXPECT_EQ(wait(sessions[i], *works[i]), MOSHI_OK);
    if (i % 2) {
      EXPECT_EQ(works[i]->sampled, expected);
    } else {
      EXPECT_EQ(works[i]->sampled[0], 5);
      EXPECT_EQ(works[i]->sampled[2], 1);
    }
  }
  const std::vector<std::vector<MoshiSession*>> once{listened};
  EXPECT_EQ(listener.logits, once);
  EXPECT_EQ(listener.text, once);
  EXPECT_EQ(listener.audio, once);
}

TEST_F(EngineLmSession, HooksAreTakenAway) {
  MoshiEngine* engine = lm_loaded();
  MoshiSession* session = lm_session(engine);
  const auto expected = alone(engine, heard(1, 0));
  Listener listener;
  const MoshiStepHooks hooks = listener.hooks();
  ASSERT_EQ(api.engine_set_hooks(engine, &hooks, &error), MOSHI_OK);
  ASSERT_EQ(api.engine_set_hooks(engine, nullptr, &error), MOSHI_OK);
  EXPECT_EQ(sampled(session, heard(1, 0)), expected);
  MoshiStepHooks small = hooks;
  small.size = 8;
  EXPECT_EQ(api.engine_set_hooks(engine, &small, &error), MOSHI_ERR_INVALID_ARGUMENT);
}

}  // namespace

// SPDX-License-Identifier: MIT
// The conversations of moshi/core.hpp over the engine's table.
#include "engine_lm_fixture.h"
#include "moshi/core.hpp"

namespace {

namespace mc = moshi::core;
using fixture::heard;
using fixture::LmTest;

constexpr size_t kWidth = 1 + stub::kOwn;

class CoreLmHpp : public LmTest {
 protected:
  mc::Core core = *mc::Core::from_api(&moshi::engine::core_table());
  mc::Engine loaded_engine() {
    auto engine = core.open({.model = "a", .roles = MOSHI_ROLE_LM, .lora = "/loras/one", .lora_separate = true});
    EXPECT_TRUE(engine) << engine.error().message;
    EXPECT_TRUE(engine->wait());
    return std::move(*engine);
  }
  static mc::LmSession opened(const mc::Engine& engine, mc::LmOptions options = {.seed = 1}) {
    auto session = mc::LmSession::open(engine, options);
    EXPECT_TRUE(session) << session.error().message;
    return std::move(*session);
  }
  static std::vector<int32_t> stepped(mc::LmSession& session, const std::vector<int32_t>& user,
                                      const mc::StepOptions& options = {}) {
    std::vector<int32_t> tokens(user.size() / stub::kUser * kWidth, -99);
    const auto done = session.step(user, tokens, options);
    EXPECT_TRUE(done) << done.error().message;
    return tokens;
  }
};

TEST_F(CoreLmHpp, AConversationAFrameAtATime) {
  const mc::Engine engine = loaded_engine();
  EXPECT_EQ(lm_requests.back().lora, "/loras/one");
  EXPECT_TRUE(lm_requests.back().lora_separate);
  EXPECT_EQ(engine.lm_info()->own_streams, stub::kOwn);
  const auto user = heard(6, 1);
  mc::LmSession whole = opened(engine);
  const auto expected = stepped(whole, user);
  mc::LmSession session = opened(engine);
  EXPECT_EQ(session.user_width(), static_cast<size_t>(stub::kUser));
  EXPECT_EQ(session.token_width(), kWidth);
  std::vector<int32_t> all;
  for (int frame = 0; frame < 6; ++frame) {
    const auto at = user.begin() + frame * stub::kUser;
    const auto tokens = stepped(session, {at, at + stub::kUser});
    all.insert(all.end(), tokens.begin(), tokens.end());
  }
  EXPECT_EQ(all, expected);
  EXPECT_TRUE(session.reset());
  EXPECT_EQ(stepped(session, user), expected);
  EXPECT_EQ(stepped(session, user, {.reset = true}), expected);
}

TEST_F(CoreLmHpp, StatesGoOnElsewhere) {
  const mc::Engine engine = loaded_engine();
  mc::LmSession session = opened(engine);
  stepped(session, heard(3, 1));
  auto state = session.save();
  ASSERT_TRUE(state);
  auto copy = session.fork();
  ASSERT_TRUE(copy);
  mc::LmSession other = opened(engine);
  ASSERT_TRUE(other.load(*state));
  const auto next = stepped(session, heard(2, 2));
  EXPECT_EQ(stepped(*copy, heard(2, 2)), next);
  EXPECT_EQ(stepped(other, heard(2, 2)), next);
}

TEST_F(CoreLmHpp, SettingsSeedsConditionsAndPieces) {
  const mc::Engine engine = loaded_engine();
  mc::LmSession session = opened(engine, {.seed = -1, .max_sessions = 1});
  EXPECT_EQ(mc::LmSession::open(engine, {.max_sessions = 1}).error().status, MOSHI_ERR_BUSY);
  EXPECT_GE(*session.seed(), 0);
  EXPECT_TRUE(session.set("temperature", 0.3));
  EXPECT_EQ(session.set("loudness", 0.3).error().status, MOSHI_ERR_NOT_SUPPORTED);
  const std::vector<float> voice(6);
  const std::vector<uint8_t> mask{1, 0};
  mc::Condition conditions[] = {{.name = "description", .text = "calm"},
                                {.name = "voice", .text = "", .tensor = voice, .columns = 3, .mask = mask}};
  EXPECT_TRUE(session.set_conditions(conditions));
  conditions[1].columns = 4;
  EXPECT_EQ(session.set_conditions(conditions).error().status, MOSHI_ERR_INVALID_ARGUMENT);
  conditions[1].columns = 6;
  EXPECT_EQ(session.set_conditions(conditions).error().status, MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(mc::piece(engine, 5)->bytes, " 5");
  EXPECT_EQ(mc::piece(engine, 3)->kind, MOSHI_PIECE_NONE);
}

TEST_F(CoreLmHpp, SpansOfTheWrongLengthAreRefused) {
  const mc::Engine engine = loaded_engine();
  mc::LmSession session = opened(engine);
  const auto user = heard(2, 1);
  std::vector<int32_t> tokens(2 * kWidth);
  const auto refused = [&](std::span<const int32_t> from, std::span<int32_t> to, const mc::StepOptions& options) {
    const auto done = session.step(from, to, options);
    return !done && done.error().status == MOSHI_ERR_INVALID_ARGUMENT;
  };
  const std::vector<int32_t> one(1);
  const std::vector<float> bias(1);
  EXPECT_TRUE(refused(std::span(user).first(5), tokens, {}));
  EXPECT_TRUE(refused({}, tokens, {}));
  EXPECT_TRUE(refused(user, std::span(tokens).first(5), {}));
  EXPECT_TRUE(refused(user, tokens, {.forced_text = one}));
  EXPECT_TRUE(refused(user, tokens, {.forced_audio = one}));
  EXPECT_TRUE(refused(user, tokens, {.logit_bias = bias}));
  const std::vector<int32_t> text{4, 6};
  EXPECT_TRUE(session.step(user, tokens, {.forced_text = text}));
}

}  // namespace

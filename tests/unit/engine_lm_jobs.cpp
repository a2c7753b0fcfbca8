// SPDX-License-Identifier: MIT
// Step jobs: what is checked, what comes out, what goes wrong for one and not for others.
#include <cmath>
#include <limits>

#include "engine_lm_fixture.h"

namespace {

using fixture::heard;
using fixture::LmTest;
using fixture::Steps;

constexpr int kWidth = 1 + stub::kOwn;

class EngineLmJobs : public LmTest {};

TEST_F(EngineLmJobs, StepsGiveWhatTheModelSays) {
  MoshiEngine* engine = lm_loaded();
  MoshiSession* session = lm_session(engine);
  Steps steps(heard(6, 1));
  std::vector<float> text(6 * stub::kTextCard, -1), audio(6 * stub::kOwn * stub::kCard, -1);
  std::vector<float> heads(6 * stub::kHeads * stub::kHeadWidth, -1);
  steps.job.text_logits_out = text.data();
  steps.job.audio_logits_out = audio.data();
  steps.job.extra_heads_out = heads.data();
  ASSERT_EQ(run(session, steps), MOSHI_OK) << error.message;
  EXPECT_EQ(steps.job.frames_done, 6);
  EXPECT_EQ(std::count(steps.tokens.begin(), steps.tokens.end(), MOSHI_TOKEN_NONE), stub::kMaxDelay * kWidth);
  EXPECT_EQ(std::count(steps.tokens.begin(), steps.tokens.end(), -99), 0);
  EXPECT_EQ(std::count(text.begin(), text.end(), -1), 0);
  EXPECT_EQ(std::count(audio.begin(), audio.end(), -1), 0);
  EXPECT_EQ(std::count(heads.begin(), heads.end(), -1), 0);
}

TEST_F(EngineLmJobs, HowStepsAreGroupedChangesNothing) {
  MoshiEngine* engine = lm_loaded();
  const auto user = heard(12, 1);
  const auto expected = alone(engine, user);
  MoshiSession* session = lm_session(engine);
  std::vector<int32_t> all;
  for (int at = 0; at < 12;) {
    const int frames = std::min(1 + at % 3, 12 - at);
    const auto part = sampled(session, {user.begin() + at * stub::kUser, user.begin() + (at + frames) * stub::kUser});
    all.insert(all.end(), part.begin(), part.end());
    at += frames;
  }
  EXPECT_EQ(all, expected);
}

TEST_F(EngineLmJobs, ManySessionsShareACallAndNobodyElsesTokens) {
  MoshiEngine* engine = lm_loaded();
  constexpr int kSessions = 20;
  std::vector<std::vector<int32_t>> expected;
  std::vector<MoshiSession*> sessions;
  std::vector<std::unique_ptr<Steps>> works;
  for (int i = 0; i < kSessions; ++i) {
    expected.push_back(alone(engine, heard(1 + i % 4, static_cast<uint64_t>(i)), i));
    sessions.push_back(lm_session(engine, i));
    works.push_back(std::make_unique<Steps>(heard(1 + i % 4, static_cast<uint64_t>(i))));
  }
  MoshiSession* first = lm_session(engine);
  Steps holding(heard(1, 99));
  control.hold();
  submit(first, holding);
  control.wait_for_held();
  control.forget_calls();
  for (int i = 0; i < kSessions; ++i) submit(sessions[static_cast<size_t>(i)], *works[static_cast<size_t>(i)]);
  control.let_all();
  for (size_t i = 0; i < works.size(); ++i) {
    EXPECT_EQ(wait(sessions[i], *works[i]), MOSHI_OK) << error.message;
    EXPECT_EQ(works[i]->sampled, expected[i]) << i;
  }
  EXPECT_EQ(control.calls().front().items.size(), static_cast<size_t>(kSessions));
}

TEST_F(EngineLmJobs, FilesRunTogetherInPiecesOfAQuantum) {
  MoshiEngine* engine = lm_loaded();
  lm_session(engine);  // a live one, which has nothing to do
  std::vector<MoshiSession*> sessions;
  std::vector<std::unique_ptr<Steps>> works;
  MoshiSession* first = lm_session(engine, 1, MOSHI_CLASS_FILE);
  Steps holding(heard(1, 99));
  control.hold();
  submit(first, holding);
  control.wait_for_held();
  control.forget_calls();
  for (uint64_t i = 0; i < 8; ++i) {
    sessions.push_back(lm_session(engine, 1, MOSHI_CLASS_FILE));
    works.push_back(std::make_unique<Steps>(heard(15, i)));
    submit(sessions.back(), *works.back());
  }
  control.let_all();
  for (size_t i = 0; i < works.size(); ++i) EXPECT_EQ(wait(sessions[i], *works[i]), MOSHI_OK);
  // A step takes 2 ms and a quantum 10: five steps of all rows.
  const auto calls = control.calls();
  EXPECT_EQ(calls.front().items.size(), 8u);
  EXPECT_EQ(calls.front().items.front().frames, 5);
}

TEST_F(EngineLmJobs, WrongJobsAreRefused) {
  MoshiSession* session = lm_session(lm_loaded());
  const auto refused = [&](auto change) {
    Steps steps(heard(2, 1));
    change(steps.job);
    const MoshiStatus status = api.submit(session, &steps.job, &error);
    EXPECT_NE(std::string(error.message), "");
    return status;
  };
  EXPECT_EQ(refused([](auto& job) { job.frames = 0; }), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(refused([](auto& job) { job.tokens_out = nullptr; }), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_TRUE(says("tokens_out")) << error.message;
  EXPECT_EQ(refused([](auto& job) { job.flags = 4; }), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(refused([](auto& job) { job.kind = MOSHI_JOB_DECODE; }), MOSHI_ERR_INVALID_ARGUMENT);
}

TEST_F(EngineLmJobs, ATokenOutOfRangeIsNamedAndWhatIsBeforeItIsDone) {
  MoshiEngine* engine = lm_loaded();
  const auto user = heard(5, 1);
  const auto expected = alone(engine, user);
  for (const int32_t bad : {-2, stub::kCard + 1, INT32_MAX, MOSHI_TOKEN_GENERATE}) {
    MoshiSession* session = lm_session(engine);
    Steps steps(user);
    steps.user[3 * stub::kUser + 2] = bad;
    EXPECT_EQ(run(session, steps), MOSHI_ERR_DATA);
    EXPECT_TRUE(says("frame 3, user stream 2") && says(std::to_string(bad)) && says("-1 to 64")) << error.message;
    EXPECT_EQ(steps.job.frames_done, 3);
    EXPECT_TRUE(std::equal(expected.begin(), expected.begin() + 3 * kWidth, steps.sampled.begin()));
    // The conversation goes on behind the good frames.
    const auto rest = sampled(session, {user.begin() + 3 * stub::kUser, user.end()});
    EXPECT_TRUE(std::equal(rest.begin(), rest.end(), expected.begin() + 3 * kWidth));
  }
}

TEST_F(EngineLmJobs, ForcedTokensAreCheckedToo) {
  MoshiEngine* engine = lm_loaded();
  MoshiSession* session = lm_session(engine);
  Steps steps(heard(2, 1));
  std::vector<int32_t> text{MOSHI_TOKEN_GENERATE, stub::kTextCard + 1};
  steps.job.forced_text = text.data();
  EXPECT_EQ(run(session, steps), MOSHI_ERR_DATA);
  EXPECT_TRUE(says("frame 1, forced text") && says("-1 to 20")) << error.message;
  steps.job.flags = MOSHI_JOB_RESET;
  text[1] = 7;
  std::vector<int32_t> audio{1, MOSHI_TOKEN_GENERATE, 2, stub::kCard + 1};
  steps.job.forced_audio = audio.data();
  EXPECT_EQ(run(session, steps), MOSHI_ERR_DATA);
  EXPECT_TRUE(says("frame 1, forced stream 1") && says("-1 to 64")) << error.message;
  audio[3] = 9;
  EXPECT_EQ(run(session, steps), MOSHI_OK) << error.message;
  EXPECT_EQ(steps.sampled[kWidth], 7);
  EXPECT_EQ(steps.sampled[1], 1);
  EXPECT_EQ(steps.sampled[kWidth + 2], 9);
}

TEST_F(EngineLmJobs, TheHighestTokensAreTaken) {
  MoshiSession* session = lm_session(lm_loaded());
  Steps steps({-1, stub::kCard, 0});
  const int32_t text = stub::kTextCard;
  const int32_t audio[] = {-1, stub::kCard};
  steps.job.forced_text = &text;
  steps.job.forced_audio = audio;
  EXPECT_EQ(run(session, steps), MOSHI_OK) << error.message;
}

TEST_F(EngineLmJobs, UserTokensMayBeLeftOut) {
  MoshiEngine* engine = lm_loaded();
  MoshiSession* session = lm_session(engine);
  Steps steps(heard(3, 1));
  steps.job.user_tokens = nullptr;
  EXPECT_EQ(run(session, steps), MOSHI_OK);
  EXPECT_EQ(steps.sampled, alone(engine, std::vector<int32_t>(3 * stub::kUser, MOSHI_TOKEN_ZERO)));
}

TEST_F(EngineLmJobs, ATextOnlyStepLeavesAudioOut) {
  MoshiSession* session = lm_session(lm_loaded());
  Steps steps(heard(1, 1));
  steps.job.flags = MOSHI_JOB_TEXT_ONLY;
  ASSERT_EQ(run(session, steps), MOSHI_OK);
  EXPECT_EQ(steps.sampled[1], MOSHI_TOKEN_ZERO);
  EXPECT_EQ(steps.sampled[2], MOSHI_TOKEN_ZERO);
}

TEST_F(EngineLmJobs, ABiasMovesTheText) {
  MoshiSession* session = lm_session(lm_loaded());
  Steps steps(heard(2, 1));
  std::vector<float> bias(stub::kTextCard, 0.0f);
  bias[11] = 5.0f;
  steps.job.logit_bias = bias.data();
  ASSERT_EQ(run(session, steps), MOSHI_OK);
  EXPECT_EQ(steps.sampled[0], 11);
  EXPECT_EQ(steps.sampled[kWidth], 11);
}

TEST_F(EngineLmJobs, ABiasThatIsNoneLeavesTheConversationAsItWas) {
  MoshiSession* session = lm_session(lm_loaded());
  Steps steps(heard(2, 1));
  std::vector<float> bias(stub::kTextCard, 0.0f);
  bias[3] = std::nanf("");
  steps.job.logit_bias = bias.data();
  EXPECT_EQ(run(session, steps), MOSHI_ERR_DATA);
  EXPECT_TRUE(says("logit_bias")) << error.message;
  EXPECT_EQ(steps.job.frames_done, 0);
  bias[3] = -std::numeric_limits<float>::infinity();
  EXPECT_EQ(run(session, steps), MOSHI_OK) << error.message;
  EXPECT_NE(steps.sampled[0], 3);
}

TEST_F(EngineLmJobs, AStepThatFailsIsNamedAndLeavesOthersAlone) {
  MoshiEngine* engine = lm_loaded();
  const auto user = heard(4, 1);
  const auto expected = alone(engine, user);
  MoshiSession* bad = lm_session(engine);
  MoshiSession* good = lm_session(engine);
  MoshiSession* first = lm_session(engine);
  Steps holding(heard(1, 99)), broken(user), fine(user);
  broken.user[2 * stub::kUser] = stub::kPoison;
  control.hold();
  submit(first, holding);
  control.wait_for_held();
  submit(bad, broken);
  submit(good, fine);
  control.let_all();
  EXPECT_EQ(wait(bad, broken), MOSHI_ERR_DATA);
  EXPECT_TRUE(says("step 2") && says("the text logits are not finite")) << error.message;
  EXPECT_EQ(broken.job.frames_done, 2);
  EXPECT_EQ(wait(good, fine), MOSHI_OK);
  EXPECT_EQ(fine.sampled, expected);
  // It is between two steps until it is reset.
  Steps again(user);
  EXPECT_EQ(run(bad, again), MOSHI_ERR_INTERNAL);
  EXPECT_TRUE(says("reset")) << error.message;
  EXPECT_EQ(api.session_reset(bad, &error), MOSHI_OK);
  EXPECT_EQ(sampled(bad, user), expected);
}

TEST_F(EngineLmJobs, ACallThatThrowsFailsItsRows) {
  MoshiSession* session = lm_session(lm_loaded());
  control.throw_in_call = true;
  Steps steps(heard(1, 1));
  EXPECT_EQ(run(session, steps), MOSHI_ERR_INTERNAL);
  EXPECT_EQ(steps.job.frames_done, 0);
  steps.job.flags = MOSHI_JOB_RESET;
  EXPECT_EQ(run(session, steps), MOSHI_OK);
}

TEST_F(EngineLmJobs, CancelEndsARunningJobAfterItsQuantum) {
  MoshiEngine* engine = lm_loaded();
  MoshiSession* session = lm_session(engine);
  Steps running(heard(60, 1)), queued(heard(1, 2));
  control.hold();
  submit(session, running);
  control.wait_for_held();
  submit(session, queued);
  api.session_cancel(session);
  EXPECT_EQ(wait(session, queued), MOSHI_ERR_CANCELLED);
  control.let_all();
  EXPECT_EQ(wait(session, running), MOSHI_ERR_CANCELLED);
  EXPECT_EQ(running.job.frames_done, 5);
}

}  // namespace

// SPDX-License-Identifier: MIT
// Which jobs run together, in what order and in what pieces: as the codec sees it, and the rules by themselves.
#include "engine/cost_model.h"
#include "engine_fixture.h"

namespace {

using fixture::audio;
using fixture::codes;
using fixture::Direction;
using fixture::EngineTest;
using fixture::Work;
using stub::Call;

class EngineScheduler : public EngineTest {
 protected:
  using Works = std::vector<std::unique_ptr<Work>>;

  /// Keeps the executor busy with a job of `session`, so that what is submitted then waits together.
  void keep_busy(MoshiSession* session, Work& work) {
    control.hold();
    submit(session, work);
    control.wait_for_held();
    control.forget_calls();
  }

  static std::vector<const void*> inputs(const Call& call) {
    std::vector<const void*> result;
    for (const Call::Item& item : call.items) result.push_back(item.input);
    return result;
  }
};

TEST_F(EngineScheduler, WaitingFramesOfManySessionsRunAsOneCall) {
  MoshiEngine* engine = loaded();
  MoshiEngine* other = loaded();  // another element's reference to the same model
  auto first = Work::encode(audio(1, 0));
  MoshiSession* busy = session(engine);
  keep_busy(busy, *first);
  Works works;
  std::vector<MoshiSession*> streams;
  for (int i = 0; i < 5; ++i) {
    streams.push_back(session(i % 2 ? engine : other));
    works.push_back(Work::encode(audio(1, 10 + static_cast<uint64_t>(i))));
    submit(streams.back(), *works.back());
  }
  control.let_all();
  for (size_t i = 0; i < works.size(); ++i) {
    EXPECT_EQ(wait(streams[i], *works[i]), MOSHI_OK);
    EXPECT_EQ(works[i]->codes, stub::encoded(works[i]->pcm, stub::kCodebooks));
  }
  const auto calls = control.calls();
  ASSERT_EQ(calls.size(), 1u);
  EXPECT_EQ(calls[0].items.size(), 5u);

  MoshiEngineStats stats = MOSHI_INIT(MoshiEngineStats);
  ASSERT_EQ(api.engine_stats(engine, &stats, &error), MOSHI_OK);
  EXPECT_EQ(stats.calls, 2u);
  EXPECT_EQ(stats.frames, 6u);
  EXPECT_EQ(stats.batched_rows, 6u);
  EXPECT_EQ(stats.busy_ns, 2'000'000 + 2'000'000 + 4 * 1'000'000);
}

TEST_F(EngineScheduler, NothingWaitsForABatchToFill) {
  MoshiEngine* engine = loaded();
  MoshiSession* stream = session(engine);
  session(engine);  // another one, idle
  auto work = Work::encode(audio(1, 1));
  EXPECT_EQ(run(stream, *work), MOSHI_OK);
  EXPECT_EQ(control.calls().size(), 1u);
}

TEST_F(EngineScheduler, DirectionsAndModelsDoNotMix) {
  MoshiEngine* a = loaded("a");
  MoshiEngine* b = loaded("b");
  MoshiSession* busy = session(a);
  auto first = Work::encode(audio(1, 0));
  keep_busy(busy, *first);
  MoshiSession* streams[] = {session(a), session(a), session(b)};
  auto encode = Work::encode(audio(1, 1));
  auto decode = Work::decode(codes(1, 8, 2));
  auto elsewhere = Work::encode(audio(1, 3));
  submit(streams[0], *encode);
  submit(streams[1], *decode);
  submit(streams[2], *elsewhere);
  control.let_all();
  EXPECT_EQ(wait(streams[0], *encode), MOSHI_OK);
  EXPECT_EQ(wait(streams[1], *decode), MOSHI_OK);
  EXPECT_EQ(wait(streams[2], *elsewhere), MOSHI_OK);
  EXPECT_EQ(control.calls().size(), 3u);
  EXPECT_EQ(decode->pcm, stub::decoded(decode->codes, 8));
}

TEST_F(EngineScheduler, EarliestDeadlineFirst) {
  MoshiEngine* engine = loaded();
  MoshiSession* busy = session(engine);
  auto first = Work::encode(audio(1, 0));
  keep_busy(busy, *first);
  // Decodes and encodes cannot share a call, so that the order of calls shows the order of deadlines.
  auto late = Work::encode(audio(1, 1));
  auto early = Work::decode(codes(1, 8, 2));
  auto never = Work::encode(audio(1, 3));
  late->job.deadline_ns = control.now_ns + 50'000'000;
  early->job.deadline_ns = control.now_ns + 40'000'000;
  MoshiSession* streams[] = {session(engine), session(engine), session(engine)};
  submit(streams[2], *never);
  submit(streams[0], *late);
  submit(streams[1], *early);
  control.let_all();
  EXPECT_EQ(wait(streams[2], *never), MOSHI_OK);
  EXPECT_EQ(wait(streams[0], *late), MOSHI_OK);
  EXPECT_EQ(wait(streams[1], *early), MOSHI_OK);
  const auto calls = control.calls();
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_EQ(calls[0].direction, Direction::kDecode);
  EXPECT_EQ(inputs(calls[1]), (std::vector<const void*>{late->pcm.data(), never->pcm.data()}));
}

TEST_F(EngineScheduler, AFileIsCutIntoQuantaAndYieldsToLiveJobs) {
  MoshiEngine* engine = loaded();
  MoshiSession* file = session(engine, MOSHI_CLASS_FILE);
  MoshiSession* live = session(engine, MOSHI_CLASS_LIVE);
  auto archive = Work::encode(audio(30, 1));
  auto frame = Work::encode(audio(1, 2));
  keep_busy(file, *archive);
  submit(live, *frame);
  control.let(2);
  EXPECT_EQ(wait(live, *frame), MOSHI_OK);
  EXPECT_EQ(api.wait(file, &archive->job, 0, &error), MOSHI_ERR_TIMEOUT);
  control.let_all();
  EXPECT_EQ(wait(file, *archive), MOSHI_OK);
  EXPECT_EQ(archive->codes, stub::encoded(archive->pcm, stub::kCodebooks));
  const auto calls = control.calls();
  // The quantum of 10 ms has room for 2 ms of a first frame and eight more of 1 ms.
  ASSERT_GE(calls.size(), 4u);
  EXPECT_EQ(inputs(calls[0]), (std::vector<const void*>{frame->pcm.data()}));
  EXPECT_EQ(calls[1].frames(), 9);
  EXPECT_EQ(calls[2].frames(), 9);
  EXPECT_EQ(calls[3].frames(), 3);
}

TEST_F(EngineScheduler, WithoutLiveSessionsQuantaAreLong) {
  MoshiEngine* engine = loaded();
  MoshiSession* file = session(engine, MOSHI_CLASS_FILE);
  auto archive = Work::encode(audio(100, 1));
  EXPECT_EQ(run(file, *archive), MOSHI_OK);
  const auto calls = control.calls();
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_EQ(calls[0].frames(), 64);  // the most that one row has in a call
  EXPECT_EQ(calls[1].frames(), 36);
  EXPECT_EQ(archive->codes, stub::encoded(archive->pcm, stub::kCodebooks));
}

TEST_F(EngineScheduler, LiveJobsGoFirstWhateverTheDeadlines) {
  MoshiEngine* engine = loaded();
  MoshiSession* busy = session(engine);
  auto first = Work::encode(audio(1, 0));
  keep_busy(busy, *first);
  MoshiSession* file = session(engine, MOSHI_CLASS_FILE);
  MoshiSession* live = session(engine, MOSHI_CLASS_LIVE);
  auto urgent = Work::encode(audio(1, 1));
  urgent->job.deadline_ns = 1;
  auto frame = Work::encode(audio(1, 2));
  submit(file, *urgent);
  submit(live, *frame);
  control.let_all();
  EXPECT_EQ(wait(file, *urgent), MOSHI_OK);
  EXPECT_EQ(wait(live, *frame), MOSHI_OK);
  const auto calls = control.calls();
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_EQ(inputs(calls[0]), (std::vector<const void*>{frame->pcm.data()}));
}

TEST_F(EngineScheduler, ExpensiveFramesGoOneByOneAndEqualsTakeTurns) {
  control.first_ns = 16'000'000;
  control.more_ns = 4'000'000;
  MoshiEngine* engine = loaded();
  MoshiSession* live = session(engine, MOSHI_CLASS_LIVE);
  auto busy = Work::encode(audio(1, 1));
  keep_busy(live, *busy);
  constexpr size_t kStreams = 4;
  Works works;
  std::vector<MoshiSession*> streams;
  for (size_t i = 0; i < kStreams; ++i) {
    streams.push_back(session(engine, MOSHI_CLASS_FILE));
    works.push_back(Work::encode(audio(3, i)));
    submit(streams[i], *works[i]);
  }
  control.let_all();
  for (size_t i = 0; i < kStreams; ++i) EXPECT_EQ(wait(streams[i], *works[i]), MOSHI_OK);
  const auto calls = control.calls();
  ASSERT_EQ(calls.size(), 3 * kStreams);
  for (size_t i = 0; i < calls.size(); ++i) {
    EXPECT_EQ(calls[i].frames(), 1);
    const float* expected = works[i % kStreams]->pcm.data() + i / kStreams * stub::kFrameSamples;
    EXPECT_EQ(calls[i].items[0].input, expected) << "call " << i;
  }
}

TEST_F(EngineScheduler, RaggedJobsShareCalls) {
  MoshiEngine* engine = loaded();
  MoshiSession* busy = session(engine);
  auto first = Work::encode(audio(1, 0));
  keep_busy(busy, *first);
  Works works;
  std::vector<MoshiSession*> streams;
  for (const int frames : {1, 7, 2, 20}) {
    streams.push_back(session(engine));
    works.push_back(Work::encode(audio(frames, static_cast<uint64_t>(frames)), 1 + frames % 8));
    submit(streams.back(), *works.back());
  }
  control.let_all();
  for (size_t i = 0; i < works.size(); ++i) {
    EXPECT_EQ(wait(streams[i], *works[i]), MOSHI_OK);
    EXPECT_EQ(works[i]->job.frames_done, works[i]->job.frames);
    EXPECT_EQ(works[i]->codes, stub::encoded(works[i]->pcm, works[i]->job.codebooks));
  }
  const auto calls = control.calls();
  EXPECT_EQ(calls[0].items.size(), 4u);
  EXPECT_EQ(calls[0].frames(), 9);  // each has one, and the quantum is shared out
}

TEST_F(EngineScheduler, ManyRowsAreSplitWithTheMostUrgentFirst) {
  MoshiEngine* engine = loaded();
  MoshiSession* busy = session(engine);
  auto first = Work::encode(audio(1, 0));
  keep_busy(busy, *first);
  Works works;
  std::vector<MoshiSession*> streams;
  for (int i = 0; i < 80; ++i) {
    streams.push_back(session(engine));
    works.push_back(Work::encode(audio(1, static_cast<uint64_t>(i))));
    works.back()->job.deadline_ns = control.now_ns + 1'000'000 * (100 - i);
    submit(streams.back(), *works.back());
  }
  control.let_all();
  for (size_t i = 0; i < works.size(); ++i) EXPECT_EQ(wait(streams[i], *works[i]), MOSHI_OK);
  const auto calls = control.calls();
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_EQ(calls[0].items.size(), 64u);
  EXPECT_EQ(calls[0].items[0].input, works[79]->pcm.data());
  EXPECT_EQ(calls[1].items[0].input, works[15]->pcm.data());
}

TEST_F(EngineScheduler, MissedDeadlinesOfLiveJobsAreCounted) {
  MoshiEngine* engine = loaded();
  MoshiSession* live = session(engine);
  MoshiSession* file = session(engine, MOSHI_CLASS_FILE);
  for (MoshiSession* stream : {live, file}) {
    auto in_time = Work::encode(audio(1, 1));
    in_time->job.deadline_ns = control.now_ns + 3'000'000;
    EXPECT_EQ(run(stream, *in_time), MOSHI_OK);
    auto late = Work::encode(audio(1, 1));
    late->job.deadline_ns = control.now_ns + 1'000'000;
    EXPECT_EQ(run(stream, *late), MOSHI_OK);
    EXPECT_EQ(late->job.run_ns, 2'000'000);
  }
  MoshiEngineStats stats = MOSHI_INIT(MoshiEngineStats);
  ASSERT_EQ(api.engine_stats(engine, &stats, &error), MOSHI_OK);
  EXPECT_EQ(stats.deadline_miss, 1u);
}

TEST_F(EngineScheduler, ASessionCanChangeItsClass) {
  MoshiEngine* engine = loaded();
  MoshiSession* busy = session(engine);
  auto first = Work::encode(audio(1, 0));
  keep_busy(busy, *first);
  MoshiSession* demoted = session(engine);
  MoshiSession* other = session(engine);
  auto slow = Work::encode(audio(1, 1));
  auto quick = Work::encode(audio(1, 2));
  submit(demoted, *slow);
  submit(other, *quick);
  EXPECT_EQ(api.session_set(demoted, "class", MOSHI_CLASS_FILE, &error), MOSHI_OK);
  EXPECT_EQ(api.session_set(demoted, "class", 0.5, &error), MOSHI_ERR_INVALID_ARGUMENT);
  control.let_all();
  EXPECT_EQ(wait(demoted, *slow), MOSHI_OK);
  EXPECT_EQ(wait(other, *quick), MOSHI_OK);
  const auto calls = control.calls();
  ASSERT_EQ(calls.size(), 2u);
  EXPECT_EQ(calls[0].items[0].input, quick->pcm.data());
}

TEST(CostModel, FindsHowManyFramesFit) {
  moshi::engine::CostModel cost;
  cost.set(16'000'000, 4'000'000);
  EXPECT_EQ(cost.frames_within(10'000'000, 64), 1);
  EXPECT_EQ(cost.frames_within(100'000'000, 64), 22);
  EXPECT_EQ(cost.frames_within(100'000'000, 10), 10);
  EXPECT_EQ(cost.estimate_ns(22), 100'000'000);
}

TEST(CostModel, FollowsTheMachine) {
  moshi::engine::CostModel cost;
  cost.set(10'000'000, 5'000'000);
  for (int i = 0; i < 200; ++i) cost.observe(3, 40'000'000);
  EXPECT_NEAR(static_cast<double>(cost.estimate_ns(3)), 40e6, 1e5);
  for (int i = 0; i < 1000; ++i) cost.observe(3, 1);
  EXPECT_GE(cost.estimate_ns(3), 5'000'000);  // one odd measurement must not make it believe that frames are free
}

}  // namespace

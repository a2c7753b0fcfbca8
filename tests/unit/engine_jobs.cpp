// SPDX-License-Identifier: MIT
// Jobs: what is checked, what happens on errors, cancellation, callbacks, and closing in the middle.
#include <cmath>
#include <limits>
#include <thread>

#include "engine_fixture.h"

namespace {

using fixture::audio;
using fixture::codes;
using fixture::EngineTest;
using fixture::Work;

class EngineJobs : public EngineTest {
 protected:
  /// A session whose first job is being computed, held back by the stub.
  MoshiSession* held(MoshiEngine* engine, Work& work, MoshiClass work_class = MOSHI_CLASS_LIVE) {
    MoshiSession* stream = session(engine, work_class);
    control.hold();
    submit(stream, work);
    control.wait_for_held();
    return stream;
  }
  std::string message() const { return error.message; }
};

TEST_F(EngineJobs, WrongJobsAreRefused) {
  MoshiEngine* engine = loaded();
  MoshiSession* stream = session(engine);
  const auto refused = [&](auto change) {
    auto work = Work::encode(audio(1, 1));
    change(work->job);
    const MoshiStatus status = api.submit(stream, &work->job, &error);
    EXPECT_NE(message(), "");
    return status;
  };
  EXPECT_EQ(refused([](auto& job) { job.size = 10; }), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(refused([](auto& job) { job.kind = static_cast<MoshiJobKind>(9); }), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(refused([](auto& job) { job.frames = 0; }), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(refused([](auto& job) { job.codebooks = 0; }), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(refused([](auto& job) { job.codebooks = 9; }), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_NE(message().find("1 to 8"), std::string::npos) << message();
  EXPECT_EQ(refused([](auto& job) { job.pcm_in = nullptr; }), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_NE(message().find("pcm_in"), std::string::npos) << message();
  EXPECT_EQ(refused([](auto& job) { job.codes_out = nullptr; }), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(refused([](auto& job) { job.flags = MOSHI_JOB_TEXT_ONLY; }), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(api.submit(stream, nullptr, &error), MOSHI_ERR_INVALID_ARGUMENT);
  MoshiSession* encoder = session(engine, MOSHI_CLASS_LIVE, MOSHI_ROLE_ENCODE);
  auto decode = Work::decode(codes(1, 8, 1));
  EXPECT_EQ(api.submit(encoder, &decode->job, &error), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_TRUE(control.calls().empty());
}

TEST_F(EngineJobs, WaitKnowsItsJobs) {
  MoshiEngine* engine = loaded();
  MoshiSession* stream = session(engine);
  MoshiSession* other = session(engine);
  auto work = Work::encode(audio(1, 1));
  EXPECT_EQ(wait(stream, *work), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(run(stream, *work), MOSHI_OK);
  EXPECT_EQ(wait(stream, *work), MOSHI_OK);
  EXPECT_EQ(wait(other, *work), MOSHI_ERR_INVALID_ARGUMENT);
  auto copy = std::make_unique<Work>(*work);  // a job is known by its address
  EXPECT_EQ(wait(stream, *copy), MOSHI_ERR_INVALID_ARGUMENT);
}

TEST_F(EngineJobs, WaitEndsWithItsTime) {
  MoshiEngine* engine = loaded();
  auto work = Work::encode(audio(1, 1));
  MoshiSession* stream = held(engine, *work);
  EXPECT_EQ(api.wait(stream, &work->job, 0, &error), MOSHI_ERR_TIMEOUT);
  EXPECT_EQ(api.wait(stream, &work->job, -5, &error), MOSHI_ERR_TIMEOUT);
  EXPECT_EQ(api.wait(stream, &work->job, 2'000'000, &error), MOSHI_ERR_TIMEOUT);
  control.let_all();
  EXPECT_EQ(api.wait(stream, &work->job, INT64_MAX - 1, &error), MOSHI_OK);
}

TEST_F(EngineJobs, AJobInFlightIsNotTakenTwice) {
  MoshiEngine* engine = loaded();
  auto work = Work::encode(audio(1, 1));
  MoshiSession* stream = held(engine, *work);
  EXPECT_EQ(api.submit(stream, &work->job, &error), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(api.submit(session(engine), &work->job, &error), MOSHI_ERR_INVALID_ARGUMENT);
  control.let_all();
  EXPECT_EQ(wait(stream, *work), MOSHI_OK);
  EXPECT_EQ(run(stream, *work), MOSHI_OK);  // again, now that it has ended
}

TEST_F(EngineJobs, JobsOfASessionRunInOrder) {
  MoshiEngine* engine = loaded();
  MoshiSession* stream = session(engine);
  const auto pcm = audio(12, 1);
  std::vector<std::unique_ptr<Work>> works;
  int at = 0;
  for (const int frames : {1, 5, 2, 1, 3}) {
    const auto begin = pcm.begin() + at * stub::kFrameSamples;
    works.push_back(Work::encode({begin, begin + frames * stub::kFrameSamples}));
    // Deadlines against the order: they must not matter within a session.
    works.back()->job.deadline_ns = control.now_ns + 1'000'000'000 - at * 1'000'000;
    submit(stream, *works.back());
    at += frames;
  }
  std::vector<uint16_t> all;
  for (const auto& work : works) {
    EXPECT_EQ(wait(stream, *work), MOSHI_OK);
    all.insert(all.end(), work->codes.begin(), work->codes.end());
  }
  EXPECT_EQ(all, stub::encoded(pcm, stub::kCodebooks));
}

TEST_F(EngineJobs, TooManyJobsAreBusy) {
  MoshiEngine* engine = loaded();
  auto first = Work::encode(audio(1, 1));
  MoshiSession* stream = held(engine, *first);
  std::vector<std::unique_ptr<Work>> works;
  MoshiStatus status = MOSHI_OK;
  while (status == MOSHI_OK && works.size() < 1000) {
    works.push_back(Work::encode(audio(1, 1)));
    status = api.submit(stream, &works.back()->job, &error);
  }
  EXPECT_EQ(status, MOSHI_ERR_BUSY);
  EXPECT_EQ(works.size(), 64u);  // with the first one, 64 were taken
  control.let_all();
  EXPECT_EQ(wait(stream, *works[62]), MOSHI_OK);
  EXPECT_EQ(run(stream, *works[63]), MOSHI_OK);
}

TEST_F(EngineJobs, ACodeOutOfRangeIsNamedAndWhatIsBeforeItIsDone) {
  MoshiEngine* engine = loaded();
  for (const int bad : {0, 3, 25}) {
    MoshiSession* stream = session(engine);
    const auto good = codes(30, 8, 1);
    auto data = good;
    data[static_cast<size_t>(bad) * 8 + 5] = 64;
    auto work = Work::decode(data);
    EXPECT_EQ(run(stream, *work), MOSHI_ERR_DATA);
    EXPECT_EQ(message().substr(0, message().find(" of the job")), "frame " + std::to_string(bad) + ", codebook 5");
    EXPECT_NE(message().find("64 is out of range"), std::string::npos) << message();
    EXPECT_EQ(work->job.status, MOSHI_ERR_DATA);
    EXPECT_STREQ(work->job.error.message, error.message);
    EXPECT_EQ(work->job.frames_done, bad);
    const auto expected = stub::decoded(good, 8);
    const auto samples = bad * stub::kFrameSamples;
    EXPECT_TRUE(std::equal(work->pcm.begin(), work->pcm.begin() + samples, expected.begin()));
    // The stream goes on behind the good frames.
    auto more = Work::decode({good.begin() + bad * 8, good.begin() + bad * 8 + 8});
    EXPECT_EQ(run(stream, *more), MOSHI_OK);
    EXPECT_TRUE(std::equal(more->pcm.begin(), more->pcm.end(), expected.begin() + samples));
  }
}

TEST_F(EngineJobs, ASampleThatIsNoNumberIsNamed) {
  MoshiEngine* engine = loaded();
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    MoshiSession* stream = session(engine);
    auto pcm = audio(3, 1);
    pcm[2 * stub::kFrameSamples + 3] = bad;
    auto work = Work::encode(pcm);
    EXPECT_EQ(run(stream, *work), MOSHI_ERR_DATA);
    EXPECT_NE(message().find("sample 35 "), std::string::npos) << message();
    EXPECT_EQ(work->job.frames_done, 2);
  }
  MoshiSession* stream = session(engine);
  std::vector<float> loud(stub::kFrameSamples, std::numeric_limits<float>::max());  // odd, but a number
  EXPECT_EQ(run(stream, *Work::encode(loud)), MOSHI_OK);
}

TEST_F(EngineJobs, ABadNeighborHurtsNobody) {
  MoshiEngine* engine = loaded();
  auto first = Work::encode(audio(1, 0));
  MoshiSession* busy = held(engine, *first);
  MoshiSession* good = session(engine);
  MoshiSession* bad = session(engine);
  auto fine = Work::encode(audio(2, 1));
  auto broken = Work::encode(std::vector<float>(stub::kFrameSamples, std::nanf("")));
  submit(bad, *broken);
  submit(good, *fine);
  control.let_all();
  EXPECT_EQ(wait(busy, *first), MOSHI_OK);
  EXPECT_EQ(wait(bad, *broken), MOSHI_ERR_DATA);
  EXPECT_EQ(wait(good, *fine), MOSHI_OK);
  EXPECT_EQ(fine->codes, stub::encoded(fine->pcm, stub::kCodebooks));
}

TEST_F(EngineJobs, AFailedCallIsReportedAndTheSessionMustBeReset) {
  MoshiEngine* engine = loaded();
  MoshiSession* stream = session(engine);
  control.throw_in_call = true;
  auto work = Work::encode(audio(1, 1));
  EXPECT_EQ(run(stream, *work), MOSHI_ERR_INTERNAL);
  EXPECT_STREQ(error.detail, "the stub was asked to fail");
  EXPECT_EQ(work->job.frames_done, 0);
  EXPECT_EQ(run(stream, *work), MOSHI_ERR_INTERNAL);
  EXPECT_NE(message().find("reset"), std::string::npos) << message();
  EXPECT_EQ(api.session_reset(stream, &error), MOSHI_OK);
  EXPECT_EQ(run(stream, *work), MOSHI_OK);
  EXPECT_EQ(work->codes, stub::encoded(work->pcm, stub::kCodebooks));
  // A job that resets will do as well.
  control.throw_in_call = true;
  EXPECT_EQ(run(stream, *work), MOSHI_ERR_INTERNAL);
  work->job.flags = MOSHI_JOB_RESET;
  EXPECT_EQ(run(stream, *work), MOSHI_OK);
  EXPECT_EQ(work->codes, stub::encoded(work->pcm, stub::kCodebooks));
}

TEST_F(EngineJobs, CancelEndsQueuedJobsAtOnceAndTheRunningOneAfterItsQuantum) {
  MoshiEngine* engine = loaded();
  auto running = Work::encode(audio(40, 1));
  MoshiSession* stream = held(engine, *running);
  auto queued = Work::encode(audio(1, 2));
  submit(stream, *queued);
  api.session_cancel(stream);
  EXPECT_EQ(api.wait(stream, &queued->job, MOSHI_FOREVER, &error), MOSHI_ERR_CANCELLED);  // while the other is held
  EXPECT_EQ(queued->job.frames_done, 0);
  EXPECT_EQ(api.wait(stream, &running->job, 0, &error), MOSHI_ERR_TIMEOUT);
  control.let_all();
  EXPECT_EQ(wait(stream, *running), MOSHI_ERR_CANCELLED);
  EXPECT_EQ(running->job.frames_done, 9);
  // The session goes on from there.
  EXPECT_EQ(api.session_reset(stream, &error), MOSHI_OK);
  auto next = Work::encode(audio(2, 3));
  EXPECT_EQ(run(stream, *next), MOSHI_OK);
  EXPECT_EQ(next->codes, stub::encoded(next->pcm, stub::kCodebooks));
}

TEST_F(EngineJobs, CancelWakesAWaiterAndLeavesOthersAlone) {
  MoshiEngine* engine = loaded();
  auto first = Work::encode(audio(1, 0));
  MoshiSession* busy = held(engine, *first);
  MoshiSession* stream = session(engine);
  MoshiSession* neighbor = session(engine);
  auto work = Work::encode(audio(1, 1));
  auto other = Work::encode(audio(1, 2));
  submit(stream, *work);
  submit(neighbor, *other);
  std::thread waiter([&] { EXPECT_EQ(api.wait(stream, &work->job, MOSHI_FOREVER, nullptr), MOSHI_ERR_CANCELLED); });
  api.session_cancel(stream);
  waiter.join();
  api.session_cancel(stream);  // nothing in flight: nothing happens
  control.let_all();
  EXPECT_EQ(wait(neighbor, *other), MOSHI_OK);
  EXPECT_EQ(wait(busy, *first), MOSHI_OK);
}

struct Counter {
  std::mutex mutex;
  std::vector<MoshiJob*> ended;
  std::vector<MoshiStatus> statuses;
  std::vector<std::thread::id> threads;
  static void on(void* user, MoshiJob* job) {
    auto* self = static_cast<Counter*>(user);
    std::lock_guard lock(self->mutex);
    self->ended.push_back(job);
    self->statuses.push_back(job->status);
    self->threads.push_back(std::this_thread::get_id());
  }
  void listen(Work& work) {
    work.job.done = on;
    work.job.done_user = this;
  }
};

TEST_F(EngineJobs, EveryEndIsCalledBackOnceOnTheEnginesThread) {
  MoshiEngine* engine = loaded();
  Counter counter;
  auto running = Work::encode(audio(30, 0));
  counter.listen(*running);
  MoshiSession* stream = held(engine, *running);
  auto queued = Work::encode(audio(1, 1));
  counter.listen(*queued);
  submit(stream, *queued);
  api.session_cancel(stream);
  control.let_all();
  EXPECT_EQ(wait(stream, *running), MOSHI_ERR_CANCELLED);
  EXPECT_EQ(wait(stream, *queued), MOSHI_ERR_CANCELLED);
  auto good = Work::encode(audio(1, 2));
  auto bad = Work::encode(std::vector<float>(stub::kFrameSamples, std::nanf("")));
  counter.listen(*good);
  counter.listen(*bad);
  EXPECT_EQ(run(stream, *good), MOSHI_OK);
  EXPECT_EQ(run(stream, *bad), MOSHI_ERR_DATA);
  // wait() returns after the callback has.
  std::lock_guard lock(counter.mutex);
  EXPECT_EQ(counter.ended, (std::vector<MoshiJob*>{&queued->job, &running->job, &good->job, &bad->job}));
  EXPECT_EQ(counter.statuses,
            (std::vector<MoshiStatus>{MOSHI_ERR_CANCELLED, MOSHI_ERR_CANCELLED, MOSHI_OK, MOSHI_ERR_DATA}));
  for (const std::thread::id id : counter.threads) {
    EXPECT_EQ(id, counter.threads[0]);
    EXPECT_NE(id, std::this_thread::get_id());
  }
}

/// A callback that stands still until the test lets it return.
struct SlowCallback {
  std::atomic<bool> entered{false};
  std::atomic<bool> may_return{false};
  std::atomic<bool> returned{false};
  static void on(void* user, MoshiJob*) {
    auto* self = static_cast<SlowCallback*>(user);
    self->entered = true;
    while (!self->may_return) std::this_thread::yield();
    self->returned = true;
  }
  void listen(Work& work) {
    work.job.done = on;
    work.job.done_user = this;
  }
};

TEST_F(EngineJobs, WithItsCallbackAJobIsItsOwnersAgain) {
  MoshiEngine* engine = loaded();
  MoshiSession* stream = session(engine);
  SlowCallback callback;
  auto work = Work::encode(audio(1, 1));
  callback.listen(*work);
  submit(stream, *work);
  while (!callback.entered) std::this_thread::yield();
  work.reset();
  EXPECT_EQ(api.session_reset(stream, &error), MOSHI_OK) << error.message;  // no job is in flight any more
  callback.may_return = true;
  EXPECT_EQ(run(stream, *Work::encode(audio(1, 2))), MOSHI_OK);
}

TEST_F(EngineJobs, WaitReturnsAfterTheCallbackHas) {
  MoshiEngine* engine = loaded();
  MoshiSession* stream = session(engine);
  SlowCallback callback;
  auto work = Work::encode(audio(1, 1));
  callback.listen(*work);
  submit(stream, *work);
  while (!callback.entered) std::this_thread::yield();
  EXPECT_EQ(api.wait(stream, &work->job, 5'000'000, &error), MOSHI_ERR_TIMEOUT);
  callback.may_return = true;
  EXPECT_EQ(wait(stream, *work), MOSHI_OK);
  EXPECT_TRUE(callback.returned);
}

TEST_F(EngineJobs, CloseReturnsAfterTheCallbackHas) {
  MoshiEngine* engine = loaded();
  MoshiSession* stream = session(engine);
  SlowCallback callback;
  auto work = Work::encode(audio(1, 1));
  callback.listen(*work);
  submit(stream, *work);
  while (!callback.entered) std::this_thread::yield();
  std::thread closer([&] {
    close(stream);
    EXPECT_TRUE(callback.returned);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(10));  // time for a close() that does not wait
  callback.may_return = true;
  closer.join();
}

TEST_F(EngineJobs, ACallbackThatWaitsIsToldSo) {
  MoshiEngine* engine = loaded();
  struct Waiter {
    const MoshiCoreApi* api;
    MoshiSession* stream;
    MoshiJob* other;
    std::atomic<int> status{-1};
    static void on(void* user, MoshiJob*) {
      auto* self = static_cast<Waiter*>(user);
      self->status = self->api->wait(self->stream, self->other, MOSHI_FOREVER, nullptr);
    }
  } waiter;
  auto work = Work::encode(audio(1, 0));
  auto next = Work::encode(audio(1, 1));
  work->job.done = Waiter::on;
  work->job.done_user = &waiter;
  waiter.api = &api;
  waiter.other = &next->job;
  MoshiSession* stream = session(engine);
  waiter.stream = stream;
  control.hold();
  submit(stream, *work);
  submit(stream, *next);
  control.let_all();
  EXPECT_EQ(wait(stream, *next), MOSHI_OK);
  EXPECT_EQ(waiter.status, MOSHI_ERR_INVALID_ARGUMENT);
}

TEST_F(EngineJobs, CloseEndsWhatIsInFlight) {
  MoshiEngine* engine = loaded();
  Counter counter;
  auto running = Work::encode(audio(60, 1));
  MoshiSession* stream = held(engine, *running);
  std::vector<std::unique_ptr<Work>> queued;
  for (int i = 0; i < 3; ++i) {
    queued.push_back(Work::encode(audio(1, 2)));
    counter.listen(*queued.back());
    submit(stream, *queued.back());
  }
  auto witness = Work::encode(audio(1, 3));
  submit(stream, *witness);
  std::thread closer([&] { close(stream); });
  EXPECT_EQ(wait(stream, *witness), MOSHI_ERR_CANCELLED);  // close() is under way
  control.let_all();
  closer.join();
  EXPECT_EQ(running->job.status, MOSHI_ERR_CANCELLED);
  std::lock_guard lock(counter.mutex);
  EXPECT_EQ(counter.statuses, std::vector<MoshiStatus>(3, MOSHI_ERR_CANCELLED));
  EXPECT_LE(control.calls().size(), 2u);
  EXPECT_EQ(control.rows, 0);
}

TEST_F(EngineJobs, TimesAreMeasured) {
  MoshiEngine* engine = loaded();
  auto first = Work::encode(audio(1, 0));
  MoshiSession* busy = held(engine, *first);
  MoshiSession* stream = session(engine);
  auto work = Work::encode(audio(1, 1));
  submit(stream, *work);
  control.now_ns += 5'000'000;
  control.let_all();
  EXPECT_EQ(wait(busy, *first), MOSHI_OK);
  EXPECT_EQ(wait(stream, *work), MOSHI_OK);
  EXPECT_EQ(first->job.wait_ns, 0);
  EXPECT_EQ(first->job.run_ns, 7'000'000);
  EXPECT_EQ(work->job.wait_ns, 7'000'000);
  EXPECT_EQ(work->job.run_ns, 2'000'000);
}

TEST_F(EngineJobs, AnErrorStructIsOptionalAndItsSizeRespected) {
  MoshiEngine* engine = loaded();
  MoshiSession* stream = session(engine);
  EXPECT_EQ(api.submit(stream, nullptr, nullptr), MOSHI_ERR_INVALID_ARGUMENT);
  MoshiError foreign{};
  foreign.message[0] = 'x';
  EXPECT_EQ(api.submit(stream, nullptr, &foreign), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(foreign.message[0], 'x');
}

}  // namespace

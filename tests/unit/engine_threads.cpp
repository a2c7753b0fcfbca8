// SPDX-License-Identifier: MIT
// Many threads at once: what they get must be what each would get alone. Run it under ThreadSanitizer.
#include <random>
#include <thread>

#include "engine_fixture.h"

namespace {

using fixture::audio;
using fixture::codes;
using fixture::EngineTest;
using fixture::Work;

class EngineThreads : public EngineTest {
 protected:
  struct Stream {
    const MoshiCoreApi& api;
    MoshiSession* session;
    std::mt19937 random;
    uint64_t encoder = stub::Row::kFresh;
    uint64_t decoder = stub::Row::kFresh;

    int pick(int below) { return static_cast<int>(random() % static_cast<unsigned>(below)); }
    MoshiStatus run(Work& work) {
      const MoshiStatus status = api.submit(session, &work.job, nullptr);
      return status == MOSHI_OK ? api.wait(session, &work.job, MOSHI_FOREVER, nullptr) : status;
    }

    void encode() {
      auto work = Work::encode(audio(1 + pick(12), random()), 1 + pick(8));
      EXPECT_EQ(run(*work), MOSHI_OK);
      EXPECT_EQ(work->codes, stub::encoded(work->pcm, work->job.codebooks, encoder));
      for (int f = 0; f < work->job.frames; ++f) {
        uint16_t ignored[stub::kCodebooks];
        stub::encode_frame(encoder, &work->pcm[static_cast<size_t>(f) * stub::kFrameSamples], 1, ignored, nullptr);
      }
    }
    void decode() {
      auto work = Work::decode(codes(1 + pick(5), 4, random()), 4);
      EXPECT_EQ(run(*work), MOSHI_OK);
      EXPECT_EQ(work->pcm, stub::decoded(work->codes, 4, decoder));
      for (int f = 0; f < work->job.frames; ++f) {
        float ignored[stub::kFrameSamples];
        stub::decode_frame(decoder, &work->codes[static_cast<size_t>(f) * 4], 4, ignored, nullptr);
      }
    }
    void reset() {
      EXPECT_EQ(api.session_reset(session, nullptr), MOSHI_OK);
      encoder = decoder = stub::Row::kFresh;
    }
    void cancel() {
      auto work = Work::encode(audio(20, random()));
      EXPECT_EQ(api.submit(session, &work->job, nullptr), MOSHI_OK);
      std::thread other([this] { api.session_cancel(session); });
      const MoshiStatus status = api.wait(session, &work->job, MOSHI_FOREVER, nullptr);
      other.join();
      EXPECT_TRUE(status == MOSHI_OK || status == MOSHI_ERR_CANCELLED);
      reset();
    }
    void fork() {
      MoshiSession* copy = nullptr;
      EXPECT_EQ(api.session_fork(session, &copy, nullptr), MOSHI_OK);
      api.session_close(session);
      session = copy;
    }
  };

  void live_one_life(MoshiEngine* engine, unsigned seed, int steps) {
    MoshiSessionConfig config = MOSHI_INIT(MoshiSessionConfig);
    config.roles = MOSHI_ROLE_ENCODE | MOSHI_ROLE_DECODE;
    config.work_class = seed % 2 ? MOSHI_CLASS_LIVE : MOSHI_CLASS_FILE;
    MoshiSession* session = nullptr;
    ASSERT_EQ(api.session_open(engine, &config, &session, nullptr), MOSHI_OK);
    Stream stream{api, session, std::mt19937(seed)};
    for (int i = 0; i < steps; ++i) {
      switch (stream.pick(12)) {
        case 0:
          stream.reset();
          break;
        case 1:
          stream.cancel();
          break;
        case 2:
          stream.fork();
          break;
        case 3:
        case 4:
        case 5:
          stream.decode();
          break;
        default:
          stream.encode();
      }
    }
    api.session_close(stream.session);
  }
};

TEST_F(EngineThreads, EveryStreamIsAsIfAlone) {
  MoshiEngine* engine = loaded();
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      for (unsigned life = 0; life < 4; ++life) live_one_life(engine, 100 * i + life, 30);
    });
  }
  std::thread watcher([&] {
    for (int i = 0; i < 200; ++i) {
      MoshiEngineStats stats = MOSHI_INIT(MoshiEngineStats);
      MoshiEngineLimits limits = MOSHI_INIT(MoshiEngineLimits);
      MoshiEngineInfo info = MOSHI_INIT(MoshiEngineInfo);
      EXPECT_EQ(api.engine_stats(engine, &stats, nullptr), MOSHI_OK);
      EXPECT_EQ(api.engine_limits(engine, MOSHI_ROLE_ENCODE, &limits, nullptr), MOSHI_OK);
      EXPECT_EQ(api.engine_info(engine, &info, nullptr), MOSHI_OK);
      std::this_thread::yield();
    }
  });
  for (std::thread& thread : threads) thread.join();
  watcher.join();
  EXPECT_EQ(control.rows, 0);
}

TEST_F(EngineThreads, EnginesOpenCancelAndCloseFromEverywhere) {
  while_loading = [](int number, const std::function<void(double)>& progress) {
    for (int i = 0; i < 10; ++i) progress(i / 10.0);
    if (number % 7 == 3) throw moshi::Error(MOSHI_ERR_READ, "a failure now and then");
  };
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 6; ++i) {
    threads.emplace_back([&, i] {
      std::mt19937 random(i);
      for (int round = 0; round < 25; ++round) {
        MoshiEngineConfig config = MOSHI_INIT(MoshiEngineConfig);
        config.model = random() % 2 ? "a" : "b";
        config.roles = 1 + random() % 3;
        MoshiEngine* engine = nullptr;
        ASSERT_EQ(api.engine_open(&config, &engine, nullptr), MOSHI_OK);
        if (random() % 3 == 0) api.engine_cancel(engine);
        const MoshiStatus status = random() % 4 ? api.engine_wait(engine, MOSHI_FOREVER, nullptr) : MOSHI_ERR_TIMEOUT;
        if (status == MOSHI_OK && (config.roles & MOSHI_ROLE_ENCODE) && (config.roles & MOSHI_ROLE_DECODE)) {
          live_one_life(engine, 1000 + i * 100 + static_cast<unsigned>(round), 5);
        }
        api.engine_close(engine);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  wait_until_freed();
  EXPECT_GT(loads, 0);
}

}  // namespace

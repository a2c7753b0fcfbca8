// SPDX-License-Identifier: MIT
// The fake core keeps what moshi/core.h promises: else a test that passes on it would prove nothing.
#include <moshi/core.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "fake.h"
#include "model.h"

namespace {

#define REQUIRE(condition)                                                         \
  do {                                                                             \
    if (!(condition)) {                                                            \
      std::fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition); \
      std::exit(1);                                                                \
    }                                                                              \
  } while (false)

const MoshiCoreApi* api;
constexpr int kBooks = 8;

MoshiFakeStats Stats() {
  MoshiFakeStats stats;
  moshi_fake_stats(&stats);
  return stats;
}

template <typename Condition>
void Eventually(Condition condition) {
  while (!condition()) std::this_thread::yield();
}

MoshiEngineConfig Config() {
  MoshiEngineConfig config{};
  config.size = sizeof config;
  config.roles = MOSHI_ROLE_ENCODE | MOSHI_ROLE_DECODE;
  return config;
}

MoshiEngine* Open(const MoshiEngineConfig& config = Config()) {
  MoshiEngine* engine = nullptr;
  REQUIRE(api->engine_open(&config, &engine, nullptr) == MOSHI_OK);
  return engine;
}

MoshiEngine* OpenLoaded() {
  MoshiEngine* engine = Open();
  REQUIRE(api->engine_wait(engine, MOSHI_FOREVER, nullptr) == MOSHI_OK);
  return engine;
}

MoshiSession* NewSession(MoshiEngine* engine) {
  MoshiSessionConfig config{};
  config.size = sizeof config;
  config.roles = MOSHI_ROLE_ENCODE | MOSHI_ROLE_DECODE;
  MoshiSession* session = nullptr;
  REQUIRE(api->session_open(engine, &config, &session, nullptr) == MOSHI_OK);
  return session;
}

struct EncodeJob : MoshiJob {
  std::vector<float> pcm;
  std::vector<uint16_t> codes;

  explicit EncodeJob(int count, float first = 0.5f) : MoshiJob{}, pcm(count * 1920), codes(count * kBooks) {
    size = sizeof(MoshiJob);
    kind = MOSHI_JOB_ENCODE;
    frames = count;
    codebooks = kBooks;
    deadline_ns = MOSHI_NO_DEADLINE;
    for (size_t i = 0; i < pcm.size(); ++i) pcm[i] = first - static_cast<float>(i) / 65536;
    pcm_in = pcm.data();
    codes_out = codes.data();
  }
};

MoshiStatus Run(MoshiSession* session, MoshiJob& job) {
  REQUIRE(api->submit(session, &job, nullptr) == MOSHI_OK);
  return api->wait(session, &job, MOSHI_FOREVER, nullptr);
}

void NothingIsLeft() {
  moshi_fake_settle();
  const MoshiFakeStats stats = Stats();
  REQUIRE(stats.models == 0 && stats.engines == 0 && stats.sessions == 0 && stats.buffers == 0);
  REQUIRE(stats.threads == 0 && stats.jobs_in_flight == 0 && stats.misuse == 0);
  moshi_fake_set(nullptr, nullptr);
}

void AnotherAbiIsRefused() {
  REQUIRE(moshi_core_get_api(MOSHI_CORE_ABI + 1) == nullptr);
  moshi_fake_set("ABI", "7");
  REQUIRE(moshi_core_get_api(MOSHI_CORE_ABI) == nullptr);
  moshi_fake_set("ABI", nullptr);
  REQUIRE(moshi_core_get_api(MOSHI_CORE_ABI) == api);
}

void OneModelForTwoReferences() {
  const int64_t loads = Stats().loads_started;
  MoshiEngine *one = OpenLoaded(), *two = OpenLoaded();
  REQUIRE(Stats().models == 1 && Stats().engines == 2 && Stats().loads_started == loads + 1);
  MoshiEngineConfig other = Config();
  other.precision = MOSHI_PRECISION_BF16;
  MoshiEngine* three = Open(other);
  REQUIRE(Stats().models == 2);
  api->engine_close(one);
  api->engine_close(two);
  api->engine_close(three);
}

void BadConfigurationsFailAtOnce() {
  MoshiEngine* engine = nullptr;
  MoshiError error{};
  error.size = sizeof error;
  MoshiEngineConfig config = Config();
  config.model = "/does/not/exist";
  REQUIRE(api->engine_open(&config, &engine, &error) == MOSHI_ERR_NOT_FOUND);
  REQUIRE(std::strstr(error.message, "/does/not/exist") != nullptr && engine == nullptr);
  config = Config();
  config.device = "cuda:1";
  REQUIRE(api->engine_open(&config, &engine, &error) == MOSHI_ERR_NO_DEVICE);
  config.device = "toaster";
  REQUIRE(api->engine_open(&config, &engine, &error) == MOSHI_ERR_INVALID_ARGUMENT);
  moshi_fake_set("OPEN_FAIL", std::to_string(MOSHI_ERR_FORMAT).c_str());
  config = Config();
  REQUIRE(api->engine_open(&config, &engine, &error) == MOSHI_ERR_FORMAT);
}

void AFailedLoadIsTriedAgain() {
  moshi_fake_set("LOAD_FAIL", std::to_string(MOSHI_ERR_NO_MEMORY).c_str());
  MoshiEngine* bad = Open();
  REQUIRE(api->engine_wait(bad, MOSHI_FOREVER, nullptr) == MOSHI_ERR_NO_MEMORY);
  moshi_fake_set("LOAD_FAIL", nullptr);
  MoshiEngine* good = OpenLoaded();
  REQUIRE(api->engine_wait(bad, 0, nullptr) == MOSHI_ERR_NO_MEMORY);
  api->engine_close(bad);
  api->engine_close(good);
}

void ALoadGoesOnWhileOneWantsIt() {
  moshi_fake_set("LOAD_HOLD", "1");
  MoshiEngine *one = Open(), *two = Open();
  REQUIRE(api->engine_wait(one, 1000, nullptr) == MOSHI_ERR_TIMEOUT);
  MoshiSessionConfig early{};
  early.size = sizeof early;
  early.roles = MOSHI_ROLE_ENCODE;
  MoshiSession* session = nullptr;
  REQUIRE(api->session_open(one, &early, &session, nullptr) == MOSHI_ERR_TIMEOUT && session == nullptr);
  std::thread waiter([&] { REQUIRE(api->engine_wait(one, MOSHI_FOREVER, nullptr) == MOSHI_ERR_CANCELLED); });
  api->engine_cancel(one);
  waiter.join();
  moshi_fake_set("LOAD_HOLD", nullptr);
  REQUIRE(api->engine_wait(two, MOSHI_FOREVER, nullptr) == MOSHI_OK);
  REQUIRE(api->engine_wait(one, MOSHI_FOREVER, nullptr) == MOSHI_ERR_CANCELLED);
  api->engine_close(one);
  api->engine_close(two);
}

void ALoadThatNobodyWantsStops() {
  const int64_t before = Stats().loads_cancelled;
  moshi_fake_set("LOAD_HOLD", "1");
  MoshiEngine* engine = Open();
  api->engine_cancel(engine);
  Eventually([&] { return Stats().loads_cancelled == before + 1; });
  MoshiEngine* fresh = Open();
  REQUIRE(api->engine_wait(fresh, 1000, nullptr) == MOSHI_ERR_TIMEOUT);
  api->engine_close(engine);
  api->engine_close(fresh);
  moshi_fake_settle();
  REQUIRE(Stats().loads_cancelled == before + 2);
}

void ProgressEndsWithTheReference() {
  struct Seen {
    std::atomic<int> calls{0};
    std::atomic<double> last{-1};
  } seen;
  MoshiEngineConfig config = Config();
  config.progress_user = &seen;
  config.progress = [](void* user, double fraction, const char*) {
    auto* to = static_cast<Seen*>(user);
    REQUIRE(fraction >= to->last);
    to->last = fraction;
    ++to->calls;
  };
  MoshiEngine* engine = Open(config);
  REQUIRE(api->engine_wait(engine, MOSHI_FOREVER, nullptr) == MOSHI_OK);
  REQUIRE(seen.calls == 6 && seen.last == 1);
  api->engine_close(engine);
}

void CodesDependOnFramesAndReset() {
  MoshiEngine* engine = OpenLoaded();
  MoshiSession *one = NewSession(engine), *two = NewSession(engine);
  EncodeJob whole(3);
  REQUIRE(Run(one, whole) == MOSHI_OK && whole.frames_done == 3);
  moshi_fake::State state;
  std::vector<uint16_t> expected(3 * kBooks);
  for (int f = 0; f < 3; ++f)
    moshi_fake::EncodeFrame(state, whole.pcm.data() + f * 1920, 1920, kBooks, 2048, expected.data() + f * kBooks);
  REQUIRE(whole.codes == expected);
  // The grouping into jobs makes no difference, the state does.
  EncodeJob part(3);
  part.frames = 1;
  REQUIRE(Run(two, part) == MOSHI_OK);
  part.frames = 2;
  part.pcm_in += 1920;
  part.codes_out += kBooks;
  REQUIRE(Run(two, part) == MOSHI_OK && part.codes == expected);
  EncodeJob later(3);
  REQUIRE(Run(one, later) == MOSHI_OK && later.codes != expected);
  later.flags = MOSHI_JOB_RESET;
  REQUIRE(Run(one, later) == MOSHI_OK && later.codes == expected);
  REQUIRE(api->session_reset(two, nullptr) == MOSHI_OK);
  later.flags = 0;
  REQUIRE(Run(two, later) == MOSHI_OK && later.codes == expected);
  api->session_close(one);
  api->session_close(two);
  api->engine_close(engine);
}

void DecodedAudioNamesItsFrame() {
  MoshiEngine* engine = OpenLoaded();
  MoshiSession* session = NewSession(engine);
  std::vector<uint16_t> codes(2 * kBooks);
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint16_t>(100 * i);
  std::vector<float> pcm(2 * 1920);
  MoshiJob job{};
  job.size = sizeof job;
  job.kind = MOSHI_JOB_DECODE;
  job.frames = 2;
  job.codebooks = kBooks;
  job.codes_in = codes.data();
  job.pcm_out = pcm.data();
  REQUIRE(Run(session, job) == MOSHI_OK);
  const float* second = pcm.data() + 1920;
  REQUIRE(second[0] == 1 / 4096.0f && second[1] == kBooks / 64.0f && second[2] == codes[kBooks] / 2048.0f);
  codes[kBooks + 3] = 2048;
  REQUIRE(Run(session, job) == MOSHI_ERR_DATA && job.frames_done == 1);
  api->session_close(session);
  api->engine_close(engine);
}

void CancelEndsQueuedAndRunningJobs() {
  MoshiEngine* engine = OpenLoaded();
  MoshiSession *one = NewSession(engine), *two = NewSession(engine);
  moshi_fake_set("STEP_HOLD", "1");
  std::atomic<int> done{0};
  EncodeJob running(1), queued(1), other(1);
  for (EncodeJob* job : {&running, &queued, &other}) {
    job->done = [](void* user, MoshiJob*) { ++*static_cast<std::atomic<int>*>(user); };
    job->done_user = &done;
  }
  REQUIRE(api->submit(one, &running, nullptr) == MOSHI_OK);
  Eventually([] { return Stats().batch_running == 1; });
  REQUIRE(api->submit(one, &queued, nullptr) == MOSHI_OK);
  REQUIRE(api->submit(two, &other, nullptr) == MOSHI_OK);
  REQUIRE(api->wait(one, &queued, 1000, nullptr) == MOSHI_ERR_TIMEOUT);
  REQUIRE(api->session_reset(one, nullptr) == MOSHI_ERR_BUSY);
  api->session_cancel(one);
  REQUIRE(api->wait(one, &queued, MOSHI_FOREVER, nullptr) == MOSHI_ERR_CANCELLED);
  REQUIRE(api->wait(one, &running, MOSHI_FOREVER, nullptr) == MOSHI_ERR_CANCELLED && running.frames_done == 0);
  moshi_fake_set("STEP_HOLD", nullptr);
  REQUIRE(api->wait(two, &other, MOSHI_FOREVER, nullptr) == MOSHI_OK);
  REQUIRE(done == 3);
  REQUIRE(Run(one, running) == MOSHI_OK);
  REQUIRE(api->submit(one, &queued, nullptr) == MOSHI_OK);
  api->session_close(one);
  REQUIRE(done == 5 && (queued.status == MOSHI_OK || queued.status == MOSHI_ERR_CANCELLED));
  api->session_close(two);
  api->engine_close(engine);
}

void FailuresAndLimits() {
  MoshiEngine* engine = OpenLoaded();
  MoshiSession* session = NewSession(engine);
  moshi_fake_set("FAIL_FRAME", "1");
  EncodeJob job(3);
  REQUIRE(Run(session, job) == MOSHI_ERR_INTERNAL && job.frames_done == 1);
  moshi_fake_set("FAIL_FRAME", nullptr);
  job.pcm[5] = std::numeric_limits<float>::quiet_NaN();
  REQUIRE(Run(session, job) == MOSHI_ERR_DATA);
  moshi_fake_set("SESSIONS_MAX", "1");
  MoshiSessionConfig config{};
  config.size = sizeof config;
  config.roles = MOSHI_ROLE_ENCODE;
  MoshiSession* more = nullptr;
  REQUIRE(api->session_open(engine, &config, &more, nullptr) == MOSHI_ERR_BUSY);
  moshi_fake_set("SESSIONS_MAX", nullptr);
  moshi_fake_set("FREE_MB", "315");
  REQUIRE(api->session_open(engine, &config, &more, nullptr) == MOSHI_ERR_NO_MEMORY);
  REQUIRE(api->submit(session, nullptr, nullptr) == MOSHI_ERR_INVALID_ARGUMENT);
  job.codebooks = 33;
  REQUIRE(api->submit(session, &job, nullptr) == MOSHI_ERR_INVALID_ARGUMENT);
  api->session_close(session);
  api->engine_close(engine);
}

void ForkSaveAndLoadGoOn() {
  MoshiEngine* engine = OpenLoaded();
  MoshiSession *one = NewSession(engine), *copy = nullptr, *loaded = NewSession(engine);
  EncodeJob first(1), a(1, 0.25f), b(1, 0.25f), c(1, 0.25f);
  REQUIRE(Run(one, first) == MOSHI_OK);
  REQUIRE(api->session_fork(one, &copy, nullptr) == MOSHI_OK);
  size_t bytes = 0;
  REQUIRE(api->session_save(one, nullptr, &bytes, nullptr) == MOSHI_OK);
  std::vector<char> saved(bytes);
  REQUIRE(api->session_save(one, saved.data(), &bytes, nullptr) == MOSHI_OK);
  REQUIRE(api->session_load(loaded, saved.data(), bytes, nullptr) == MOSHI_OK);
  REQUIRE(api->session_load(loaded, saved.data(), bytes - 1, nullptr) == MOSHI_ERR_FORMAT);
  REQUIRE(Run(one, a) == MOSHI_OK && Run(copy, b) == MOSHI_OK && Run(loaded, c) == MOSHI_OK);
  REQUIRE(a.codes == b.codes && a.codes == c.codes);
  for (MoshiSession* session : {one, copy, loaded}) api->session_close(session);
  api->engine_close(engine);
}

void ManyThreads() {
  std::vector<std::thread> users;
  for (int t = 0; t < 4; ++t)
    users.emplace_back([] {
      for (int round = 0; round < 10; ++round) {
        MoshiEngine* engine = OpenLoaded();
        MoshiSession* session = NewSession(engine);
        EncodeJob a(2), b(2);
        REQUIRE(api->submit(session, &a, nullptr) == MOSHI_OK);
        REQUIRE(api->submit(session, &b, nullptr) == MOSHI_OK);
        if (round % 2 == 0) api->session_cancel(session);
        api->wait(session, &b, MOSHI_FOREVER, nullptr);
        api->session_close(session);
        api->engine_close(engine);
      }
    });
  for (std::thread& user : users) user.join();
}

}  // namespace

int main() {
  api = moshi_core_get_api(MOSHI_CORE_ABI);
  REQUIRE(api != nullptr && api->abi == MOSHI_CORE_ABI && api->size == sizeof(MoshiCoreApi));
  for (auto test : {AnotherAbiIsRefused, OneModelForTwoReferences, BadConfigurationsFailAtOnce, AFailedLoadIsTriedAgain,
                    ALoadGoesOnWhileOneWantsIt, ALoadThatNobodyWantsStops, ProgressEndsWithTheReference,
                    CodesDependOnFramesAndReset, DecodedAudioNamesItsFrame, CancelEndsQueuedAndRunningJobs,
                    FailuresAndLimits, ForkSaveAndLoadGoOn, ManyThreads}) {
    test();
    NothingIsLeft();
  }
  return 0;
}

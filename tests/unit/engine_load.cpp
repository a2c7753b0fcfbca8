// SPDX-License-Identifier: MIT
// Opening models: one load for all who want it, failure and retry, cancellation, progress, memory.
#include <condition_variable>
#include <thread>

#include "engine_fixture.h"

namespace {

using fixture::Direction;
using fixture::EngineTest;

constexpr int64_t kNotLong = 20'000'000;

/// A place where a load stands still until the test lets it go on.
class Gate {
 public:
  void pass() {
    std::unique_lock lock(mutex_);
    reached_ = true;
    changed_.notify_all();
    changed_.wait(lock, [&] { return open_; });
  }
  void wait_until_reached() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return reached_; });
  }
  void open() {
    std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool reached_ = false;
  bool open_ = false;
};

class EngineLoad : public EngineTest {
 protected:
  /// Loads stand still in the factory until the gate opens, then see whether they were cancelled.
  std::shared_ptr<Gate> stop_loads() {
    auto gate = std::make_shared<Gate>();
    while_loading = [gate](int, const std::function<void(double)>& progress) {
      gate->pass();
      progress(0.5);
    };
    return gate;
  }
};

TEST_F(EngineLoad, OneModelIsLoadedOnceForAll) {
  MoshiEngine* first = loaded();
  MoshiEngine* second = loaded();
  EXPECT_EQ(loads, 1);
  EXPECT_EQ(control.codecs, 1);
  close(first);
  EXPECT_EQ(control.codecs, 1);
  close(second);
  wait_until_freed();
  loaded();
  EXPECT_EQ(loads, 2);
}

TEST_F(EngineLoad, WhoComesWhileItLoadsJoins) {
  const auto gate = stop_loads();
  MoshiEngine* first = open();
  gate->wait_until_reached();
  MoshiEngine* second = open();
  EXPECT_EQ(api.engine_wait(second, kNotLong, &error), MOSHI_ERR_TIMEOUT);
  gate->open();
  EXPECT_EQ(api.engine_wait(first, MOSHI_FOREVER, &error), MOSHI_OK);
  EXPECT_EQ(api.engine_wait(second, MOSHI_FOREVER, &error), MOSHI_OK);
  EXPECT_EQ(loads, 1);
}

TEST_F(EngineLoad, AnotherModelFileOrPrecisionIsAnotherModel) {
  loaded("a");
  loaded("b");
  EXPECT_EQ(loads, 2);
  identity = 1;  // another file now lies at the path of "a"
  loaded("a");
  EXPECT_EQ(loads, 3);
  EXPECT_EQ(control.codecs, 3);
}

TEST_F(EngineLoad, ARoleIsLoadedWhenItIsFirstWanted) {
  MoshiEngine* encoder = loaded("a", MOSHI_ROLE_ENCODE);
  EXPECT_EQ(loaded_directions(), (std::vector<std::vector<Direction>>{{Direction::kEncode}}));
  MoshiSession* none = nullptr;
  EXPECT_EQ(try_session(encoder, &none, MOSHI_CLASS_LIVE, MOSHI_ROLE_DECODE), MOSHI_ERR_INVALID_ARGUMENT);

  MoshiEngine* both = loaded("a", MOSHI_ROLE_ENCODE | MOSHI_ROLE_DECODE);
  EXPECT_EQ(loaded_directions(), (std::vector<std::vector<Direction>>{{Direction::kEncode}, {Direction::kDecode}}));
  session(both);
  loaded("a", MOSHI_ROLE_DECODE);
  EXPECT_EQ(loads, 2);
  // The reference that was opened for encoding does not get more than it asked for.
  EXPECT_EQ(try_session(encoder, &none, MOSHI_CLASS_LIVE, MOSHI_ROLE_DECODE), MOSHI_ERR_INVALID_ARGUMENT);
}

TEST_F(EngineLoad, AFailedLoadIsTheErrorOfAllWhoWaitAndCanBeTriedAgain) {
  while_loading = [](int number, const auto&) {
    if (number == 1) throw moshi::Error(MOSHI_ERR_FORMAT, "tensor \"x\" is damaged", "at byte 5");
  };
  MoshiEngine* first = open();
  MoshiEngine* second = open();
  EXPECT_EQ(api.engine_wait(first, MOSHI_FOREVER, &error), MOSHI_ERR_FORMAT);
  EXPECT_STREQ(error.message, "tensor \"x\" is damaged");
  EXPECT_STREQ(error.detail, "at byte 5");
  const MoshiStatus of_second = api.engine_wait(second, MOSHI_FOREVER, &error);
  // The second joined the failing load, or came after it and loaded anew.
  EXPECT_EQ(of_second, loads == 1 ? MOSHI_ERR_FORMAT : MOSHI_OK);

  MoshiEngine* again = loaded();
  EXPECT_EQ(loads, 2);
  session(again);
  // What failed stays failed for the reference that saw it.
  EXPECT_EQ(api.engine_wait(first, MOSHI_FOREVER, &error), MOSHI_ERR_FORMAT);
}

TEST_F(EngineLoad, AFailedLoadLeavesNothing) {
  while_loading = [](int, const auto&) { throw std::bad_alloc(); };
  MoshiEngine* engine = open();
  EXPECT_EQ(api.engine_wait(engine, MOSHI_FOREVER, &error), MOSHI_ERR_NO_MEMORY);
  EXPECT_EQ(control.codecs, 0);
  MoshiSession* none = nullptr;
  EXPECT_EQ(try_session(engine, &none), MOSHI_ERR_NO_MEMORY);
  EXPECT_EQ(none, nullptr);
}

TEST_F(EngineLoad, CancelEndsTheWaitAndTheLoadThatNobodyWants) {
  const auto gate = stop_loads();
  MoshiEngine* engine = open();
  gate->wait_until_reached();
  std::thread waiter([&] { EXPECT_EQ(api.engine_wait(engine, MOSHI_FOREVER, nullptr), MOSHI_ERR_CANCELLED); });
  api.engine_cancel(engine);
  waiter.join();
  EXPECT_EQ(api.engine_wait(engine, MOSHI_FOREVER, &error), MOSHI_ERR_CANCELLED);
  gate->open();
  wait_until_freed();
}

TEST_F(EngineLoad, ALoadGoesOnWhileSomebodyWantsIt) {
  const auto gate = stop_loads();
  MoshiEngine* leaver = open();
  MoshiEngine* stayer = open();
  gate->wait_until_reached();
  api.engine_cancel(leaver);
  gate->open();
  EXPECT_EQ(api.engine_wait(stayer, MOSHI_FOREVER, &error), MOSHI_OK);
  EXPECT_EQ(api.engine_wait(leaver, MOSHI_FOREVER, &error), MOSHI_ERR_CANCELLED);
  EXPECT_EQ(loads, 1);
}

TEST_F(EngineLoad, CloseDoesNotWaitForTheLoad) {
  const auto gate = stop_loads();
  MoshiEngine* engine = open();
  gate->wait_until_reached();
  close(engine);  // would never return if it waited
  gate->open();
}

TEST_F(EngineLoad, WhoComesAfterACancelledLoadGetsALoadOfItsOwn) {
  const auto gate = stop_loads();
  MoshiEngine* first = open();
  gate->wait_until_reached();
  api.engine_cancel(first);
  MoshiEngine* second = open();
  gate->open();
  EXPECT_EQ(api.engine_wait(second, MOSHI_FOREVER, &error), MOSHI_OK) << error.message;
  EXPECT_EQ(loads, 2);
  EXPECT_EQ(control.codecs, 1);
}

struct Progress {
  std::mutex mutex;
  std::vector<std::pair<double, std::string>> reports;
  static void on(void* user, double fraction, const char* stage) {
    auto* self = static_cast<Progress*>(user);
    std::lock_guard lock(self->mutex);
    self->reports.emplace_back(fraction, stage);
  }
};

TEST_F(EngineLoad, ProgressRisesToOne) {
  Progress progress;
  MoshiEngineConfig config = MOSHI_INIT(MoshiEngineConfig);
  config.model = "a";
  config.roles = MOSHI_ROLE_ENCODE | MOSHI_ROLE_DECODE;
  config.progress = Progress::on;
  config.progress_user = &progress;
  MoshiEngine* engine = nullptr;
  ASSERT_EQ(try_open(&engine, config), MOSHI_OK);
  ASSERT_EQ(api.engine_wait(engine, MOSHI_FOREVER, &error), MOSHI_OK);
  std::lock_guard lock(progress.mutex);
  ASSERT_GE(progress.reports.size(), 4u);
  double before = 0;
  for (const auto& [fraction, stage] : progress.reports) {
    EXPECT_GE(fraction, before);
    before = fraction;
  }
  EXPECT_EQ(before, 1.0);
  EXPECT_EQ(progress.reports.front().second, "reading");
}

TEST_F(EngineLoad, ProgressIsSilentAfterClose) {
  struct Listener {
    std::atomic<bool> closed{false};
    std::atomic<int> late{0};
    static void on(void* user, double, const char*) {
      auto* self = static_cast<Listener*>(user);
      std::this_thread::yield();
      if (self->closed) ++self->late;
    }
  };
  MoshiEngine* keeper = nullptr;
  for (int round = 0; round < 50; ++round) {
    Listener listener;
    MoshiEngineConfig config = MOSHI_INIT(MoshiEngineConfig);
    const std::string model = std::to_string(round);
    config.model = model.c_str();
    config.roles = MOSHI_ROLE_ENCODE | MOSHI_ROLE_DECODE;
    config.progress = Listener::on;
    config.progress_user = &listener;
    MoshiEngine* engine = nullptr;
    ASSERT_EQ(try_open(&engine, config), MOSHI_OK);
    keeper = open(model.c_str());  // the load itself goes on
    for (int i = 0; i < round; ++i) std::this_thread::yield();
    close(engine);
    listener.closed = true;
    EXPECT_EQ(api.engine_wait(keeper, MOSHI_FOREVER, &error), MOSHI_OK);
    close(keeper);
    EXPECT_EQ(listener.late, 0);
  }
}

TEST_F(EngineLoad, AProgressCallbackMayCloseItsOwnEngine) {
  struct Closer {
    const MoshiCoreApi* api;
    std::atomic<MoshiEngine*> engine{nullptr};
    std::atomic<bool> closed{false};
    static void on(void* user, double, const char*) {
      auto* self = static_cast<Closer*>(user);
      MoshiEngine* engine = nullptr;
      while (!(engine = self->engine)) std::this_thread::yield();
      self->api->engine_close(engine);
      self->closed = true;
    }
  } closer;
  closer.api = &api;
  MoshiEngineConfig config = MOSHI_INIT(MoshiEngineConfig);
  config.model = "a";
  config.roles = MOSHI_ROLE_ENCODE;
  config.progress = Closer::on;
  config.progress_user = &closer;
  MoshiEngine* engine = nullptr;
  ASSERT_EQ(api.engine_open(&config, &engine, &error), MOSHI_OK);
  closer.engine = engine;
  while (!closer.closed) std::this_thread::yield();
}

TEST_F(EngineLoad, TooLittleMemoryNamesBothNumbers) {
  free_bytes = 70'000'000;  // both directions of the stub need 100 MB
  MoshiEngine* engine = open();
  EXPECT_EQ(api.engine_wait(engine, MOSHI_FOREVER, &error), MOSHI_ERR_NO_MEMORY);
  EXPECT_NE(std::string(error.message).find("100.0 MB"), std::string::npos) << error.message;
  EXPECT_NE(std::string(error.message).find("70.0 MB (70000000 bytes)"), std::string::npos) << error.message;
  EXPECT_EQ(loads, 0);
  free_bytes = 200'000'000;
  loaded();
}

TEST_F(EngineLoad, WhatIsWrongWithTheHeadersIsSaidAtOnce) {
  MoshiEngine* engine = reinterpret_cast<MoshiEngine*>(&control);
  EXPECT_EQ(try_open(&engine, "missing"), MOSHI_ERR_NOT_FOUND);
  EXPECT_EQ(engine, nullptr);
  EXPECT_STREQ(error.message, "there is no model \"missing\"");
}

TEST_F(EngineLoad, WrongConfigurationsAreRefused) {
  const auto refused = [&](auto change) {
    MoshiEngineConfig config = MOSHI_INIT(MoshiEngineConfig);
    config.model = "a";
    config.roles = MOSHI_ROLE_ENCODE;
    change(config);
    MoshiEngine* engine = nullptr;
    const MoshiStatus status = try_open(&engine, config);
    EXPECT_NE(std::string(error.message), "");
    return status;
  };
  EXPECT_EQ(refused([](auto& config) { config.size = 8; }), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(refused([](auto& config) { config.roles = 0; }), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(refused([](auto& config) { config.roles = 64; }), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(refused([](auto& config) { config.roles = MOSHI_ROLE_LM | MOSHI_ROLE_DECODE; }),
            MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(refused([](auto& config) { config.threads = -1; }), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(refused([](auto& config) { config.backend = 7; }), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(refused([](auto& config) { config.device = "tpu"; }), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(refused([](auto& config) { config.device = "cuda:x"; }), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(refused([](auto& config) { config.device = "cuda:1000"; }), MOSHI_ERR_NO_DEVICE);
  EXPECT_EQ(refused([](auto& config) { config.precision = MOSHI_PRECISION_INT8; }), MOSHI_ERR_NOT_SUPPORTED);
  EXPECT_EQ(refused([](auto& config) { config.precision = static_cast<MoshiPrecision>(99); }),
            MOSHI_ERR_INVALID_ARGUMENT);
  MoshiEngine* engine = nullptr;
  EXPECT_EQ(api.engine_open(nullptr, &engine, &error), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(api.engine_open(nullptr, nullptr, nullptr), MOSHI_ERR_INVALID_ARGUMENT);
}

TEST_F(EngineLoad, TheFirstNumberOfThreadsWinsAndAConflictIsLogged) {
  MoshiEngineConfig config = MOSHI_INIT(MoshiEngineConfig);
  config.model = "a";
  config.roles = MOSHI_ROLE_ENCODE;
  config.threads = 2;
  MoshiEngine* engine = nullptr;
  ASSERT_EQ(try_open(&engine, config), MOSHI_OK);
  config.model = "b";
  config.threads = 0;  // no wish, no conflict
  ASSERT_EQ(try_open(&engine, config), MOSHI_OK);
  EXPECT_TRUE(logged("threads=").empty());
  config.model = "c";
  config.threads = 3;
  ASSERT_EQ(try_open(&engine, config), MOSHI_OK);
  EXPECT_EQ(logged("threads=3").size(), 1u);
  MoshiEngineInfo info = MOSHI_INIT(MoshiEngineInfo);
  ASSERT_EQ(api.engine_info(engine, &info, &error), MOSHI_OK);
  EXPECT_EQ(info.threads, 2);
}

TEST_F(EngineLoad, AModelThatIsNotNamedIsTheDefaultOne) {
  const auto path_and_embedded = [this](const char* model, const char* weights) {
    MoshiEngineConfig config = MOSHI_INIT(MoshiEngineConfig);
    config.model = model;
    config.weights = weights;
    config.device = "cpu";
    config.roles = MOSHI_ROLE_ENCODE;
    MoshiEngine* engine = nullptr;
    MoshiEngineInfo info = MOSHI_INIT(MoshiEngineInfo);
    if (api.engine_open(&config, &engine, &error) != MOSHI_OK) return std::string(error.message);
    EXPECT_EQ(api.engine_info(engine, &info, &error), MOSHI_OK);
    const std::string result = info.model_path + std::string(info.embedded ? " embedded" : "");
    api.engine_close(engine);
    return result;
  };
  EXPECT_EQ(path_and_embedded(nullptr, nullptr), "/models/default embedded");
  EXPECT_EQ(path_and_embedded("", ""), "/models/default embedded");
  EXPECT_EQ(path_and_embedded("a", nullptr), "/models/a");
  EXPECT_EQ(path_and_embedded(nullptr, "w"), "/models/") << "weights alone are a model";
  default_model = {"named", false};
  EXPECT_EQ(path_and_embedded(nullptr, nullptr), "/models/named");
  default_model = {"missing", false};
  EXPECT_NE(path_and_embedded(nullptr, nullptr).find("MOSHI_DEFAULT_MODEL"), std::string::npos);
  default_model = {"missing", true};
  EXPECT_NE(path_and_embedded(nullptr, nullptr).find("embedded models: install"), std::string::npos);
  EXPECT_EQ(path_and_embedded("missing", nullptr).find("embedded"), std::string::npos);
}

TEST_F(EngineLoad, InfoIsFilledAsFarAsTheCallersStructGoes) {
  MoshiEngine* engine = open();
  MoshiEngineInfo info = MOSHI_INIT(MoshiEngineInfo);
  info.size = offsetof(MoshiEngineInfo, embedded);
  info.embedded = 77;
  ASSERT_EQ(api.engine_info(engine, &info, &error), MOSHI_OK);
  EXPECT_STREQ(info.model_path, "/models/a");
  EXPECT_EQ(info.embedded, 77);
  info.size -= 1;
  EXPECT_EQ(api.engine_info(engine, &info, &error), MOSHI_ERR_INVALID_ARGUMENT);
}

TEST_F(EngineLoad, InfoIsThereAtOnceAndCompleteWhenLoaded) {
  const auto gate = stop_loads();
  MoshiEngine* engine = open();
  MoshiEngineInfo info = MOSHI_INIT(MoshiEngineInfo);
  ASSERT_EQ(api.engine_info(engine, &info, &error), MOSHI_OK);
  EXPECT_STREQ(info.model_path, "/models/a");
  EXPECT_STREQ(info.mimi_file, "/models/a/mimi");
  EXPECT_STREQ(info.mimi_sha256, "");
  EXPECT_EQ(info.mimi_bytes, 1234u);
  EXPECT_EQ(info.sample_rate, 200);
  EXPECT_EQ(info.frame_samples, stub::kFrameSamples);
  EXPECT_EQ(info.frame_rate_numerator, 25);
  EXPECT_EQ(info.frame_rate_denominator, 2);
  EXPECT_EQ(info.codebooks, stub::kCodebooks);
  EXPECT_EQ(info.cardinality, stub::kBins);
  EXPECT_EQ(info.latent_width, stub::kLatent);
  EXPECT_STREQ(info.device, "cpu");
  EXPECT_EQ(info.precision, MOSHI_PRECISION_F32);
  EXPECT_EQ(info.processing_ns_encode, 0);
  MoshiSession* none = nullptr;
  EXPECT_EQ(try_session(engine, &none), MOSHI_ERR_TIMEOUT);
  gate->open();
  ASSERT_EQ(api.engine_wait(engine, MOSHI_FOREVER, &error), MOSHI_OK);
  ASSERT_EQ(api.engine_info(engine, &info, &error), MOSHI_OK);
  EXPECT_EQ(std::string(info.mimi_sha256).size(), 64u);
  EXPECT_STREQ(info.kernels, "stub");
  EXPECT_EQ(info.processing_ns_encode, 2'000'000);
  EXPECT_EQ(info.processing_ns_decode, 2'000'000);

  info.size = 4;
  EXPECT_EQ(api.engine_info(engine, &info, &error), MOSHI_ERR_INVALID_ARGUMENT);
}

TEST_F(EngineLoad, LimitsCountSessionsAndMemory) {
  MoshiEngine* engine = loaded();
  MoshiEngineLimits limits = MOSHI_INIT(MoshiEngineLimits);
  ASSERT_EQ(api.engine_limits(engine, MOSHI_ROLE_ENCODE | MOSHI_ROLE_DECODE, &limits, &error), MOSHI_OK);
  EXPECT_EQ(limits.bytes_weights, 50'000'000u);
  EXPECT_EQ(limits.bytes_session, 2'000'000u);
  EXPECT_EQ(limits.bytes_free, 1'000'000'000u);
  EXPECT_EQ(limits.sessions_open, 0);
  session(engine);
  ASSERT_EQ(api.engine_limits(engine, MOSHI_ROLE_DECODE, &limits, &error), MOSHI_OK);
  EXPECT_EQ(limits.bytes_session, 1'000'000u);
  EXPECT_EQ(limits.bytes_free, 998'000'000u);  // promised to the session, which has not filled its rings yet
  EXPECT_EQ(limits.sessions_open, 1);
}

TEST_F(EngineLoad, WhatACodecDoesNotHaveSaysSo) {
  MoshiEngine* engine = loaded();
  MoshiSession* stream = session(engine);
  MoshiStepHooks hooks = MOSHI_INIT(MoshiStepHooks);
  EXPECT_EQ(api.engine_set_hooks(engine, &hooks, &error), MOSHI_ERR_INVALID_ARGUMENT);
  MoshiLmInfo info = MOSHI_INIT(MoshiLmInfo);
  EXPECT_EQ(api.lm_info(engine, &info, &error), MOSHI_ERR_INVALID_ARGUMENT);
  MoshiPiece piece = MOSHI_INIT(MoshiPiece);
  EXPECT_EQ(api.lm_piece(engine, 5, &piece, &error), MOSHI_ERR_INVALID_ARGUMENT);
  int64_t seed = 0;
  EXPECT_EQ(api.session_seed(stream, &seed, &error), MOSHI_ERR_INVALID_ARGUMENT);
  MoshiCondition condition = MOSHI_INIT(MoshiCondition);
  EXPECT_EQ(api.session_set_conditions(stream, &condition, 1, &error), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(api.session_set(stream, "temperature", 0.5, &error), MOSHI_ERR_NOT_SUPPORTED);
  void* buffer = &condition;
  EXPECT_EQ(api.buffer_alloc(engine, 100, &buffer, &error), MOSHI_ERR_NOT_SUPPORTED);
  EXPECT_EQ(buffer, nullptr);
  api.buffer_free(engine, nullptr);
  MoshiJob job = MOSHI_INIT(MoshiJob);
  job.kind = MOSHI_JOB_STEP;
  EXPECT_EQ(api.submit(stream, &job, &error), MOSHI_ERR_INVALID_ARGUMENT);
}

}  // namespace

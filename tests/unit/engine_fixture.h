// SPDX-License-Identifier: MIT
// The engine's table over the stub codec: files, memory, clock and loads as a test wants them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/log.h"
#include "engine/environment.h"
#include "engine/loader.h"
#include "engine/table.h"
#include "stub_codec.h"

namespace fixture {

using moshi::engine::CodecRequest;
using moshi::engine::ModelFacts;
using moshi::engine::ModelRequest;
using moshi::engine::ModelSource;
using moshi::mimi::Direction;

class Source final : public ModelSource, public moshi::mimi::TensorSource {
 public:
  explicit Source(ModelFacts facts) : facts_(std::move(facts)) {}
  const ModelFacts& facts() const override { return facts_; }
  const TensorSource& tensors() const override { return *this; }
  std::string sha256() const override {
    std::string digest = facts_.mimi_file + std::string(64, '0');
    return digest.substr(0, 64);
  }
  uint64_t weight_bytes(std::span<const Direction> directions) const override { return 50'000'000 * directions.size(); }
  std::vector<float> read(const std::string&) const override { return {}; }

 private:
  ModelFacts facts_;
};

/// Noise that differs by `seed`.
inline std::vector<float> audio(int frames, uint64_t seed) {
  std::vector<float> pcm(static_cast<size_t>(frames) * stub::kFrameSamples);
  uint64_t state = seed + 1;
  for (float& sample : pcm) {
    state = stub::mix(state, 7);
    sample = static_cast<float>(state >> 40) / static_cast<float>(1 << 24) - 0.5f;
  }
  return pcm;
}

inline std::vector<uint16_t> codes(int frames, int codebooks, uint64_t seed) {
  std::vector<uint16_t> result(static_cast<size_t>(frames) * static_cast<size_t>(codebooks));
  uint64_t state = seed + 1;
  for (uint16_t& code : result) {
    state = stub::mix(state, 3);
    code = static_cast<uint16_t>((state >> 33) % stub::kBins);
  }
  return result;
}

/// A job with the buffers that it needs.
struct Work {
  MoshiJob job = MOSHI_INIT(MoshiJob);
  std::vector<float> pcm;
  std::vector<uint16_t> codes;

  static std::unique_ptr<Work> encode(std::vector<float> pcm, int codebooks = stub::kCodebooks) {
    auto work = std::make_unique<Work>();
    work->pcm = std::move(pcm);
    work->job.kind = MOSHI_JOB_ENCODE;
    work->job.frames = static_cast<int32_t>(work->pcm.size() / stub::kFrameSamples);
    work->job.codebooks = codebooks;
    work->job.deadline_ns = MOSHI_NO_DEADLINE;
    work->codes.resize(static_cast<size_t>(work->job.frames * codebooks));
    work->job.pcm_in = work->pcm.data();
    work->job.codes_out = work->codes.data();
    return work;
  }

  static std::unique_ptr<Work> decode(std::vector<uint16_t> codes, int codebooks = stub::kCodebooks) {
    auto work = std::make_unique<Work>();
    work->codes = std::move(codes);
    work->job.kind = MOSHI_JOB_DECODE;
    work->job.frames = static_cast<int32_t>(work->codes.size()) / codebooks;
    work->job.codebooks = codebooks;
    work->job.deadline_ns = MOSHI_NO_DEADLINE;
    work->pcm.resize(static_cast<size_t>(work->job.frames) * stub::kFrameSamples);
    work->job.codes_in = work->codes.data();
    work->job.pcm_out = work->pcm.data();
    return work;
  }
};

class EngineTest : public testing::Test {
 protected:
  EngineTest() {
    moshi::engine::Environment environment = moshi::engine::default_environment();
    environment.default_model = [this] { return default_model; };
    environment.open_source = [this](const ModelRequest& request) { return open_source(request); };
    environment.make_codec = [this](const CodecRequest& request) { return make_codec(request); };
    environment.free_bytes = [this] { return free_bytes.load(); };
    environment.now_ns = [this] { return control.now_ns.load(); };
    moshi::engine::set_environment(environment);
    moshi::set_log(&EngineTest::on_log, this);
  }

  ~EngineTest() override {
    close_all();
    wait_until_freed();
    EXPECT_EQ(control.rows, 0);
    moshi::set_log(nullptr, nullptr);
    moshi::engine::set_environment(moshi::engine::default_environment());
  }

  void close_all() {
    for (MoshiSession* session : sessions_) api.session_close(session);
    for (MoshiEngine* engine : engines_) api.engine_close(engine);
    sessions_.clear();
    engines_.clear();
  }

  /// A load that was cancelled may hold its model a little longer than the last engine does.
  void wait_until_freed() {
    while (moshi::engine::Loader::threads() > 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    EXPECT_EQ(control.codecs, 0);
  }

  MoshiStatus try_open(MoshiEngine** engine, const char* model = "a",
                       uint32_t roles = MOSHI_ROLE_ENCODE | MOSHI_ROLE_DECODE) {
    MoshiEngineConfig config = MOSHI_INIT(MoshiEngineConfig);
    config.model = model;
    config.roles = roles;
    config.threads = 1;
    return try_open(engine, config);
  }
  MoshiStatus try_open(MoshiEngine** engine, const MoshiEngineConfig& config) {
    const MoshiStatus status = api.engine_open(&config, engine, &error);
    if (status == MOSHI_OK) engines_.push_back(*engine);
    return status;
  }
  MoshiEngine* open(const char* model = "a", uint32_t roles = MOSHI_ROLE_ENCODE | MOSHI_ROLE_DECODE) {
    MoshiEngine* engine = nullptr;
    EXPECT_EQ(try_open(&engine, model, roles), MOSHI_OK) << error.message;
    return engine;
  }
  /// Opens and waits until it is loaded; the calls of the warm-up are forgotten.
  MoshiEngine* loaded(const char* model = "a", uint32_t roles = MOSHI_ROLE_ENCODE | MOSHI_ROLE_DECODE) {
    MoshiEngine* engine = open(model, roles);
    EXPECT_EQ(api.engine_wait(engine, MOSHI_FOREVER, &error), MOSHI_OK) << error.message;
    control.forget_calls();
    return engine;
  }
  void close(MoshiEngine* engine) {
    engines_.erase(std::find(engines_.begin(), engines_.end(), engine));
    api.engine_close(engine);
  }

  MoshiStatus try_session(MoshiEngine* engine, MoshiSession** session, MoshiClass work_class = MOSHI_CLASS_LIVE,
                          uint32_t roles = MOSHI_ROLE_ENCODE | MOSHI_ROLE_DECODE) {
    MoshiSessionConfig config = MOSHI_INIT(MoshiSessionConfig);
    config.roles = roles;
    config.work_class = work_class;
    const MoshiStatus status = api.session_open(engine, &config, session, &error);
    if (status == MOSHI_OK) sessions_.push_back(*session);
    return status;
  }
  MoshiSession* session(MoshiEngine* engine, MoshiClass work_class = MOSHI_CLASS_LIVE,
                        uint32_t roles = MOSHI_ROLE_ENCODE | MOSHI_ROLE_DECODE) {
    MoshiSession* result = nullptr;
    EXPECT_EQ(try_session(engine, &result, work_class, roles), MOSHI_OK) << error.message;
    return result;
  }
  void close(MoshiSession* session) {
    sessions_.erase(std::find(sessions_.begin(), sessions_.end(), session));
    api.session_close(session);
  }
  MoshiSession* adopt(MoshiSession* session) {
    sessions_.push_back(session);
    return session;
  }

  void submit(MoshiSession* session, Work& work) {
    ASSERT_EQ(api.submit(session, &work.job, &error), MOSHI_OK) << error.message;
  }
  MoshiStatus wait(MoshiSession* session, Work& work) { return api.wait(session, &work.job, MOSHI_FOREVER, &error); }
  MoshiStatus run(MoshiSession* session, Work& work) {
    submit(session, work);
    return wait(session, work);
  }

  std::vector<std::string> logged(const std::string& part) {
    std::lock_guard lock(mutex_);
    std::vector<std::string> found;
    for (const std::string& line : log_) {
      if (line.find(part) != std::string::npos) found.push_back(line);
    }
    return found;
  }

  const MoshiCoreApi& api = moshi::engine::core_table();
  MoshiError error = MOSHI_INIT(MoshiError);
  stub::Control control;
  std::atomic<uint64_t> free_bytes{1'000'000'000};
  std::atomic<int> loads{0};     ///< calls of the codec factory
  std::atomic<int> identity{0};  ///< of the file that each path leads to
  /// Called in the factory with the number of the load, from 1 on, and its progress function.
  std::function<void(int, const std::function<void(double)>&)> while_loading;
  moshi::engine::DefaultModel default_model{"default", true};
  /// What each load was for.
  std::vector<std::vector<Direction>> loaded_directions() {
    std::lock_guard lock(mutex_);
    return directions_;
  }

 private:
  std::shared_ptr<const ModelSource> open_source(const ModelRequest& request) {
    if (request.model == "missing") throw moshi::Error(MOSHI_ERR_NOT_FOUND, "there is no model \"missing\"");
    ModelFacts facts;
    facts.model_path = "/models/" + request.model;
    facts.mimi_file = facts.model_path + "/" + (request.weights.empty() ? "mimi" : request.weights);
    facts.mimi_bytes = 1234;
    facts.identity = facts.mimi_file + "#" + std::to_string(identity);
    facts.config = stub::small_config();
    return std::make_shared<Source>(facts);
  }

  std::unique_ptr<moshi::mimi::Codec> make_codec(const CodecRequest& request) {
    const int number = ++loads;
    {
      std::lock_guard lock(mutex_);
      directions_.emplace_back(request.directions.begin(), request.directions.end());
    }
    request.progress(0.0);
    auto codec = std::make_unique<stub::StubCodec>(control, request.config);
    if (while_loading) while_loading(number, request.progress);
    request.progress(1.0);
    return codec;
  }

  static void on_log(void* user, MoshiLogLevel, const char*, const char* message) {
    auto* self = static_cast<EngineTest*>(user);
    std::lock_guard lock(self->mutex_);
    self->log_.emplace_back(message);
  }

  std::vector<MoshiEngine*> engines_;
  std::vector<MoshiSession*> sessions_;
  std::mutex mutex_;
  std::vector<std::string> log_;
  std::vector<std::vector<Direction>> directions_;
};

}  // namespace fixture

// SPDX-License-Identifier: MIT
// The engine's table over the stub language model.
#pragma once

#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "engine_fixture.h"
#include "stub_language_model.h"

namespace fixture {

using moshi::engine::LmFacts;
using moshi::engine::LmRequest;
using moshi::engine::LmSource;

class StubLmSource final : public LmSource {
 public:
  explicit StubLmSource(ModelFacts facts) : facts_(std::move(facts)), weights_(facts_.lm->file) {}
  const ModelFacts& facts() const override { return facts_; }
  const moshi::lm::Weights& weights() const override { return weights_; }

 private:
  ModelFacts facts_;
  stub::StubWeights weights_;
};

/// User tokens that differ by `seed`, none of them poison.
inline std::vector<int32_t> heard(int frames, uint64_t seed) {
  std::vector<int32_t> tokens(static_cast<size_t>(frames) * stub::kUser);
  uint64_t state = seed + 1;
  for (int32_t& token : tokens) {
    state = stub::mix(state, 5);
    token = static_cast<int32_t>((state >> 33) % (stub::kCard - 20)) + 20;
  }
  return tokens;
}

/// A step job with the buffers that it needs.
struct Steps {
  explicit Steps(std::vector<int32_t> heard_tokens) : user(std::move(heard_tokens)) {
    job.kind = MOSHI_JOB_STEP;
    job.frames = static_cast<int32_t>(user.size()) / stub::kUser;
    job.deadline_ns = MOSHI_NO_DEADLINE;
    tokens.assign(static_cast<size_t>(job.frames) * (1 + stub::kOwn), -99);
    sampled = tokens;
    job.user_tokens = user.data();
    job.tokens_out = tokens.data();
    job.sampled_out = sampled.data();
  }
  Steps(const Steps&) = delete;
  Steps& operator=(const Steps&) = delete;

  MoshiJob job = MOSHI_INIT(MoshiJob);
  std::vector<int32_t> user, tokens, sampled;
};

class LmTest : public EngineTest {
 protected:
  LmTest() {
    moshi::engine::Environment environment = moshi::engine::environment();
    environment.open_lm_source = [this](const LmRequest& request) { return open_lm_source(request); };
    environment.make_language_model = [this](const moshi::lm::ModelRequest& request) {
      return make_language_model(request);
    };
    environment.lm_packed_bytes = [](const auto&, const auto&, bool bf16, bool) -> uint64_t {
      return bf16 ? 32'000'000 : 64'000'000;
    };
    environment.lm_row_bytes = [](const auto&, bool, bool guidance) -> uint64_t {
      return (guidance ? 2 : 1) * stub::kLmRowBytes;
    };
    moshi::engine::set_environment(environment);
  }
  ~LmTest() override {
    close_all();
    wait_until_freed();
    EXPECT_EQ(lm_control.models, 0);
    EXPECT_EQ(lm_control.rows, 0);
  }

  MoshiEngine* lm_loaded(const char* model = "a") { return loaded(model, MOSHI_ROLE_LM); }

  MoshiStatus try_lm_session(MoshiEngine* engine, MoshiSession** session, int64_t seed = 1, int max_sessions = 0) {
    MoshiSessionConfig config = MOSHI_INIT(MoshiSessionConfig);
    config.roles = MOSHI_ROLE_LM;
    config.seed = seed;
    config.max_sessions = max_sessions;
    const MoshiStatus status = api.session_open(engine, &config, session, &error);
    if (status == MOSHI_OK) adopt(*session);
    return status;
  }
  MoshiSession* lm_session(MoshiEngine* engine, int64_t seed = 1, MoshiClass work_class = MOSHI_CLASS_LIVE) {
    MoshiSession* session = nullptr;
    EXPECT_EQ(try_lm_session(engine, &session, seed), MOSHI_OK) << error.message;
    EXPECT_EQ(api.session_set(session, "class", work_class, &error), MOSHI_OK);
    return session;
  }

  void submit(MoshiSession* session, Steps& steps) {
    ASSERT_EQ(api.submit(session, &steps.job, &error), MOSHI_OK) << error.message;
  }
  MoshiStatus wait(MoshiSession* session, Steps& steps) { return api.wait(session, &steps.job, MOSHI_FOREVER, &error); }
  MoshiStatus run(MoshiSession* session, Steps& steps) {
    submit(session, steps);
    return wait(session, steps);
  }
  /// What the next steps sample, or what is there of it if they fail.
  std::vector<int32_t> sampled(MoshiSession* session, const std::vector<int32_t>& user) {
    Steps steps(user);
    EXPECT_EQ(run(session, steps), MOSHI_OK) << error.message;
    return steps.sampled;
  }
  /// What a conversation of its own samples.
  std::vector<int32_t> alone(MoshiEngine* engine, const std::vector<int32_t>& user, int64_t seed = 1) {
    MoshiSession* session = lm_session(engine, seed);
    std::vector<int32_t> result = sampled(session, user);
    close(session);
    return result;
  }
  bool says(const std::string& part) const { return std::string(error.message).find(part) != std::string::npos; }

  stub::LmControl lm_control{control};
  stub::lm::Config lm_config = stub::small_lm_config();
  std::atomic<int> lm_loads{0};
  int pieces = stub::kTextCard;  ///< of the tokenizer; 0: there is none
  std::string lm_mimi;           ///< the Mimi beside the model
  std::vector<LmRequest> lm_requests;
  std::vector<bool> lm_bf16;  ///< of each load

 private:
  std::shared_ptr<const LmSource> open_lm_source(const LmRequest& request) {
    lm_requests.push_back(request);
    auto facts = std::make_shared<LmFacts>();
    facts->file = "/models/" + request.model + "/lm";
    facts->bytes = 4321;
    facts->lora_file = request.lora;
    facts->lora_separate = request.lora_separate;
    facts->config = lm_config;
    facts->mimi_file = lm_mimi;
    if (pieces > 0) {
      facts->tokenizer_file = "/models/" + request.model + "/tokenizer";
      facts->tokenizer = std::make_shared<stub::StubTokenizer>(pieces);
      moshi::engine::check_tokenizer(*facts->tokenizer, facts->config, facts->tokenizer_file);
    }
    ModelFacts result;
    result.model_path = "/models/" + request.model;
    result.identity = facts->file + "#" + request.lora + (request.lora_separate ? "+" : "") + request.config;
    result.lm = std::move(facts);
    return std::make_shared<StubLmSource>(result);
  }

  std::unique_ptr<moshi::lm::LanguageModel> make_language_model(const moshi::lm::ModelRequest& request) {
    const int number = ++lm_loads;
    lm_bf16.push_back(request.bf16);
    request.progress(0.0);
    auto model = std::make_unique<stub::StubLanguageModel>(lm_control, request.config);
    if (while_loading) while_loading(number, request.progress);
    request.progress(1.0);
    return model;
  }
};

}  // namespace fixture

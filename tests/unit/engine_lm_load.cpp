// SPDX-License-Identifier: MIT
// Opening language models: roles, one load for all, precision, memory, facts, pieces, silence.
#include <condition_variable>

#include "engine_lm_fixture.h"

namespace {

using fixture::LmTest;

class EngineLmLoad : public LmTest {
 protected:
  MoshiLmInfo info(MoshiEngine* engine) {
    MoshiLmInfo result = MOSHI_INIT(MoshiLmInfo);
    EXPECT_EQ(api.lm_info(engine, &result, &error), MOSHI_OK) << error.message;
    return result;
  }
  MoshiPiece piece(MoshiEngine* engine, int32_t token) {
    MoshiPiece result = MOSHI_INIT(MoshiPiece);
    EXPECT_EQ(api.lm_piece(engine, token, &result, &error), MOSHI_OK) << error.message;
    return result;
  }
  static MoshiEngineConfig lm_configuration() {
    MoshiEngineConfig config = MOSHI_INIT(MoshiEngineConfig);
    config.model = "a";
    config.roles = MOSHI_ROLE_LM;
    config.threads = 1;
    return config;
  }
  MoshiStatus open_with(const MoshiEngineConfig& config, MoshiEngine** engine) { return try_open(engine, config); }
  void load(const MoshiEngineConfig& config) {
    MoshiEngine* engine = nullptr;
    ASSERT_EQ(try_open(&engine, config), MOSHI_OK) << error.message;
    ASSERT_EQ(api.engine_wait(engine, MOSHI_FOREVER, &error), MOSHI_OK) << error.message;
  }
};

TEST_F(EngineLmLoad, RolesAreOfOneModel) {
  MoshiEngine* engine = nullptr;
  EXPECT_EQ(try_open(&engine, "a", MOSHI_ROLE_LM | MOSHI_ROLE_ENCODE), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_TRUE(says("one engine for each model")) << error.message;
  engine = lm_loaded();
  MoshiSession* session = nullptr;
  EXPECT_EQ(try_session(engine, &session, MOSHI_CLASS_LIVE, MOSHI_ROLE_ENCODE), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_TRUE(says("MOSHI_ROLE_ENCODE")) << error.message;
  EXPECT_EQ(try_session(loaded(), &session, MOSHI_CLASS_LIVE, MOSHI_ROLE_LM), MOSHI_ERR_INVALID_ARGUMENT);
  auto work = fixture::Work::encode(fixture::audio(1, 1));
  EXPECT_EQ(api.submit(lm_session(engine), &work->job, &error), MOSHI_ERR_INVALID_ARGUMENT);
}

TEST_F(EngineLmLoad, OneModelIsLoadedOnceForAll) {
  MoshiEngine* first = lm_loaded();
  lm_loaded();
  EXPECT_EQ(lm_loads, 1);
  lm_loaded("b");
  EXPECT_EQ(lm_loads, 2);
  close(first);
  EXPECT_EQ(lm_control.models, 2);
  EXPECT_EQ(loads, 0);  // no codec
}

TEST_F(EngineLmLoad, ALoraAConfigurationAndAPrecisionMakeAnotherModel) {
  MoshiEngineConfig config = lm_configuration();
  load(config);
  config.lora = "/loras/one";
  load(config);
  config.lora_separate = 1;
  load(config);
  config.config = "/configs/one";
  load(config);
  EXPECT_EQ(lm_loads, 4);
  config.precision = MOSHI_PRECISION_BF16;
  load(config);
  load(config);
  EXPECT_EQ(lm_bf16, (std::vector<bool>{false, false, false, false, true}));
  EXPECT_EQ(lm_requests.back().lora, "/loras/one");
  EXPECT_TRUE(lm_requests.back().lora_separate);
}

TEST_F(EngineLmLoad, WhatItCannotComputeIsRefused) {
  MoshiEngine* engine = nullptr;
  MoshiEngineConfig config = lm_configuration();
  config.precision = MOSHI_PRECISION_INT4;
  EXPECT_EQ(open_with(config, &engine), MOSHI_ERR_NOT_SUPPORTED);
  config = lm_configuration();
  config.backend = 2;
  EXPECT_EQ(open_with(config, &engine), MOSHI_ERR_NOT_SUPPORTED);
}

/// Where a load stands still until the test lets it go on.
struct Gate {
  std::mutex mutex;
  std::condition_variable changed;
  bool reached = false;
  bool is_open = false;

  void pass() {
    std::unique_lock lock(mutex);
    reached = true;
    changed.notify_all();
    changed.wait(lock, [&] { return is_open; });
  }
  void wait_until_reached() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return reached; });
  }
  void open() {
    std::lock_guard lock(mutex);
    is_open = true;
    changed.notify_all();
  }
};

TEST_F(EngineLmLoad, WhoComesWhileItLoadsJoinsAndMayLeave) {
  Gate gate;
  while_loading = [&](int, const std::function<void(double)>& progress) {
    gate.pass();
    progress(0.5);
  };
  MoshiEngine* leaver = open("a", MOSHI_ROLE_LM);
  MoshiEngine* stayer = open("a", MOSHI_ROLE_LM);
  gate.wait_until_reached();
  MoshiSession* session = nullptr;
  EXPECT_EQ(try_lm_session(stayer, &session), MOSHI_ERR_TIMEOUT);
  EXPECT_STREQ(info(stayer).lm_sha256, "");
  EXPECT_EQ(info(stayer).processing_ns_step, 0);
  api.engine_cancel(leaver);
  EXPECT_EQ(api.engine_wait(leaver, MOSHI_FOREVER, &error), MOSHI_ERR_CANCELLED);
  gate.open();
  EXPECT_EQ(api.engine_wait(stayer, MOSHI_FOREVER, &error), MOSHI_OK) << error.message;
  EXPECT_EQ(lm_loads, 1);
}

TEST_F(EngineLmLoad, ALoadThatNobodyWantsStops) {
  Gate gate;
  while_loading = [&](int, const std::function<void(double)>& progress) {
    gate.pass();
    progress(0.5);
    ADD_FAILURE() << "the load went on";
  };
  MoshiEngine* engine = open("a", MOSHI_ROLE_LM);
  gate.wait_until_reached();
  close(engine);
  gate.open();
  wait_until_freed();
  EXPECT_EQ(lm_control.models, 0);
}

TEST_F(EngineLmLoad, TooLittleMemoryNamesBothNumbers) {
  free_bytes = 50'000'000;
  MoshiEngine* engine = open("a", MOSHI_ROLE_LM);
  EXPECT_EQ(api.engine_wait(engine, MOSHI_FOREVER, &error), MOSHI_ERR_NO_MEMORY);
  EXPECT_TRUE(says("65.0 MB (65000000 bytes)") && says("50.0 MB (50000000 bytes)")) << error.message;
  EXPECT_EQ(lm_loads, 0);
}

TEST_F(EngineLmLoad, InfoIsComplete) {
  MoshiEngine* engine = lm_loaded();
  const MoshiLmInfo facts = info(engine);
  EXPECT_STREQ(facts.lm_file, "/models/a/lm");
  EXPECT_EQ(std::string(facts.lm_sha256).size(), 64u);
  EXPECT_EQ(facts.lm_bytes, 4321u);
  EXPECT_STREQ(facts.tokenizer_file, "/models/a/tokenizer");
  EXPECT_EQ(facts.text_eos, 2);
  EXPECT_STREQ(facts.lora_file, "");
  EXPECT_STREQ(facts.model_type, "moshi");
  EXPECT_EQ(facts.own_streams, stub::kOwn);
  EXPECT_EQ(facts.user_streams, stub::kUser);
  EXPECT_EQ(facts.cardinality, stub::kCard);
  EXPECT_EQ(facts.text_cardinality, stub::kTextCard);
  EXPECT_EQ(facts.text_logits, stub::kTextCard);
  EXPECT_EQ(facts.text_padding, 3);
  EXPECT_EQ(facts.text_end_padding, 0);
  EXPECT_EQ(std::vector<int32_t>(facts.delays, facts.delays + 6), (std::vector<int32_t>{0, 0, 2, 0, 1, 2}));
  EXPECT_EQ(facts.max_delay, stub::kMaxDelay);
  EXPECT_EQ(facts.context, 5);
  EXPECT_EQ(facts.extra_heads, stub::kHeads);
  EXPECT_EQ(facts.extra_head_width, stub::kHeadWidth);
  EXPECT_EQ(facts.silence, nullptr);
  EXPECT_STREQ(facts.mimi_sha256, "");
  EXPECT_EQ(facts.processing_ns_step, 2'000'000);
  EXPECT_EQ(facts.temperature, 0.5f);
  EXPECT_EQ(facts.top_k, 7);
  EXPECT_EQ(facts.sampling, 1);

  MoshiEngineInfo general = MOSHI_INIT(MoshiEngineInfo);
  ASSERT_EQ(api.engine_info(engine, &general, &error), MOSHI_OK);
  EXPECT_STREQ(general.model_path, "/models/a");
  EXPECT_STREQ(general.mimi_file, "");
  EXPECT_STREQ(general.kernels, "stub");
  EXPECT_EQ(general.codebooks, 0);
  EXPECT_EQ(general.frame_rate_numerator, 25);
  EXPECT_EQ(general.frame_rate_denominator, 2);
}

TEST_F(EngineLmLoad, LimitsAreKnownBeforeAndAfterTheLoad) {
  MoshiEngineLimits limits = MOSHI_INIT(MoshiEngineLimits);
  MoshiEngine* engine = open("a", MOSHI_ROLE_LM);
  ASSERT_EQ(api.engine_limits(engine, MOSHI_ROLE_LM, &limits, &error), MOSHI_OK);
  EXPECT_EQ(limits.bytes_session, stub::kLmRowBytes);
  ASSERT_EQ(api.engine_wait(engine, MOSHI_FOREVER, &error), MOSHI_OK);
  lm_session(engine);
  ASSERT_EQ(api.engine_limits(engine, MOSHI_ROLE_LM, &limits, &error), MOSHI_OK);
  EXPECT_EQ(limits.bytes_weights, 70'000'000u);
  EXPECT_EQ(limits.bytes_session, stub::kLmRowBytes);
  EXPECT_EQ(limits.sessions_open, 1);
  EXPECT_EQ(limits.bytes_free, free_bytes - stub::kLmRowBytes);
  EXPECT_EQ(api.engine_limits(engine, MOSHI_ROLE_ENCODE, &limits, &error), MOSHI_ERR_INVALID_ARGUMENT);
}

TEST_F(EngineLmLoad, PiecesAreTheTokenizers) {
  MoshiEngine* engine = lm_loaded();
  EXPECT_EQ(piece(engine, 5).kind, MOSHI_PIECE_TEXT);
  EXPECT_EQ(std::string(piece(engine, 5).bytes, piece(engine, 5).count), " 5");
  EXPECT_EQ(piece(engine, stub::kTextCard - 1).kind, MOSHI_PIECE_BYTE);
  EXPECT_EQ(piece(engine, stub::kTextCard - 1).count, 1u);
  for (const int32_t silent : {0, 3, -1, MOSHI_TOKEN_NONE, stub::kTextCard, INT32_MAX}) {
    EXPECT_EQ(piece(engine, silent).kind, MOSHI_PIECE_NONE) << silent;
    EXPECT_EQ(piece(engine, silent).count, 0u) << silent;
  }
  pieces = 0;
  MoshiPiece none = MOSHI_INIT(MoshiPiece);
  MoshiEngine* mute = lm_loaded("b");
  EXPECT_EQ(api.lm_piece(mute, 5, &none, &error), MOSHI_ERR_NOT_SUPPORTED);
  EXPECT_STREQ(info(mute).tokenizer_file, "");
  EXPECT_EQ(info(mute).text_eos, -1);
}

TEST_F(EngineLmLoad, ATokenizerOfAnotherModelIsRefused) {
  MoshiEngine* engine = nullptr;
  pieces = stub::kTextCard + 1;
  EXPECT_EQ(try_open(&engine, "a", MOSHI_ROLE_LM), MOSHI_ERR_MISMATCH);
  EXPECT_TRUE(says("21 pieces") && says("takes 20")) << error.message;
  pieces = stub::kTextCard - 1;
  EXPECT_EQ(try_open(&engine, "a", MOSHI_ROLE_LM), MOSHI_ERR_MISMATCH);
  EXPECT_TRUE(says("19 pieces") && says("says 20")) << error.message;
  // It need not have a piece for what the model never says.
  lm_config.text_card_out = 5;
  EXPECT_EQ(try_open(&engine, "a", MOSHI_ROLE_LM), MOSHI_OK) << error.message;
  // Nor for tokens of two texts in one, or for more than the text that the model reads.
  lm_config.text_card_out = stub::kTextCard;
  lm_config.demux_second_text_stream = true;
  EXPECT_EQ(try_open(&engine, "b", MOSHI_ROLE_LM), MOSHI_OK) << error.message;
  lm_config.demux_second_text_stream = false;
  lm_config.text_card_out = stub::kTextCard + 4;
  EXPECT_EQ(try_open(&engine, "c", MOSHI_ROLE_LM), MOSHI_OK) << error.message;
}

TEST_F(EngineLmLoad, SilenceIsWhatTheMimiBesideItSays) {
  lm_mimi = "silent";
  MoshiEngine* engine = lm_loaded();
  const auto codes = stub::encoded(std::vector<float>(26 * stub::kFrameSamples), stub::kUser);
  const MoshiLmInfo facts = info(engine);
  ASSERT_NE(facts.silence, nullptr);
  EXPECT_EQ(std::vector<uint16_t>(facts.silence, facts.silence + stub::kUser),
            (std::vector<uint16_t>{codes.end() - stub::kUser, codes.end()}));
  EXPECT_EQ(std::string(facts.mimi_sha256).size(), 64u);
  EXPECT_EQ(loaded_directions(), (std::vector<std::vector<fixture::Direction>>{{fixture::Direction::kEncode}}));
  EXPECT_EQ(control.codecs, 0);  // it is not kept
  EXPECT_EQ(control.rows, 0);
}

TEST_F(EngineLmLoad, AMimiThatCannotBeUsedLeavesSilenceUnknown) {
  lm_mimi = "missing";
  EXPECT_EQ(info(lm_loaded("a")).silence, nullptr);
  EXPECT_EQ(logged("silence").size(), 1u);
  lm_mimi = "other";
  lm_config.card = 32;  // the stub codec has 64
  EXPECT_EQ(info(lm_loaded("b")).silence, nullptr);
  EXPECT_EQ(logged("silence").size(), 2u);
  EXPECT_EQ(loads, 0);
  lm_config.card = 64;
  while_loading = [this](int, const auto&) {
    if (loads > 0) throw moshi::Error(MOSHI_ERR_FORMAT, "tensor \"x\" is damaged");
  };
  EXPECT_EQ(info(lm_loaded("c")).silence, nullptr);
  EXPECT_EQ(logged("tensor \"x\" is damaged").size(), 1u);
}

TEST_F(EngineLmLoad, FetchIsGivenWhatItNeeds) {
  moshi::checkpoint::FetchRequest asked;
  auto environment = moshi::engine::environment();
  environment.fetch_model = [&](const moshi::checkpoint::FetchRequest& request,
                                const moshi::checkpoint::FetchProgress& progress) {
    asked = request;
    if (!progress("file", 1, 2)) throw moshi::Error(MOSHI_ERR_CANCELLED, "fetching was cancelled");
  };
  moshi::engine::set_environment(environment);
  MoshiEngineConfig config = lm_configuration();
  config.lm_weights = "lm";
  config.weights = "mimi";
  config.tokenizer = "tok";
  EXPECT_EQ(api.fetch(&config, nullptr, nullptr, &error), MOSHI_OK) << error.message;
  EXPECT_EQ(asked.model, "a");
  EXPECT_EQ(asked.weights, "lm");
  EXPECT_EQ(asked.tokenizer, "tok");
  EXPECT_EQ(asked.roles, static_cast<uint32_t>(MOSHI_ROLE_LM));
  const auto stop = [](void* user, const char* file, uint64_t done, uint64_t total) {
    *static_cast<std::string*>(user) = file + std::to_string(done) + "/" + std::to_string(total);
    return 0;
  };
  std::string progress;
  config.roles = MOSHI_ROLE_DECODE;
  EXPECT_EQ(api.fetch(&config, stop, &progress, &error), MOSHI_ERR_CANCELLED);
  EXPECT_EQ(progress, "file1/2");
  EXPECT_EQ(asked.weights, "mimi");
  config.roles = 0;
  EXPECT_EQ(api.fetch(&config, nullptr, nullptr, &error), MOSHI_ERR_INVALID_ARGUMENT);
}

}  // namespace

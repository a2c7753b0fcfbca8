// SPDX-License-Identifier: MIT
// Language models of the core against the committed conformance vectors: the reference's tokens and logits.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <stdexcept>

#include "core_library.h"
#include "lm_vector.h"
#include "moshi/core.h"
#include "vector.h"

namespace {

using moshi_vectors::api;
using moshi_vectors::LmVector;
using moshi_vectors::require;
using EnginePointer = std::unique_ptr<MoshiEngine, moshi_vectors::EngineClose>;
using SessionPointer = std::unique_ptr<MoshiSession, moshi_vectors::SessionClose>;

/// A model of a vector, loaded.
struct Loaded {
  explicit Loaded(const std::string& name) : vector(moshi_vectors::load_lm_vector(MOSHI_VECTORS_FOLDER, name)) {
    const std::string shape = (folder.path() / "shape.json").string();
    directory = (folder.path() / "model").string();
    std::ofstream(shape) << vector.config;
    const std::string command = MOSHI_VECTORS_LM_GENERATOR " --seed " + std::to_string(vector.seed) + " --dtype " +
                                vector.dtype + " --config '" + shape + "' --output '" + directory + "' >/dev/null";
    if (std::system(command.c_str()) != 0) throw std::runtime_error("failed: " + command);
    MoshiEngineConfig config = MOSHI_INIT(MoshiEngineConfig);
    config.model = directory.c_str();
    config.device = "cpu";
    config.precision = MOSHI_PRECISION_F32;
    config.roles = MOSHI_ROLE_LM;
    MoshiError error = MOSHI_INIT(MoshiError);
    MoshiEngine* raw = nullptr;
    require(api().engine_open(&config, &raw, &error), error);
    engine.reset(raw);
    require(api().engine_wait(raw, MOSHI_FOREVER, &error), error);
    info = MOSHI_INIT(MoshiLmInfo);
    require(api().lm_info(raw, &info, &error), error);
  }

  LmVector vector;
  moshi_vectors::TemporaryFolder folder;
  std::string directory;
  EnginePointer engine;
  MoshiLmInfo info;
};

/// What a conversation gave.
struct Steps {
  std::vector<int32_t> tokens;
  std::vector<int32_t> sampled;
  std::vector<float> text_logits;
  std::vector<float> audio_logits;
  std::vector<float> extra_heads;
};

void set_conditions(MoshiSession* session, const LmVector& vector) {
  if (vector.conditions.empty()) return;
  std::vector<MoshiCondition> conditions;
  for (const moshi_vectors::LmCondition& given : vector.conditions) {
    MoshiCondition condition = MOSHI_INIT(MoshiCondition);
    condition.name = given.name.c_str();
    condition.negative = given.negative;
    if (given.tensor.empty()) {
      condition.text = given.text.empty() ? nullptr : given.text.c_str();
    } else {
      condition.tensor = given.tensor.data();
      condition.mask = given.mask.data();
      condition.rows = given.rows;
      condition.columns = given.columns;
    }
    conditions.push_back(condition);
  }
  MoshiError error = MOSHI_INIT(MoshiError);
  require(api().session_set_conditions(session, conditions.data(), conditions.size(), &error), error);
}

SessionPointer open_session(Loaded& loaded) {
  MoshiSessionConfig config = MOSHI_INIT(MoshiSessionConfig);
  config.roles = MOSHI_ROLE_LM;
  config.work_class = MOSHI_CLASS_FILE;
  MoshiError error = MOSHI_INIT(MoshiError);
  MoshiSession* raw = nullptr;
  require(api().session_open(loaded.engine.get(), &config, &raw, &error), error);
  SessionPointer session(raw);
  require(api().session_set(raw, "sampling", 0, &error), error);
  if (loaded.vector.cfg_coef != 1) require(api().session_set(raw, "cfg-coef", loaded.vector.cfg_coef, &error), error);
  set_conditions(raw, loaded.vector);
  return session;
}

/// The vector's conversation, so many steps a call.
Steps converse(Loaded& loaded, int steps_per_call) {
  const LmVector& v = loaded.vector;
  const MoshiLmInfo& info = loaded.info;
  const size_t own = info.own_streams, streams = 1 + own, card = info.cardinality;
  const size_t heads = static_cast<size_t>(info.extra_heads) * info.extra_head_width;
  const auto steps = static_cast<size_t>(v.steps);
  Steps out;
  out.tokens.resize(steps * streams);
  out.sampled.resize(steps * streams);
  out.text_logits.resize(steps * info.text_logits);
  out.audio_logits.resize(steps * own * card);
  out.extra_heads.resize(steps * heads);
  const SessionPointer session = open_session(loaded);
  for (size_t step = 0; step < steps; step += steps_per_call) {
    MoshiJob job = MOSHI_INIT(MoshiJob);
    job.kind = MOSHI_JOB_STEP;
    job.frames = static_cast<int32_t>(std::min<size_t>(steps_per_call, steps - step));
    job.deadline_ns = MOSHI_NO_DEADLINE;
    if (info.user_streams > 0) job.user_tokens = v.user.data() + step * info.user_streams;
    job.forced_text = v.forced_text.data() + step;
    job.tokens_out = out.tokens.data() + step * streams;
    job.sampled_out = out.sampled.data() + step * streams;
    job.text_logits_out = out.text_logits.data() + step * info.text_logits;
    if (own > 0) job.audio_logits_out = out.audio_logits.data() + step * own * card;
    if (heads > 0) job.extra_heads_out = out.extra_heads.data() + step * heads;
    MoshiError error = MOSHI_INIT(MoshiError);
    require(api().submit(session.get(), &job, &error), error);
    require(api().wait(session.get(), &job, MOSHI_FOREVER, &error), error);
  }
  return out;
}

class LmConformance : public testing::TestWithParam<const char*> {
 protected:
  static void TearDownTestSuite() {
    results().clear();
    models().clear();
  }
  // Models are made once, and run once, for all the tests below.
  static std::map<std::string, std::unique_ptr<Loaded>>& models() {
    static std::map<std::string, std::unique_ptr<Loaded>> all;
    return all;
  }
  static std::map<std::string, Steps>& results() {
    static std::map<std::string, Steps> all;
    return all;
  }
  Loaded& loaded() {
    std::unique_ptr<Loaded>& slot = models()[GetParam()];
    if (!slot) slot = std::make_unique<Loaded>(GetParam());
    return *slot;
  }
  const Steps& steps() {
    Steps& slot = results()[GetParam()];
    if (slot.sampled.empty()) slot = converse(loaded(), 1);
    return slot;
  }
};

/// Compares the kept logits of a step with `logits`, `count` of them.
void expect_logits(const float* logits, int count, const moshi_vectors::LmLogits& expected, int step,
                   const char* what) {
  const double limit = moshi_vectors::kLogitLimit * expected.greatest[step];
  double greatest = 0;
  for (int i = 0; i < count; ++i) greatest = std::max(greatest, std::fabs(static_cast<double>(logits[i])));
  ASSERT_NEAR(greatest, expected.greatest[step], limit) << what << " of step " << step;
  for (int i = 0; i < moshi_vectors::kLogits; ++i) {
    const int position = moshi_vectors::logit_position(step, i, count);
    ASSERT_NEAR(logits[position], expected.values[step][i], limit) << what << " " << position << " of step " << step;
  }
}

TEST_P(LmConformance, SameModel) {
  EXPECT_EQ(moshi_vectors::sha256_of_file(loaded().info.lm_file), loaded().vector.model_sha256);
}

TEST_P(LmConformance, Tokens) {
  const LmVector& v = loaded().vector;
  const size_t streams = 1 + loaded().info.own_streams;
  ASSERT_EQ(v.sampled.size(), v.steps * streams);
  for (size_t at = 0; at < v.sampled.size(); ++at) {
    ASSERT_EQ(steps().sampled[at], v.sampled[at]) << "step " << at / streams << " stream " << at % streams;
  }
}

TEST_P(LmConformance, OutputIsUndelayed) {
  const MoshiLmInfo& info = loaded().info;
  const int streams = 1 + info.own_streams;
  for (int step = 0; step < loaded().vector.steps; ++step) {
    for (int k = 0; k < streams; ++k) {
      const int made = step - info.max_delay + info.delays[k];
      const int expected = step < info.max_delay ? MOSHI_TOKEN_NONE : loaded().vector.sampled[made * streams + k];
      ASSERT_EQ(steps().tokens[step * streams + k], expected) << "step " << step << " stream " << k;
    }
  }
}

TEST_P(LmConformance, Logits) {
  const LmVector& v = loaded().vector;
  const MoshiLmInfo& info = loaded().info;
  for (int step = 0; step < v.steps; ++step) {
    const float* text = steps().text_logits.data() + static_cast<size_t>(step) * info.text_logits;
    expect_logits(text, info.text_logits, v.text_logits, step, "text logit");
    if (info.own_streams == 0) continue;
    const size_t stream = moshi_vectors::audio_stream(step, info.own_streams);
    const float* audio =
        steps().audio_logits.data() + (static_cast<size_t>(step) * info.own_streams + stream) * info.cardinality;
    expect_logits(audio, info.cardinality, v.audio_logits, step, "audio logit");
  }
}

TEST_P(LmConformance, ExtraHeads) {
  const std::vector<double>& expected = loaded().vector.extra_heads;
  ASSERT_EQ(steps().extra_heads.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    ASSERT_NEAR(steps().extra_heads[i], expected[i], moshi_vectors::kHeadLimit) << "value " << i;
  }
}

TEST_P(LmConformance, GroupingChangesNoBit) {
  const Steps grouped = converse(loaded(), 7);
  EXPECT_EQ(steps().tokens, grouped.tokens);
  EXPECT_EQ(steps().text_logits, grouped.text_logits);
  EXPECT_EQ(steps().audio_logits, grouped.audio_logits);
  EXPECT_EQ(steps().extra_heads, grouped.extra_heads);
}

INSTANTIATE_TEST_SUITE_P(Vectors, LmConformance, testing::Values("lm-moshi", "lm-stt", "lm-tts", "lm-hibiki"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace

// SPDX-License-Identifier: MIT
// moshi/core.hpp over the engine's table.
#include "engine_fixture.h"
#include "moshi/core.hpp"

namespace {

namespace mc = moshi::core;
using fixture::audio;
using fixture::EngineTest;

class CoreHpp : public EngineTest {
 protected:
  mc::Core core = *mc::Core::from_api(&moshi::engine::core_table());
  mc::Engine loaded(mc::EngineOptions options = {.model = "a"}) {
    auto engine = core.open(options);
    EXPECT_TRUE(engine) << engine.error().message;
    EXPECT_TRUE(engine->wait());
    control.forget_calls();
    return std::move(*engine);
  }
};

TEST_F(CoreHpp, WholeRecordingsGoThereAndBack) {
  const mc::Engine engine = loaded();
  auto pcm = audio(10, 1);
  pcm.resize(pcm.size() - 5);
  const auto codes = mc::encode_all(engine, pcm, 4);
  ASSERT_TRUE(codes) << codes.error().message;
  EXPECT_EQ(codes->frames(), 10u);
  auto padded = pcm;
  padded.resize(pcm.size() + 5);
  EXPECT_EQ(codes->data, stub::encoded(padded, 4));
  const auto decoded = mc::decode_all(engine, *codes);
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(decoded->size(), pcm.size());
  const auto expected = stub::decoded(codes->data, 4);
  EXPECT_TRUE(std::equal(decoded->begin(), decoded->end(), expected.begin()));
}

TEST_F(CoreHpp, TheShortestRecordings) {
  const mc::Engine engine = loaded();
  EXPECT_EQ(mc::encode_all(engine, {}, 8)->frames(), 0u);
  const std::vector<float> one{0.5f};
  const auto codes = mc::encode_all(engine, one, 8);
  ASSERT_TRUE(codes) << codes.error().message;
  EXPECT_EQ(codes->frames(), 1u);
  EXPECT_EQ(mc::decode_all(engine, *codes)->size(), 1u);
  EXPECT_EQ(mc::decode_all(engine, {})->size(), 0u);
  for (const int codebooks : {-1, 0, 9}) {
    EXPECT_EQ(mc::encode_all(engine, one, codebooks).error().status, MOSHI_ERR_INVALID_ARGUMENT);
  }
}

TEST_F(CoreHpp, FrameByFrameIsTheSameAsWhole) {
  const mc::Engine engine = loaded();
  const auto pcm = audio(6, 1);
  auto session = engine.session({.roles = MOSHI_ROLE_ENCODE});
  ASSERT_TRUE(session);
  std::vector<uint16_t> all(6 * 8);
  for (size_t f = 0; f < 6; ++f) {
    const auto frame = std::span(pcm).subspan(f * stub::kFrameSamples, stub::kFrameSamples);
    EXPECT_TRUE(session->encode(frame, 8, std::span(all).subspan(f * 8, 8)));
  }
  EXPECT_EQ(all, stub::encoded(pcm, 8));
}

TEST_F(CoreHpp, ForksAndSavedStatesGoOn) {
  const mc::Engine engine = loaded();
  const auto pcm = audio(3, 1);
  const auto expected = stub::encoded(pcm, 8);
  const std::span<const float> in(pcm);
  auto session = engine.session();
  std::vector<uint16_t> codes(16);
  ASSERT_TRUE(session->encode(in.first(2 * stub::kFrameSamples), 8, codes));
  const auto state = session->save();
  ASSERT_TRUE(state);
  auto fork = session->fork();
  ASSERT_TRUE(fork);
  ASSERT_TRUE(session->reset());
  const auto next = [&](mc::Session& stream) {
    std::vector<uint16_t> out(8);
    EXPECT_TRUE(stream.encode(in.last(stub::kFrameSamples), 8, out));
    return out;
  };
  const std::vector<uint16_t> third(expected.end() - 8, expected.end());
  EXPECT_EQ(next(*fork), third);
  EXPECT_NE(next(*session), third);
  ASSERT_TRUE(session->load(*state));
  EXPECT_EQ(next(*session), third);
}

TEST_F(CoreHpp, ABatchStepsTheRowsOfItsMask) {
  const mc::Engine engine = loaded();
  auto batch = mc::Batch::open(engine, 4);
  ASSERT_TRUE(batch);
  std::vector<std::vector<float>> heard(4);
  for (int step = 0; step < 12; ++step) {
    const bool mask[] = {step % 2 == 0, step % 3 == 0, true, step > 5};
    const auto pcm = audio(4, static_cast<uint64_t>(step));
    if (step == 8) {
      const bool which[] = {false, true, false, false};
      ASSERT_TRUE(batch->reset(which));
      heard[1].clear();
    }
    std::vector<uint16_t> codes(4 * 8, 9999);
    ASSERT_TRUE(batch->encode(pcm, mask, 8, codes));
    for (size_t row = 0; row < 4; ++row) {
      const std::vector<uint16_t> got(codes.begin() + static_cast<ptrdiff_t>(row) * 8,
                                      codes.begin() + static_cast<ptrdiff_t>(row) * 8 + 8);
      if (!mask[row]) {
        EXPECT_EQ(got, std::vector<uint16_t>(8, 9999));
        continue;
      }
      const auto begin = pcm.begin() + static_cast<ptrdiff_t>(row) * stub::kFrameSamples;
      heard[row].insert(heard[row].end(), begin, begin + stub::kFrameSamples);
      const auto all = stub::encoded(heard[row], 8);
      EXPECT_EQ(got, std::vector<uint16_t>(all.end() - 8, all.end())) << "step " << step << " row " << row;
    }
  }
}

TEST_F(CoreHpp, ABatchChecksItsSpans) {
  const mc::Engine engine = loaded();
  auto batch = mc::Batch::open(engine, 2);
  const auto pcm = audio(2, 1);
  std::vector<uint16_t> codes(16);
  std::vector<float> out(2 * stub::kFrameSamples);
  const bool three[] = {true, true, true};
  EXPECT_EQ(batch->encode(pcm, three, 8, codes).error().status, MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(batch->encode(pcm, {}, 4, codes).error().status, MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(batch->encode(audio(1, 1), {}, 8, codes).error().status, MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(batch->reset(three).error().status, MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_TRUE(batch->encode(pcm, {}, 8, codes));
  EXPECT_TRUE(batch->decode(codes, {}, 8, out));
  EXPECT_EQ(out[0], stub::decoded(codes, 8)[0]);
  // A row that fails does not keep the others from their step.
  codes[3] = 5000;
  EXPECT_EQ(batch->decode(codes, {}, 8, out).error().status, MOSHI_ERR_DATA);
}

TEST_F(CoreHpp, SpansAreChecked) {
  const mc::Engine engine = loaded();
  auto session = engine.session();
  std::vector<uint16_t> codes(8);
  std::vector<float> pcm(stub::kFrameSamples);
  const auto odd = std::span<const float>(pcm).first(7);
  EXPECT_EQ(session->encode(odd, 8, codes).error().status, MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(session->encode({}, 8, codes).error().status, MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(session->encode(pcm, 8, std::span(codes).first(7)).error().status, MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(session->decode(codes, 3, pcm).error().status, MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(session->decode(codes, 4, pcm).error().status, MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(session->set("volume", 1).error().status, MOSHI_ERR_NOT_SUPPORTED);
}

TEST_F(CoreHpp, APendingJobMayBeDropped) {
  const mc::Engine engine = loaded();
  auto session = engine.session();
  const auto pcm = audio(50, 1);
  std::vector<uint16_t> codes(50 * 8);
  {
    auto pending = session->submit_encode(pcm, 8, codes);
    ASSERT_TRUE(pending);
  }
  ASSERT_TRUE(session->reset());  // nothing is in flight
  auto pending = session->submit_encode(pcm, 8, codes);
  ASSERT_TRUE(pending->wait());
  EXPECT_EQ(pending->job().frames_done, 50);
}

TEST_F(CoreHpp, ErrorsCarrySentenceAndDetail) {
  const auto missing = core.open({.model = "missing"});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().status, MOSHI_ERR_NOT_FOUND);
  EXPECT_EQ(missing.error().message, "there is no model \"missing\"");
  EXPECT_EQ(mc::Core::from_api(nullptr).error().status, MOSHI_ERR_MISMATCH);
  EXPECT_EQ(mc::Core::load("/nowhere/libmoshi-core.so").error().status, MOSHI_ERR_NOT_FOUND);
}

TEST_F(CoreHpp, ProgressAndInformation) {
  std::atomic<int> reports{0};
  const mc::Engine engine = loaded({.model = "a", .progress = [&](double, const char*) { ++reports; }});
  EXPECT_GT(reports, 2);
  EXPECT_EQ(engine.info()->codebooks, 8);
  EXPECT_EQ(engine.limits(MOSHI_ROLE_ENCODE)->bytes_session, 1'000'000u);
  EXPECT_EQ(engine.stats()->calls, 0u);
  EXPECT_EQ(engine.limits(MOSHI_ROLE_LM).error().status, MOSHI_ERR_INVALID_ARGUMENT);
}

}  // namespace

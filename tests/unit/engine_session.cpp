// SPDX-License-Identifier: MIT
// Sessions: each stream's output depends on its own history alone, whoever comes, goes, resets, forks or restores.
#include <cstring>

#include "engine_fixture.h"

namespace {

using fixture::audio;
using fixture::codes;
using fixture::EngineTest;
using fixture::Work;

class EngineSession : public EngineTest {
 protected:
  /// Encodes one frame of `pcm` on a session.
  std::vector<uint16_t> encode_frame(MoshiSession* stream, const std::vector<float>& pcm, int frame) {
    auto work = one_frame(pcm, frame);
    EXPECT_EQ(run(stream, *work), MOSHI_OK) << error.message;
    return work->codes;
  }
  static std::unique_ptr<Work> one_frame(const std::vector<float>& pcm, int frame) {
    const auto begin = pcm.begin() + frame * stub::kFrameSamples;
    return Work::encode({begin, begin + stub::kFrameSamples});
  }
  static std::vector<uint16_t> frame_of(const std::vector<uint16_t>& all, int frame) {
    const auto begin = all.begin() + frame * stub::kCodebooks;
    return {begin, begin + stub::kCodebooks};
  }
  std::vector<std::byte> saved(MoshiSession* stream) {
    size_t bytes = 0;
    EXPECT_EQ(api.session_save(stream, nullptr, &bytes, &error), MOSHI_OK) << error.message;
    std::vector<std::byte> data(bytes);
    EXPECT_EQ(api.session_save(stream, data.data(), &bytes, &error), MOSHI_OK) << error.message;
    EXPECT_EQ(bytes, data.size());
    return data;
  }
};

TEST_F(EngineSession, StreamsJoinAndLeaveAtAnyFrame) {
  MoshiEngine* engine = loaded();
  struct Stream {
    MoshiSession* session;
    std::vector<float> pcm;
    std::vector<uint16_t> expected;
    int next = 0;
  };
  std::vector<Stream> streams;
  for (int tick = 0; tick < 40; ++tick) {
    if (tick % 3 == 0) {
      auto pcm = audio(7 + tick % 5, static_cast<uint64_t>(tick));
      auto expected = stub::encoded(pcm, stub::kCodebooks);
      streams.push_back({session(engine), pcm, expected});
    }
    // All frames of this tick wait together.
    std::vector<std::unique_ptr<Work>> works;
    for (Stream& stream : streams) {
      works.push_back(one_frame(stream.pcm, stream.next));
      submit(stream.session, *works.back());
    }
    for (size_t i = 0; i < streams.size(); ++i) {
      EXPECT_EQ(wait(streams[i].session, *works[i]), MOSHI_OK);
      EXPECT_EQ(works[i]->codes, frame_of(streams[i].expected, streams[i].next)) << "tick " << tick;
      ++streams[i].next;
    }
    for (size_t i = streams.size(); i-- > 0;) {
      if (streams[i].next * stub::kFrameSamples < static_cast<int>(streams[i].pcm.size())) continue;
      close(streams[i].session);
      streams.erase(streams.begin() + static_cast<ptrdiff_t>(i));
    }
  }
}

TEST_F(EngineSession, ResetTouchesItsOwnStreamOnly) {
  MoshiEngine* engine = loaded();
  MoshiSession* first = session(engine);
  MoshiSession* second = session(engine);
  const auto pcm = audio(4, 1);
  const auto expected = stub::encoded(pcm, stub::kCodebooks);
  for (int frame = 0; frame < 2; ++frame) {
    EXPECT_EQ(encode_frame(first, pcm, frame), frame_of(expected, frame));
    EXPECT_EQ(encode_frame(second, pcm, frame), frame_of(expected, frame));
  }
  EXPECT_EQ(api.session_reset(first, &error), MOSHI_OK);
  EXPECT_EQ(encode_frame(first, pcm, 0), frame_of(expected, 0));
  EXPECT_EQ(encode_frame(second, pcm, 2), frame_of(expected, 2));
}

TEST_F(EngineSession, AJobCanResetItsDirectionFirst) {
  MoshiEngine* engine = loaded();
  MoshiSession* stream = session(engine);
  const auto pcm = audio(30, 1);
  const auto data = codes(2, 8, 1);
  auto decode = Work::decode(data);
  EXPECT_EQ(run(stream, *decode), MOSHI_OK);
  for (int round = 0; round < 2; ++round) {
    auto work = Work::encode(pcm);  // longer than a quantum: reset once, not in each
    work->job.flags = MOSHI_JOB_RESET;
    EXPECT_EQ(run(stream, *work), MOSHI_OK);
    EXPECT_EQ(work->codes, stub::encoded(pcm, stub::kCodebooks));
  }
  auto more = Work::decode(data);
  EXPECT_EQ(run(stream, *more), MOSHI_OK);
  auto both = data;
  both.insert(both.end(), data.begin(), data.end());
  const auto expected = stub::decoded(both, 8);
  EXPECT_TRUE(std::equal(more->pcm.begin(), more->pcm.end(), expected.begin() + 2 * stub::kFrameSamples));
}

TEST_F(EngineSession, LatentsAreWrittenWhereAskedFor) {
  MoshiEngine* engine = loaded();
  MoshiSession* stream = session(engine);
  auto encode = Work::encode(audio(20, 1));
  std::vector<float> latent(20 * stub::kLatent, -1.0f);
  encode->job.latent_out = latent.data();
  EXPECT_EQ(run(stream, *encode), MOSHI_OK);
  EXPECT_EQ(std::count(latent.begin(), latent.end(), -1.0f), 0);
}

TEST_F(EngineSession, AForkGoesOnFromTheSameState) {
  MoshiEngine* engine = loaded();
  MoshiSession* stream = session(engine);
  const auto pcm = audio(4, 1);
  const auto other = audio(4, 2);
  const auto expected = stub::encoded(pcm, stub::kCodebooks);
  for (int frame = 0; frame < 2; ++frame) encode_frame(stream, pcm, frame);
  MoshiSession* fork = nullptr;
  ASSERT_EQ(api.session_fork(stream, &fork, &error), MOSHI_OK);
  adopt(fork);
  encode_frame(stream, other, 2);
  EXPECT_EQ(encode_frame(fork, pcm, 2), frame_of(expected, 2));
  close(stream);
  EXPECT_EQ(encode_frame(fork, pcm, 3), frame_of(expected, 3));
}

TEST_F(EngineSession, ASavedStateGoesOnInAnotherSession) {
  MoshiEngine* engine = loaded();
  const auto pcm = audio(4, 1);
  const auto expected = stub::encoded(pcm, stub::kCodebooks);
  MoshiSession* stream = session(engine);
  for (int frame = 0; frame < 2; ++frame) encode_frame(stream, pcm, frame);
  const auto state = saved(stream);
  close(stream);
  MoshiSession* restored = session(engine, MOSHI_CLASS_FILE);
  encode_frame(restored, pcm, 3);
  ASSERT_EQ(api.session_load(restored, state.data(), state.size(), &error), MOSHI_OK) << error.message;
  for (int frame = 2; frame < 4; ++frame) EXPECT_EQ(encode_frame(restored, pcm, frame), frame_of(expected, frame));
}

TEST_F(EngineSession, SavedStatesAreCheckedBeforeTheyAreTaken) {
  MoshiEngine* engine = loaded("a");
  MoshiSession* stream = session(engine);
  const auto pcm = audio(3, 1);
  const auto expected = stub::encoded(pcm, stub::kCodebooks);
  encode_frame(stream, pcm, 0);
  const auto state = saved(stream);
  const auto refused = [&](const std::vector<std::byte>& data, MoshiSession* target) {
    const MoshiStatus status = api.session_load(target, data.data(), data.size(), &error);
    EXPECT_NE(std::string(error.message), "");
    return status;
  };
  EXPECT_EQ(refused(std::vector<std::byte>(5), stream), MOSHI_ERR_FORMAT);
  EXPECT_EQ(refused(std::vector<std::byte>(state.size()), stream), MOSHI_ERR_FORMAT);
  EXPECT_EQ(refused({state.begin(), state.end() - 1}, stream), MOSHI_ERR_FORMAT);
  auto longer = state;
  longer.push_back(std::byte{0});
  EXPECT_EQ(refused(longer, stream), MOSHI_ERR_FORMAT);
  auto flipped = state;
  flipped.back() ^= std::byte{1};
  EXPECT_EQ(refused(flipped, stream), MOSHI_ERR_FORMAT);
  auto version = state;
  version[8] = std::byte{99};
  EXPECT_EQ(refused(version, stream), MOSHI_ERR_MISMATCH);
  auto precision = state;
  precision[12] ^= std::byte{6};
  EXPECT_EQ(refused(precision, stream), MOSHI_ERR_MISMATCH);
  EXPECT_EQ(refused(state, session(loaded("b"))), MOSHI_ERR_MISMATCH);
  EXPECT_EQ(refused(state, session(engine, MOSHI_CLASS_LIVE, MOSHI_ROLE_ENCODE)), MOSHI_ERR_MISMATCH);
  // After all these the session is what it was.
  EXPECT_EQ(encode_frame(stream, pcm, 1), frame_of(expected, 1));
}

TEST_F(EngineSession, SaveSaysWhatItNeeds) {
  MoshiEngine* engine = loaded();
  MoshiSession* stream = session(engine);
  size_t bytes = 0;
  ASSERT_EQ(api.session_save(stream, nullptr, &bytes, &error), MOSHI_OK);
  std::vector<std::byte> data(bytes);
  size_t too_few = bytes - 1;
  EXPECT_EQ(api.session_save(stream, data.data(), &too_few, &error), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(too_few, bytes);
  EXPECT_EQ(api.session_save(stream, data.data(), nullptr, &error), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(api.session_load(stream, nullptr, 10, &error), MOSHI_ERR_INVALID_ARGUMENT);
}

TEST_F(EngineSession, WhatNeedsRestIsRefusedWhileJobsAreInFlight) {
  MoshiEngine* engine = loaded();
  MoshiSession* stream = session(engine);
  const auto state = saved(stream);
  auto work = Work::encode(audio(1, 1));
  control.hold();
  submit(stream, *work);
  control.wait_for_held();
  MoshiSession* fork = nullptr;
  size_t bytes = 0;
  EXPECT_EQ(api.session_reset(stream, &error), MOSHI_ERR_BUSY);
  EXPECT_EQ(api.session_fork(stream, &fork, &error), MOSHI_ERR_BUSY);
  EXPECT_EQ(api.session_save(stream, nullptr, &bytes, &error), MOSHI_ERR_BUSY);
  EXPECT_EQ(api.session_load(stream, state.data(), state.size(), &error), MOSHI_ERR_BUSY);
  control.let_all();
  EXPECT_EQ(wait(stream, *work), MOSHI_OK);
  EXPECT_EQ(api.session_reset(stream, &error), MOSHI_OK);
}

TEST_F(EngineSession, MemoryIsCheckedBeforeItIsTaken) {
  MoshiEngine* engine = loaded();
  free_bytes = 5'000'000;
  MoshiSession* streams[] = {session(engine), session(engine)};  // 2 MB each, promised
  MoshiSession* none = nullptr;
  EXPECT_EQ(try_session(engine, &none), MOSHI_ERR_NO_MEMORY);
  EXPECT_EQ(none, nullptr);
  EXPECT_NE(std::string(error.message).find("1.0 MB (1000000 bytes)"), std::string::npos) << error.message;
  EXPECT_EQ(control.rows, 4);
  EXPECT_EQ(api.session_fork(streams[0], &none, &error), MOSHI_ERR_NO_MEMORY);
  // Once five frames have filled a ring, it shows in what the machine has free and is not promised any more.
  auto work = Work::encode(audio(5, 1));
  EXPECT_EQ(run(streams[0], *work), MOSHI_OK);
  EXPECT_EQ(try_session(engine, &none), MOSHI_OK) << error.message;
  close(streams[1]);
  EXPECT_EQ(try_session(engine, &none), MOSHI_OK) << error.message;
}

TEST_F(EngineSession, WrongConfigurationsAreRefused) {
  MoshiEngine* engine = loaded();
  MoshiSession* none = nullptr;
  EXPECT_EQ(try_session(engine, &none, MOSHI_CLASS_LIVE, 0), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(try_session(engine, &none, MOSHI_CLASS_LIVE, MOSHI_ROLE_LM), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(try_session(engine, &none, static_cast<MoshiClass>(7)), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(try_session(nullptr, &none), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(api.session_open(engine, nullptr, &none, &error), MOSHI_ERR_INVALID_ARGUMENT);
  EXPECT_EQ(api.session_reset(nullptr, &error), MOSHI_ERR_INVALID_ARGUMENT);
  api.session_close(nullptr);
  api.session_cancel(nullptr);
}

TEST_F(EngineSession, ASessionKeepsItsModel) {
  MoshiEngine* engine = loaded();
  MoshiSession* stream = session(engine);
  close(engine);  // the wrong order, and yet nothing breaks
  const auto pcm = audio(1, 1);
  EXPECT_EQ(encode_frame(stream, pcm, 0), stub::encoded(pcm, stub::kCodebooks));
}

}  // namespace

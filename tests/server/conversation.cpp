// SPDX-License-Identifier: MIT
#include "conversation.h"

#include <algorithm>

#include "helpers.h"
#include "reaper.h"

namespace {

using server::Conversation;
using server::Encoding;
using server::Settings;
using test::run_until;

/// What a conversation has told, in order.
struct Told {
  std::string order;  // a: a packet, t: text, f: end of a frame, x: failed
  std::string text, sentence, detail;
  int packets = 0, frames = 0;
  wire::Bytes sound;
  std::vector<double> delays;

  Conversation::Events events() {
    return {.audio =
                [this](wire::Bytes packet, int) {
                  ++packets;
                  order += 'a';
                  sound.insert(sound.end(), packet.begin(), packet.end());
                },
            .text =
                [this](std::string piece) {
                  order += 't';
                  text += piece;
                },
            .frame =
                [this](double delay) {
                  ++frames;
                  order += 'f';
                  delays.push_back(delay);
                },
            .failed =
                [this](std::string why, std::string more) {
                  order += 'x';
                  sentence = why;
                  detail = more;
                }};
  }
};

class ConversationTest : public testing::Test {
 protected:
  void TearDown() override {
    conversation_.reset();
    server::reaper::wait();
    core_.settle();
    const MoshiFakeStats stats = core_.stats();
    EXPECT_EQ(stats.sessions, 0);
    EXPECT_EQ(stats.engines, 0);
    EXPECT_EQ(stats.misuse, 0);
  }

  void begin(double max_lag = 60) {
    std::string problem;
    conversation_ = Conversation::make({}, settings_, max_lag, told_.events(), &problem);
    ASSERT_TRUE(conversation_) << problem;
  }

  /// As frames.
  void say(int frames) {
    for (int frame = 0; frame < frames; ++frame) {
      if (settings_.encoding == Encoding::kPcm) {
        conversation_->push(test::bytes_of(test::tone(wire::kFrameSamples)), wire::kFrameSamples);
        continue;
      }
      for (int sent = 0; sent < wire::kFrameSamples; sent += tone_.samples())
        conversation_->push(tone_.next(), tone_.samples());
    }
  }

  bool wait_for(int frames) {
    return run_until([&] { return told_.frames >= frames || !told_.sentence.empty(); }) && told_.sentence.empty();
  }

  test::FakeCore core_;
  Settings settings_;
  Told told_;
  test::OpusTone tone_;
  std::unique_ptr<Conversation> conversation_;
};

TEST_F(ConversationTest, EachFrameButTheFirstIsAnswered) {
  begin();
  say(11);
  ASSERT_TRUE(wait_for(10));
  test::run_for(0.2);
  EXPECT_EQ(told_.frames, 10);
  EXPECT_EQ(told_.packets, 20);
  const auto stats = conversation_->stats();
  EXPECT_EQ(stats.frames_in, 10u);
  EXPECT_EQ(stats.frames_out, 10u);
  EXPECT_EQ(stats.dropped_frames, 0u);
  EXPECT_EQ(stats.bad_packets, 0u);
  EXPECT_DOUBLE_EQ(stats.lag_seconds, 0);
  EXPECT_GE(stats.seed, 0);
  EXPECT_EQ(core_.stats().file_jobs, 0);
  for (const double delay : told_.delays) EXPECT_GT(delay, 0);
}

TEST_F(ConversationTest, TextFollowsTheAudioOfItsFrame) {
  begin();
  say(21);
  ASSERT_TRUE(wait_for(20));
  EXPECT_FALSE(told_.text.empty());
  std::string frame;
  for (const char c : told_.order) {
    frame += c;
    if (c != 'f') continue;
    EXPECT_TRUE(frame == "aaf" || frame == "aatf") << told_.order;
    frame.clear();
  }
}

TEST_F(ConversationTest, SamplesGoInAndOut) {
  settings_.encoding = Encoding::kPcm;
  begin();
  say(6);
  ASSERT_TRUE(wait_for(5));
  EXPECT_EQ(told_.packets, 5);
  EXPECT_EQ(told_.sound.size(), 5u * wire::kFrameSamples * sizeof(int16_t));
}

TEST_F(ConversationTest, PacketsNeedNotFitFrames) {
  settings_.encoding = Encoding::kPcm;
  begin();
  const auto pcm = test::tone(700);
  for (int i = 0; i < 20; ++i) conversation_->push(test::bytes_of(pcm), 700);  // 7.3 frames
  ASSERT_TRUE(wait_for(6));
  EXPECT_EQ(conversation_->stats().frames_in, 6u);
  EXPECT_NEAR(conversation_->stats().lag_seconds, (14000 - 7 * 1920) / 24000.0, 1e-9);
}

TEST_F(ConversationTest, PacketsOfAllDurations) {
  for (const int samples : {60, 120, 240, 480, 960, 1440}) {
    told_ = {};
    tone_ = test::OpusTone(samples);
    begin();
    for (int sent = 0; sent < 5 * wire::kFrameSamples; sent += samples) conversation_->push(tone_.next(), samples);
    ASSERT_TRUE(wait_for(4)) << samples;
    conversation_.reset();
  }
}

TEST_F(ConversationTest, ListenersMayWantTextAlone) {
  settings_.audio = false;
  begin();
  say(21);
  ASSERT_TRUE(wait_for(20));
  EXPECT_EQ(told_.packets, 0);
  EXPECT_FALSE(told_.text.empty());
}

TEST_F(ConversationTest, ListenersMayWantAudioAlone) {
  settings_.text = false;
  begin();
  say(11);
  ASSERT_TRUE(wait_for(10));
  EXPECT_EQ(told_.packets, 20);
  EXPECT_TRUE(told_.text.empty());
}

TEST_F(ConversationTest, AModelMayBeSilent) {
  core_.set("LM_OWN", "0");
  begin();
  say(21);
  ASSERT_TRUE(wait_for(20));
  EXPECT_EQ(told_.packets, 0);
  EXPECT_FALSE(told_.text.empty());
}

TEST_F(ConversationTest, AModelMayHaveNoTokenizer) {
  core_.set("LM_NO_TOKENIZER", "1");
  begin();
  say(11);
  ASSERT_TRUE(wait_for(10));
  EXPECT_EQ(told_.packets, 20);
  EXPECT_TRUE(told_.text.empty());
}

TEST_F(ConversationTest, AModelMayAnswerLater) {
  core_.set("LM_DELAY", "3");
  begin();
  say(21);
  ASSERT_TRUE(wait_for(18));
  EXPECT_EQ(told_.packets, 36);
  EXPECT_EQ(conversation_->stats().frames_in, 20u);
  for (const double delay : told_.delays) EXPECT_GT(delay, 0);
}

TEST_F(ConversationTest, TheOldestIsDroppedWhereSoundComesTooFast) {
  core_.set("STEP_HOLD", "1");
  begin(1);
  say(50);
  test::run_for(0.1);
  EXPECT_LE(conversation_->stats().lag_seconds, 1.05);
  core_.set("STEP_HOLD", "0");
  // Half a frame may be left.
  ASSERT_TRUE(run_until([&] { return conversation_->stats().lag_seconds < 0.08; }));
  const auto stats = conversation_->stats();
  EXPECT_EQ(stats.frames_in + stats.dropped_frames, 49u);
  EXPECT_GE(stats.dropped_frames, 35u);
  EXPECT_EQ((stats.dropped_samples + wire::kFrameSamples - 1) / wire::kFrameSamples, stats.dropped_frames);
  EXPECT_EQ(stats.frames_out, stats.frames_in);
}

TEST_F(ConversationTest, DamagedPacketsAreSilence) {
  begin();
  say(2);
  // A CELT packet that ends before it says what it has to, and one whose lengths are wrong.
  const wire::Bytes damaged = {0xFF, 0x7F}, wrong = {0x03, 0x02, 0x00};
  for (int i = 0; i < 4; ++i) conversation_->push(wrong, 480);
  say(4);
  ASSERT_TRUE(wait_for(6));
  conversation_->push(damaged, 480);
  say(1);
  ASSERT_TRUE(wait_for(7));
  EXPECT_GE(conversation_->stats().bad_packets, 4u);
}

TEST_F(ConversationTest, NothingButDamageEndsNothing) {
  begin(1);
  const wire::Bytes wrong = {0x03, 0x02, 0x00};
  for (int i = 0; i < 20000; ++i) conversation_->push(wrong, 2880);
  test::run_for(0.3);
  say(3);
  ASSERT_TRUE(wait_for(2));
  EXPECT_LE(conversation_->stats().frames_in, 40u);
}

TEST_F(ConversationTest, BeginsAgain) {
  settings_.sampling.seed = 5;
  begin();
  say(11);
  ASSERT_TRUE(wait_for(10));
  const std::string text = told_.text;
  conversation_->restart();
  tone_ = test::OpusTone();
  say(11);
  ASSERT_TRUE(wait_for(20));
  EXPECT_EQ(told_.text, text + text);
  EXPECT_EQ(told_.packets, 40);
  EXPECT_EQ(conversation_->stats().frames_in, 20u);
  EXPECT_EQ(conversation_->stats().frames_out, 20u);
  EXPECT_DOUBLE_EQ(conversation_->stats().lag_seconds, 0);
}

TEST_F(ConversationTest, BeginsAgainAtAnyTime) {
  begin();
  conversation_->restart();
  conversation_->restart();
  say(5);
  test::run_for(0.02);
  conversation_->restart();
  say(4);
  conversation_->restart();
  EXPECT_EQ(conversation_->stats().lag_seconds, 0);
  say(3);
  ASSERT_TRUE(run_until([&] { return conversation_->stats().lag_seconds == 0 && told_.frames >= 2; }));
}

TEST_F(ConversationTest, SeedsAreDrawnAndTold) {
  begin();
  const int64_t first = conversation_->stats().seed;
  conversation_->restart();
  test::run_for(0.1);
  EXPECT_GE(first, 0);
  EXPECT_NE(conversation_->stats().seed, first);
}

TEST_F(ConversationTest, SettingsReachTheModel) {
  settings_.sampling = {.temperature = 0.5, .text_temperature = 0.25, .top_k = 7, .text_top_k = 3, .seed = 99};
  begin();
  say(2);
  ASSERT_TRUE(wait_for(1));
  EXPECT_EQ(core_.setting("temperature"), 0.5);
  EXPECT_EQ(core_.setting("text-temperature"), 0.25);
  EXPECT_EQ(core_.setting("top-k"), 7);
  EXPECT_EQ(core_.setting("text-top-k"), 3);
  EXPECT_EQ(conversation_->stats().seed, 99);
}

TEST_F(ConversationTest, FailuresAreTold) {
  core_.set("FAIL_FRAME", "3");
  begin();
  say(11);
  ASSERT_TRUE(run_until([&] { return !told_.sentence.empty(); }));
  EXPECT_EQ(told_.order.find('x'), told_.order.size() - 1);
  EXPECT_FALSE(told_.detail.empty());
  say(2);
  conversation_->restart();
  test::run_for(0.05);
  EXPECT_EQ(told_.order.find('x'), told_.order.size() - 1);
}

TEST_F(ConversationTest, NoRoomIsTold) {
  core_.set("SESSIONS_MAX", "1");
  begin();
  say(2);
  ASSERT_TRUE(run_until([&] { return !told_.sentence.empty(); }));
  EXPECT_NE(told_.sentence.find("no room"), std::string::npos) << told_.sentence;
}

TEST_F(ConversationTest, AModelThatIsNotThere) {
  std::string problem;
  server::Model model;
  model.model = "/nowhere";
  conversation_ = Conversation::make(model, settings_, 2, told_.events(), &problem);
  ASSERT_TRUE(conversation_);
  ASSERT_TRUE(run_until([&] { return !told_.sentence.empty(); }));
  EXPECT_EQ(told_.sentence.find("nowhere"), std::string::npos) << "paths are not for clients";
  EXPECT_NE(told_.detail.find("nowhere"), std::string::npos) << told_.detail;
}

TEST_F(ConversationTest, APropertyThatIsNotThere) {
  std::string problem;
  server::Model model;
  model.settings = {{"colour", "red"}};
  EXPECT_FALSE(Conversation::make(model, settings_, 2, told_.events(), &problem));
  EXPECT_NE(problem.find("colour"), std::string::npos) << problem;
  model.settings = {{"threads", "-7"}};
  EXPECT_FALSE(Conversation::make(model, settings_, 2, told_.events(), &problem));
  EXPECT_NE(problem.find("-7"), std::string::npos) << problem;
}

TEST_F(ConversationTest, EndsAtAnyTime) {
  core_.set("LOAD_MS", "5");
  core_.set("STEP_MS", "3");
  for (int milliseconds = 0; milliseconds < 60; milliseconds += 3) {
    begin();
    say(5);
    test::run_for(milliseconds / 1000.0);
    told_ = {};
    conversation_.reset();
    test::run_for(0.01);
    EXPECT_TRUE(told_.order.empty());
  }
}

/// Each event is followed by another deed.
Conversation::Events followed(const Conversation::Events& events, const std::function<void(char)>& deed) {
  // What is called is gone with the conversation, unless it is kept for as long as the call lasts.
  const auto there = std::make_shared<bool>(true);
  const auto follow = [deed, there](char event) {
    const std::weak_ptr<bool> seen = there;
    const std::function<void(char)> next = deed;
    next(event);
    EXPECT_FALSE(seen.expired());
  };
  return {.audio =
              [=](wire::Bytes packet, int samples) {
                events.audio(std::move(packet), samples);
                follow('a');
              },
          .text =
              [=](std::string text) {
                events.text(std::move(text));
                follow('t');
              },
          .frame =
              [=](double delay) {
                events.frame(delay);
                follow('f');
              },
          .failed =
              [=](std::string sentence, std::string detail) {
                events.failed(std::move(sentence), std::move(detail));
                follow('x');
              }};
}

TEST_F(ConversationTest, EndsWithinAnEvent) {
  for (const char when : {'a', 't', 'f', 'x'}) {
    told_ = {};
    core_.set("FAIL_FRAME", when == 'x' ? "3" : nullptr);
    std::string problem;
    const auto end = [&](char event) {
      if (event == when) conversation_.reset();
    };
    conversation_ = Conversation::make({}, settings_, 60, followed(told_.events(), end), &problem);
    say(31);
    ASSERT_TRUE(run_until([&] { return !conversation_; }));
    const std::string order = told_.order;
    test::run_for(0.02);
    EXPECT_EQ(told_.order, order);
  }
}

TEST_F(ConversationTest, BeginsAgainWithinAnEvent) {
  for (const char when : {'a', 't', 'f'}) {
    told_ = {};
    std::string problem, order;
    const auto again = [&](char event) {
      if (event != when || !order.empty()) return;
      order = told_.order;
      conversation_->restart();
      say(3);
    };
    conversation_ = Conversation::make({}, settings_, 60, followed(told_.events(), again), &problem);
    say(31);
    const auto frames_since = [&] { return std::count(told_.order.begin() + order.size(), told_.order.end(), 'f'); };
    ASSERT_TRUE(run_until([&] { return !order.empty() && frames_since() == 2; })) << when;
    EXPECT_EQ(told_.order.substr(order.size(), 2), "aa") << "nothing of the one before";
    conversation_.reset();
  }
}

// A step that takes long holds up its own end only.
TEST_F(ConversationTest, EndsWithoutWaiting) {
  core_.set("STEP_HOLD", "1");
  begin();
  say(5);
  test::run_for(0.05);
  conversation_.reset();
  core_.set("STEP_HOLD", "0");
}

TEST_F(ConversationTest, ManyShareOneModel) {
  constexpr int kMany = 8;
  std::vector<Told> told(kMany);
  std::vector<std::unique_ptr<Conversation>> conversations;
  for (Told& one : told) {
    std::string problem;
    conversations.push_back(Conversation::make({}, settings_, 60, one.events(), &problem));
  }
  for (int i = 0; i < 22; ++i) {
    const auto packet = tone_.next();
    for (auto& one : conversations) one->push(packet, tone_.samples());
  }
  for (Told& one : told) ASSERT_TRUE(run_until([&] { return one.frames == 10; }));
  EXPECT_EQ(core_.stats().models, 2) << "one is the codec";
}

}  // namespace

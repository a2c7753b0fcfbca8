// SPDX-License-Identifier: MIT
// A conversation with the embedded models on the real core: the parrot repeats what it heard, 25 frames later.
#include <algorithm>
#include <cmath>

#include "conversation.h"
#include "helpers.h"

namespace {

constexpr int kFrame = wire::kFrameSamples;
constexpr int kParrot = 25;
// Of what is sent; the first frame is not heard.
constexpr int kQuiet = 13, kLoud = 12, kFrames = 70;

/// Like a voice: harmonics of 140 Hz, in syllables.
std::vector<int16_t> voice(int frame) {
  std::vector<int16_t> pcm(kFrame);
  if (frame < kQuiet || frame >= kQuiet + kLoud) return pcm;
  for (int i = 0; i < kFrame; ++i) {
    const double time = (frame * kFrame + i) / 24000.0;
    double sum = 0;
    for (int harmonic = 1; harmonic < 20; ++harmonic) sum += std::sin(2 * M_PI * 140 * harmonic * time) / harmonic;
    pcm[static_cast<size_t>(i)] = static_cast<int16_t>(6000 * sum * (0.6 + 0.4 * std::sin(2 * M_PI * 4 * time)));
  }
  return pcm;
}

TEST(ParrotTest, RepeatsAndSaysWhatItHears) {
  std::string problem, text;
  std::vector<double> power;  // of each frame that comes
  int told = 0;
  bool failed = false, loaded = false;
  const auto model = server::LoadedModel::load({}, nullptr, [&](const server::ModelFacts* facts, std::string why) {
    loaded = true;
    ASSERT_TRUE(facts) << why;
    EXPECT_EQ(facts->name, "embedded");
    EXPECT_EQ(facts->type, "moshi");
    EXPECT_TRUE(facts->speaks && facts->writes);
    EXPECT_TRUE(facts->lm_file.ends_with(".safetensors")) << facts->lm_file;
    EXPECT_TRUE(facts->defaults.temperature && facts->defaults.text_top_k);
  });
  ASSERT_TRUE(test::run_until([&] { return loaded; }, 60));
  server::Settings settings;
  settings.encoding = server::Encoding::kPcm;
  const auto conversation =
      server::Conversation::make({}, settings, 60,
                                 {.audio =
                                      [&](wire::Bytes sound, int) {
                                        const auto* pcm = reinterpret_cast<const int16_t*>(sound.data());
                                        double sum = 0;
                                        for (size_t i = 0; i < sound.size() / sizeof(int16_t); ++i)
                                          sum += static_cast<double>(pcm[i]) * pcm[i];
                                        power.push_back(sum / kFrame);
                                      },
                                  .text = [&](std::string piece) { text += piece; },
                                  .frame = [&](double) { ++told; },
                                  .failed =
                                      [&](std::string, std::string why) {
                                        failed = true;
                                        ADD_FAILURE() << why;
                                      }},
                                 &problem);
  ASSERT_TRUE(conversation) << problem;
  for (int frame = 0; frame < kFrames; ++frame) conversation->push(test::bytes_of(voice(frame)), kFrame);
  ASSERT_TRUE(test::run_until([&] { return told == kFrames - 1 || failed; }, 120));
  ASSERT_EQ(power.size(), static_cast<size_t>(kFrames - 1));

  // Heard frame k is what was sent as k + 1. A frame at either edge may be of both.
  const int first = kQuiet - 1 + kParrot;
  double quiet = 0, loud = 0;
  for (int frame = 0; frame < kFrames - 1; ++frame) {
    const bool within = frame > first && frame < first + kLoud - 1;
    const bool without = frame < first - 1 || frame > first + kLoud + 1;
    if (within) loud += power[static_cast<size_t>(frame)] / (kLoud - 2);
    if (without) quiet = std::max(quiet, power[static_cast<size_t>(frame)]);
  }
  EXPECT_GT(loud, 20 * quiet) << "loud " << loud << ", quiet " << quiet;
  EXPECT_NE(text.find(" silence"), std::string::npos) << text;
}

TEST(ParrotTest, LoadsAreTold) {
  std::string problem;
  bool told = false;
  server::Model nowhere, colored;
  nowhere.model = "/nowhere";
  colored.settings = {{"colour", "red"}};
  auto model = server::LoadedModel::load(nowhere, nullptr, [&](const server::ModelFacts* facts, std::string why) {
    told = true;
    EXPECT_FALSE(facts);
    problem = std::move(why);
  });
  ASSERT_TRUE(test::run_until([&] { return told; }));
  EXPECT_NE(problem.find("nowhere"), std::string::npos) << problem;
  told = false;
  model = server::LoadedModel::load(colored, nullptr, [&](const server::ModelFacts*, std::string why) {
    told = true;
    problem = std::move(why);
    model.reset();
  });
  ASSERT_TRUE(test::run_until([&] { return told; }));
  EXPECT_NE(problem.find("colour"), std::string::npos) << problem;
  // Before it has loaded.
  model = server::LoadedModel::load({}, nullptr, [&](const server::ModelFacts*, std::string) { ADD_FAILURE(); });
  model.reset();
  test::run_for(0.05);
}

}  // namespace

// SPDX-License-Identifier: MIT
#include "settings.h"

#include <gtest/gtest.h>

namespace {

using server::parse_query;
using server::Query;
using server::Settings;

class SettingsTest : public testing::Test {
 protected:
  Settings good(const Query& query) {
    const auto settings = parse_query(query, defaults_, &problem_);
    EXPECT_TRUE(settings) << problem_;
    return settings.value_or(Settings{});
  }
  std::string bad(const Query& query) {
    problem_.clear();
    EXPECT_FALSE(parse_query(query, defaults_, &problem_));
    return problem_;
  }
  server::Sampling defaults_;
  std::string problem_;
};

TEST_F(SettingsTest, NothingIsAsked) {
  defaults_.temperature = 0.6;
  defaults_.top_k = 9;
  defaults_.seed = 4;
  const Settings settings = good({});
  EXPECT_EQ(settings.sampling.temperature, 0.6);
  EXPECT_EQ(settings.sampling.top_k, 9);
  EXPECT_EQ(settings.sampling.seed, 4);
  EXPECT_FALSE(settings.sampling.text_temperature);
  EXPECT_TRUE(settings.audio && settings.text);
  EXPECT_EQ(settings.encoding, server::Encoding::kOpus);
  EXPECT_FALSE(settings.metadata || settings.stats || settings.most_steps);
  EXPECT_TRUE(settings.ignored.empty());
}

TEST_F(SettingsTest, SamplingIsAskedAndAsksForMetadata) {
  defaults_.temperature = 0.6;
  const Settings settings =
      good({{"text_temperature", "0"}, {"audio_temperature", "1e-1"}, {"text_topk", "0"}, {"audio_topk", "250"}});
  EXPECT_EQ(settings.sampling.text_temperature, 0);
  EXPECT_EQ(settings.sampling.temperature, 0.1);
  EXPECT_EQ(settings.sampling.text_top_k, 0);
  EXPECT_EQ(settings.sampling.top_k, 250);
  EXPECT_TRUE(settings.metadata);
  EXPECT_FALSE(good({{"text_topk", "3"}, {"metadata", "0"}}).metadata);
  EXPECT_TRUE(good({{"metadata", "1"}}).metadata);
  EXPECT_TRUE(good({{"seed", "1"}}).metadata);
  EXPECT_TRUE(good({}).queue);
  EXPECT_TRUE(good({{"seed", "1"}, {"metadata", "1"}}).queue);
  EXPECT_FALSE(good({{"metadata", "0"}}).queue);
  EXPECT_FALSE(good({{"seed", "1"}}).queue) << "the reference's page asks so, and complains of a place";
}

// What Kyutai's page sends.
TEST_F(SettingsTest, TheReferencesPageIsUnderstood) {
  const Settings settings = good({{"text_temperature", "0.7"},
                                  {"text_topk", "25"},
                                  {"audio_temperature", "0.8"},
                                  {"audio_topk", "250"},
                                  {"pad_mult", "0"},
                                  {"text_seed", "591242"},
                                  {"audio_seed", "17"},
                                  {"repetition_penalty_context", "64"},
                                  {"repetition_penalty", "1"},
                                  {"worker_auth_id", ""},
                                  {"email", "a@b"}});
  EXPECT_TRUE(settings.ignored.empty());
  EXPECT_EQ(settings.sampling.seed, (int64_t{591242} << 31) + 17);
  EXPECT_NE(good({{"text_seed", "1"}}).sampling.seed, good({{"audio_seed", "1"}}).sampling.seed);
  EXPECT_EQ(good({{"text_seed", "1"}, {"seed", "8"}}).sampling.seed, 8);
  EXPECT_EQ(good({{"seed", "9223372036854775807"}}).sampling.seed, INT64_MAX);
}

TEST_F(SettingsTest, WhatWouldChangeNothingIsTaken) {
  EXPECT_TRUE(
      good({{"pad_mult", "0.0"}, {"repetition_penalty", "1.0"}, {"repetition_penalty_context", "7"}}).ignored.empty());
  const Settings settings = good({{"pad_mult", "-0.5"}, {"repetition_penalty", "1.1"}});
  EXPECT_EQ(settings.ignored, (std::vector<std::string>{"pad_mult", "repetition_penalty"}));
}

TEST_F(SettingsTest, ListenersAndEncodings) {
  EXPECT_FALSE(good({{"listen", "text"}}).audio);
  EXPECT_FALSE(good({{"listen", "audio"}}).text);
  EXPECT_TRUE(good({{"listen", "both"}}).audio);
  EXPECT_EQ(good({{"audio", "pcm"}}).encoding, server::Encoding::kPcm);
  EXPECT_TRUE(good({{"stats", "1"}}).stats);
  EXPECT_EQ(good({{"max_steps", "4500"}}).most_steps, 4500u);
}

TEST_F(SettingsTest, WhatCannotBeIsNamed) {
  const std::map<std::string, std::vector<std::string>> values = {
      {"text_temperature", {"", "warm", "-0.1", "100.1", "nan", "inf", "1e999", "0.7x", " 1"}},
      {"audio_temperature", {"-1", "0x1"}},
      {"text_topk", {"", "-1", "1.5", "2147483648", "99999999999999999999"}},
      {"audio_topk", {"many"}},
      {"seed", {"-1", "9223372036854775808"}},
      {"text_seed", {"2147483648"}},
      {"audio_seed", {"-1"}},
      {"listen", {"", "none", "Both"}},
      {"audio", {"", "mp3"}},
      {"metadata", {"yes", "2", ""}},
      {"stats", {"-1"}},
      {"max_steps", {"0", "-5", "x"}},
      {"pad_mult", {"", "a"}},
      {"repetition_penalty", {"nan"}},
      {"repetition_penalty_context", {"long"}}};
  for (const auto& [name, cannot] : values) {
    for (const std::string& value : cannot) {
      const std::string problem = bad({{name, value}});
      EXPECT_EQ(problem.find(name), 0u) << problem;
      EXPECT_NE(problem.find('"' + value + '"'), std::string::npos) << problem;
      EXPECT_EQ(problem.back(), '.') << problem;
    }
  }
}

TEST_F(SettingsTest, ValuesAreShortAndPlainInSentences) {
  const std::string problem = bad({{"seed", "\xff\n\x01" + std::string(1000, 'a')}});
  EXPECT_LT(problem.size(), 150u);
  for (const char c : problem) EXPECT_TRUE(c >= ' ' && c <= '~');
}

}  // namespace

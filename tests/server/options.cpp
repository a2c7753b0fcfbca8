// SPDX-License-Identifier: MIT
// The command line: what it means, and what is said about a wrong one.
#include "options.h"

#include <glib/gstdio.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

using server::Options;

namespace {

std::optional<Options> parse(std::vector<std::string> words) {
  words.insert(words.begin(), "moshi-server");
  std::vector<char*> raw;
  for (std::string& word : words) raw.push_back(word.data());
  raw.push_back(nullptr);
  return server::parse_options(static_cast<int>(words.size()), raw.data());
}

/// What is said about it, one line.
std::string complaint(const std::vector<std::string>& words) {
  testing::internal::CaptureStderr();
  EXPECT_FALSE(parse(words)) << words.front();
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::count(said.begin(), said.end(), '\n'), 1) << said;
  return said;
}

std::string temporary(const std::string& content) {
  static int number = 0;
  const std::string path =
      testing::TempDir() + "moshi-options-" + std::to_string(getpid()) + "-" + std::to_string(number++);
  std::ofstream(path) << content;
  return path;
}

TEST(Options, Defaults) {
  const auto options = parse({});
  ASSERT_TRUE(options);
  EXPECT_EQ(options->host, "localhost");
  EXPECT_EQ(options->port, 8998);
  EXPECT_EQ(options->sessions, std::nullopt);
  EXPECT_EQ(options->queue, 16);
  EXPECT_TRUE(options->tokens.empty());
  EXPECT_TRUE(options->tls_folder.empty());
  EXPECT_TRUE(options->model.model.empty());
  EXPECT_FALSE(options->sampling.temperature);
}

TEST(Options, OfTheReferencesServer) {
  const auto options =
      parse({"--hf-repo",     "kyutai/x", "--mimi-weight", "m",   "--moshi-weight", "w",   "--tokenizer", "t",
             "--config-path", "c",        "--lora-weight", "l",   "--cfg-coef",     "1.5", "--device",    "cpu",
             "--ssl",         "certs",    "--static",      "none"});
  ASSERT_TRUE(options);
  EXPECT_EQ(options->model.model, "kyutai/x");
  EXPECT_EQ(options->model.mimi_weights, "m");
  const std::map<std::string, std::string> settings = {{"weights", "w"}, {"tokenizer", "t"},  {"config", "c"},
                                                       {"lora", "l"},    {"cfg-coef", "1.5"}, {"device", "cpu"}};
  EXPECT_EQ(options->model.settings, settings);
  EXPECT_EQ(options->tls_folder, "certs");
  EXPECT_EQ(options->page, "none");
}

TEST(Options, OfConversations) {
  const auto options =
      parse({"--temperature=0", "--text-temperature=0.5", "--top-k=0", "--text-top-k=7", "--seed=9223372036854775807",
             "--sessions=3", "--queue=0", "--max-lag=0.5", "--idle=0", "--session-limit=600", "--drain=0.5",
             "--max-message=2000", "--messages-per-second=50", "--bytes-per-second=5000", "--unsent-bytes=20000",
             "--condition=voice=a=b", "--log=json"});
  ASSERT_TRUE(options);
  EXPECT_EQ(options->sampling.temperature, 0);
  EXPECT_EQ(options->sampling.text_temperature, 0.5);
  EXPECT_EQ(options->sampling.top_k, 0);
  EXPECT_EQ(options->sampling.text_top_k, 7);
  EXPECT_EQ(options->sampling.seed, INT64_MAX);
  EXPECT_EQ(options->sessions, 3);
  EXPECT_EQ(options->queue, 0);
  EXPECT_EQ(options->limits.max_lag_seconds, 0.5);
  EXPECT_EQ(options->limits.idle_seconds, 0);
  EXPECT_EQ(options->limits.session_seconds, 600);
  EXPECT_EQ(options->drain_seconds, 0.5);
  EXPECT_EQ(options->message_bytes, 2000u);
  EXPECT_EQ(options->limits.messages_per_second, 50);
  EXPECT_EQ(options->limits.bytes_per_second, 5000);
  EXPECT_EQ(options->limits.unsent_bytes, 20000u);
  EXPECT_EQ(options->model.conditions.at("voice"), "a=b");
  EXPECT_EQ(options->log_style, server::log::Style::kJson);
}

TEST(Options, TokensAndOrigins) {
  const std::string file = temporary("# of the door\n\n  abc \ndef\n");
  const auto options =
      parse({"--token", "xyz", "--token-file", file, "--origin", "https://A.example:443", "--origin", "*"});
  ASSERT_TRUE(options);
  EXPECT_EQ(options->tokens, (std::vector<std::string>{"xyz", "abc", "def"}));
  EXPECT_EQ(options->origins, (std::vector<std::string>{"https://a.example", "*"}));
  g_unlink(file.c_str());
}

TEST(Options, TlsHasAFolderOfItsOwn) {
  const auto options = parse({"--tls"});
  ASSERT_TRUE(options);
  EXPECT_TRUE(options->tls_folder.ends_with("/gst-moshi/tls")) << options->tls_folder;
}

TEST(Options, WrongOnesAreNamed) {
  const std::string empty = temporary("# nothing\n"), spaced = temporary("two words\n");
  const struct {
    std::vector<std::string> words;
    const char* named;
  } cases[] = {
      {{"--port", "70000"}, "--port"},
      {{"--port", "http"}, "\"http\""},
      {{"--port", ""}, "--port"},
      {{"--sessions", "0"}, "--sessions"},
      {{"--sessions", "1.5"}, "--sessions"},
      {{"--temperature", "nan"}, "--temperature"},
      {{"--temperature", "-1"}, "--temperature"},
      {{"--text-top-k", "-1"}, "--text-top-k"},
      {{"--seed", "-1"}, "--seed"},
      {{"--seed", "9223372036854775808"}, "--seed"},
      {{"--max-lag", "0"}, "--max-lag"},
      {{"--idle", "1e99"}, "--idle"},
      {{"--drain", "5000000"}, "--drain"},
      {{"--log", "xml"}, "\"xml\""},
      {{"--static", "/no/such/folder"}, "/no/such/folder"},
      {{"--condition", "=x"}, "\"=x\""},
      {{"--origin", "moshi.example.org"}, "\"moshi.example.org\""},
      {{"--token", ""}, "--token"},
      {{"--token-file", "/no/such/file"}, "/no/such/file"},
      {{"--token-file", empty}, "no token"},
      {{"--token-file", spaced}, "spaces"},
      {{"--ssl", "x", "--tls"}, "--ssl"},
      {{"--moshi-weight", "x"}, "--moshi-weight"},
      {{"--no-such-option"}, "--no-such-option"},
      {{"model"}, "\"model\""},
  };
  for (const auto& one : cases) {
    const std::string said = complaint(one.words);
    EXPECT_NE(said.find(one.named), std::string::npos) << one.words.front() << ": " << said;
  }
  // A token that is wrong is not shown, either.
  EXPECT_EQ(complaint({"--token", "sec ret"}).find("sec"), std::string::npos);
  g_unlink(empty.c_str());
  g_unlink(spaced.c_str());
}

}  // namespace

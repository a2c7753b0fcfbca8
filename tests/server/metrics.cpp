// SPDX-License-Identifier: MIT
// What Prometheus reads.
#include "metrics.h"

#include <gtest/gtest.h>

#include <regex>
#include <set>
#include <sstream>

using server::Histogram;
using server::Metrics;

namespace {

TEST(Histogram, BucketsAreCumulative) {
  Histogram histogram;
  for (const double seconds : {0.004, 0.02, 0.021, 5.0}) histogram.add(seconds);
  const std::string text = histogram.text("x", "Help.");
  EXPECT_NE(text.find("x_bucket{le=\"0.005\"} 1\n"), std::string::npos) << text;
  EXPECT_NE(text.find("x_bucket{le=\"0.02\"} 2\n"), std::string::npos) << text;
  EXPECT_NE(text.find("x_bucket{le=\"0.04\"} 3\n"), std::string::npos) << text;
  EXPECT_NE(text.find("x_bucket{le=\"2\"} 3\n"), std::string::npos) << text;
  EXPECT_NE(text.find("x_bucket{le=\"+Inf\"} 4\n"), std::string::npos) << text;
  EXPECT_NE(text.find("x_sum 5.045\nx_count 4\n"), std::string::npos) << text;
}

TEST(Metrics, AreWhatTheyAreCalled) {
  Metrics metrics;
  metrics.active = 3;
  metrics.queued = 2;
  metrics.capacity = 8;
  metrics.connections = 11;
  metrics.ends["client"] = 4;
  metrics.refusals["full"] = 5;
  metrics.frames_in = 12345678901;
  const std::string text = metrics.text();
  for (const char* line : {"moshi_sessions_active 3\n", "moshi_sessions_queued 2\n", "moshi_sessions_capacity 8\n",
                           "moshi_connections_total 11\n", "moshi_session_ends_total{reason=\"client\"} 4\n",
                           "moshi_refusals_total{reason=\"full\"} 5\n", "moshi_frames_in_total 12345678901\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
}

// Every line is a comment or a sample, of a name whose type was told once and before.
TEST(Metrics, AreInTheTextFormat) {
  Metrics metrics;
  metrics.ends["failed"] = 1;
  metrics.frame_delay.add(0.01);
  std::istringstream lines(metrics.text());
  const std::regex comment("# (HELP|TYPE) ([a-z_:][a-z0-9_:]*) .+");
  const std::regex sample("([a-z_:][a-z0-9_:]*?)(_bucket|_sum|_count)?(\\{[a-z]+=\"[^\"\\\\\n]*\"\\})? [0-9.e+]+");
  std::set<std::string> typed;
  for (std::string line; std::getline(lines, line);) {
    std::smatch match;
    if (std::regex_match(line, match, comment)) {
      if (match[1] == "TYPE") {
        EXPECT_TRUE(typed.insert(match[2]).second) << "twice: " << line;
      }
      continue;
    }
    ASSERT_TRUE(std::regex_match(line, match, sample)) << line;
    EXPECT_TRUE(typed.contains(match[1]) || typed.contains(match[1].str() + match[2].str())) << line;
  }
  EXPECT_TRUE(typed.contains("moshi_frame_delay_seconds"));
  EXPECT_TRUE(typed.contains("process_resident_memory_bytes"));
}

TEST(Metrics, KnowTheProcess) {
  const std::string text = Metrics().text();
  const std::string name = "\nprocess_resident_memory_bytes ";
  const size_t at = text.find(name);
  ASSERT_NE(at, std::string::npos);
  EXPECT_GT(std::stod(text.substr(at + name.size())), 1e6);
}

}  // namespace

// SPDX-License-Identifier: MIT
// One line for each event, whatever is in it.
#include "log.h"

#include <glib.h>
#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

using server::log::Level;
using server::log::Style;

namespace {

using Json = nlohmann::json;

std::string text(std::initializer_list<server::log::Field> fields, Level level = Level::kInfo) {
  return server::log::line(Style::kText, level, "session-end", fields);
}

Json json(std::initializer_list<server::log::Field> fields, Level level = Level::kInfo) {
  const std::string line = server::log::line(Style::kJson, level, "session-end", fields);
  EXPECT_EQ(line.find('\n'), line.size() - 1) << line;
  return Json::parse(line);
}

const std::string kHostile[] = {
    "two\nlines\r\n",
    "\x1b[31mred\x1b[0m",
    "\"},{\"level\":\"error",
    "a=b c",
    "\xff\xfe not UTF-8",
    "\xc2\x9b"
    "31m",
    "\x7f",
    std::string("zero\0byte", 9),
    "\xe2\x80\xae"
    "right to left",
    "",
    "back\\slash",
};

TEST(Log, WordsAreBare) {
  EXPECT_EQ(text({{"address", "192.0.2.1"}, {"frames", int64_t{12}}, {"seconds", 1.23456}, {"good", true}}).substr(9),
            "session-end address=192.0.2.1 frames=12 seconds=1.235 good=true\n");
}

TEST(Log, ASentenceComesFirstAndBare) {
  EXPECT_EQ(text({{"id", "7"}, {"text", "it's \"gone\" to C:\\"}}, Level::kWarning).substr(9),
            "warning: session-end: it's \"gone\" to C:\\ id=7\n");
}

TEST(Log, HostileTextStaysOnOneLineOfPrintableAscii) {
  for (const std::string& one : kHostile) {
    for (const char* key : {"origin", "text"}) {
      const std::string line = text({{key, one}});
      EXPECT_EQ(line.find('\n'), line.size() - 1) << line;
      for (size_t i = 0; i + 1 < line.size(); ++i) EXPECT_TRUE(line[i] >= ' ' && line[i] < 0x7f) << line;
    }
    // Nothing that a client sends looks like a field of its own.
    const std::string line = text({{"origin", one}, {"reason", "idle"}});
    EXPECT_TRUE(line.ends_with(" reason=idle\n")) << line;
  }
}

TEST(Log, HostileTextIsOneValueOfJson) {
  for (const std::string& one : kHostile) {
    const Json event = json({{"origin", one}, {"reason", "idle"}});
    EXPECT_EQ(event.size(), 5u) << event.dump();
    EXPECT_EQ(event["level"], "info");
    EXPECT_EQ(event["reason"], "idle");
  }
  EXPECT_EQ(json({{"origin", kHostile[2]}})["origin"], kHostile[2]);
}

TEST(Log, JsonHasTypes) {
  const Json event = json({{"a", int64_t{-3}}, {"b", 0.5}, {"c", false}, {"d", 1.0 / 0.0}}, Level::kError);
  EXPECT_EQ(event["a"], -3);
  EXPECT_EQ(event["b"], 0.5);
  EXPECT_EQ(event["c"], false);
  EXPECT_TRUE(event["d"].is_null());
  EXPECT_EQ(event["level"], "error");
  EXPECT_EQ(event["event"], "session-end");
  EXPECT_EQ(event["time"].get<std::string>().size(), std::string("2024-01-01T00:00:00.000Z").size());
}

/// What `deed` writes, as JSON.
std::vector<Json> written(const std::function<void()>& deed) {
  testing::internal::CaptureStderr();
  server::log::set_style(Style::kJson);
  deed();
  server::log::set_style(Style::kText);
  std::istringstream lines(testing::internal::GetCapturedStderr());
  std::vector<Json> events;
  for (std::string one; std::getline(lines, one);) events.push_back(Json::parse(one));
  return events;
}

TEST(Log, LibrariesWriteLinesOfIt) {
  const auto events = written([] {
    server::log::take_glibs();
    g_log("Somebody", G_LOG_LEVEL_WARNING, "two\nlines");
    g_log("Somebody", G_LOG_LEVEL_DEBUG, "nobody asked");
    g_log_structured(nullptr, G_LOG_LEVEL_MESSAGE, "MESSAGE", "%s", "told");
  });
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0]["event"], "library");
  EXPECT_EQ(events[0]["level"], "warning");
  EXPECT_NE(events[0]["text"].get<std::string>().find("two\nlines"), std::string::npos);
  EXPECT_EQ(events[0]["domain"], "Somebody");
  EXPECT_EQ(events[1]["level"], "info");
  EXPECT_EQ(events[1]["text"], "told");
}

TEST(LogDeathTest, WhatIsFatalStaysFatal) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  for (const bool structured : {false, true}) {
    const auto warn = [structured] {
      g_log_set_always_fatal(G_LOG_LEVEL_WARNING);
      server::log::take_glibs();
      if (structured) g_log_structured("Somebody", G_LOG_LEVEL_WARNING, "MESSAGE", "%s", "the last word");
      g_log("Somebody", G_LOG_LEVEL_WARNING, "the last word");
    };
    EXPECT_DEATH(warn(), "library: the last word");
  }
}

TEST(Log, LongTextIsCut) {
  const std::string much(100000, 'x');
  for (const char* key : {"origin", "text"}) {
    const std::string line = text({{key, much}});
    EXPECT_LT(line.size(), 1100u);
    EXPECT_NE(line.find("xxx..."), std::string::npos);
  }
  EXPECT_LT(json({{"origin", much}})["origin"].get<std::string>().size(), 1100u);
}

TEST(Log, AFloodHidesNoOtherWarning) {
  const auto events = written([] {
    for (int i = 0; i < 1000; ++i) server::log::write(Level::kWarning, "flood");
    server::log::write(Level::kWarning, "rare");
  });
  EXPECT_EQ(events.back()["event"], "rare");
  const Json& before = events[events.size() - 2];
  EXPECT_EQ(before["event"], "left-out");
  EXPECT_EQ(before["of"], "flood");
}

TEST(Log, WarningsHaveTheirMeasure) {
  constexpr int kMany = 1000;
  const auto events = written([] {
    for (int i = 0; i < kMany; ++i) server::log::write(Level::kWarning, "refused", {{"number", int64_t{i}}});
    server::log::write(Level::kInfo, "session-end");
  });
  EXPECT_LT(events.size(), 100u);
  EXPECT_EQ(events.back()["event"], "session-end");
  int64_t lines = 0, told = 0;
  for (const Json& one : events) {
    if (one["event"] == "left-out") lines += one["lines"].get<int64_t>();
    told += one["event"] == "refused";
  }
  EXPECT_GE(told, 1);
  EXPECT_GE(lines, 1);
  EXPECT_EQ(told + lines, kMany);
}

}  // namespace

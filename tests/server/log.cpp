// SPDX-License-Identifier: MIT
// One line for each event, whatever is in it.
#include "log.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

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

}  // namespace

// SPDX-License-Identifier: MIT
// The frame of the protocol's messages.
#include "message.h"

#include <gtest/gtest.h>

namespace wire {
namespace {

TEST(Message, RoundTrip) {
  for (const Kind kind :
       {Kind::kHandshake, Kind::kAudio, Kind::kText, Kind::kControl, Kind::kMetadata, Kind::kError, Kind::kPing}) {
    const Bytes bytes = make(kind, std::string_view(" h\xc3\xa9llo"));
    ASSERT_EQ(bytes.size(), 8u);
    EXPECT_EQ(bytes[0], static_cast<uint8_t>(kind));
    const auto message = parse(bytes);
    ASSERT_TRUE(message);
    EXPECT_EQ(message->kind, kind);
    EXPECT_EQ(text_of(message->payload), " h\xc3\xa9llo");
  }
}

TEST(Message, PayloadMayBeEmpty) {
  EXPECT_EQ(make(Kind::kPing), Bytes{6});
  const Bytes bytes = make(Kind::kHandshake);
  const auto message = parse(bytes);
  ASSERT_TRUE(message);
  EXPECT_EQ(message->kind, Kind::kHandshake);
  EXPECT_TRUE(message->payload.empty());
}

TEST(Message, OthersAreNone) {
  EXPECT_FALSE(parse({}));
  for (int kind = 7; kind < 256; ++kind) {
    const Bytes bytes = {static_cast<uint8_t>(kind), 1, 2};
    EXPECT_FALSE(parse(bytes)) << kind;
  }
}

TEST(Message, NumbersOfTheProtocol) {
  EXPECT_EQ(static_cast<int>(Kind::kMetadata), 4);
  EXPECT_EQ(static_cast<int>(Control::kRestart), 3);
  EXPECT_EQ(static_cast<int>(Close::kTryLater), 1013);
}

}  // namespace
}  // namespace wire

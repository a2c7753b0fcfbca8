// SPDX-License-Identifier: MIT
// The ways in which a user may name the server.
#include <gtest/gtest.h>

#include "address.h"

namespace client {
namespace {

std::string of(const Place& place, const Parameters& parameters = {}) {
  std::string problem;
  const auto address = socket_address(place, parameters, &problem);
  EXPECT_EQ(address.has_value(), problem.empty());
  return address.value_or("");
}

std::string of(const std::string& url, const Parameters& parameters = {}) {
  Place place;
  place.url = url;
  return of(place, parameters);
}

TEST(Address, HostAndPort) {
  EXPECT_EQ(of(Place{}), "ws://localhost:8998/api/chat");
  EXPECT_EQ(of(Place{"", "moshi.example", 443, true}), "wss://moshi.example:443/api/chat");
  EXPECT_EQ(of(Place{"", "::1", 8998, false}), "ws://[::1]:8998/api/chat");
  EXPECT_EQ(of(Place{"", "[::1]", 8998, false}), "ws://[::1]:8998/api/chat");
}

TEST(Address, Url) {
  EXPECT_EQ(of("http://localhost:8998"), "ws://localhost:8998/api/chat");
  EXPECT_EQ(of("ws://localhost:8998/"), "ws://localhost:8998/api/chat");
  EXPECT_EQ(of("https://moshi.example"), "wss://moshi.example/api/chat");
  EXPECT_EQ(of("wss://moshi.example"), "wss://moshi.example/api/chat");
  EXPECT_EQ(of("HTTP://localhost"), "ws://localhost/api/chat");
}

TEST(Address, WithoutSchemeMeansTls) {
  EXPECT_EQ(of("moshi.example"), "wss://moshi.example/api/chat");
  EXPECT_EQ(of("localhost:8998"), "wss://localhost:8998/api/chat");
}

TEST(Address, PathIsAppendedOnce) {
  EXPECT_EQ(of("ws://localhost/api/chat"), "ws://localhost/api/chat");
  EXPECT_EQ(of("ws://localhost/api/chat/"), "ws://localhost/api/chat");
  EXPECT_EQ(of("https://example.org/moshi/"), "wss://example.org/moshi/api/chat");
}

TEST(Address, Query) {
  const Parameters parameters = {{"seed", "17"}, {"listen", "a b&c"}};
  EXPECT_EQ(of("ws://localhost", parameters), "ws://localhost/api/chat?seed=17&listen=a%20b%26c");
  EXPECT_EQ(of("ws://localhost/?x=a%26b", parameters), "ws://localhost/api/chat?x=a%26b&seed=17&listen=a%20b%26c");
}

TEST(Address, WhatIsNone) {
  for (const char* url : {"ftp://localhost", "http://", "://", "ws://localhost:99999"}) {
    std::string problem;
    Place place;
    place.url = url;
    EXPECT_FALSE(socket_address(place, {}, &problem)) << url;
    EXPECT_FALSE(problem.empty()) << url;
  }
}

}  // namespace
}  // namespace client

// SPDX-License-Identifier: MIT
// Tokens, origins, and the addresses of clients.
#include "access.h"

#include <glib.h>
#include <gtest/gtest.h>

using server::Credentials;

namespace {

bool token(const std::vector<std::string>& tokens, const Credentials& given) {
  return server::token_allows(tokens, given);
}

Credentials header(const std::string& authorization) {
  Credentials given;
  given.authorization = authorization;
  return given;
}

Credentials key(const std::string& api_key) {
  Credentials given;
  given.api_key = api_key;
  return given;
}

Credentials query(const std::vector<std::string>& tokens) {
  Credentials given;
  given.query_tokens = tokens;
  return given;
}

bool origin(const std::string& page, const std::string& host, const std::vector<std::string>& more = {}) {
  Credentials given;
  given.origin = page;
  given.host = host;
  return server::origin_allows(more, given);
}

TEST(Token, NoneIsWanted) { EXPECT_TRUE(token({}, {})); }

TEST(Token, ComesInThreeWays) {
  const std::vector<std::string> tokens = {"one", "two"};
  EXPECT_TRUE(token(tokens, header("Bearer two")));
  EXPECT_TRUE(token(tokens, header("bearer   one ")));
  EXPECT_TRUE(token(tokens, key("one")));
  EXPECT_TRUE(token(tokens, query({"no", "two"})));
}

TEST(Token, WrongOnesDoNotPass) {
  const std::vector<std::string> tokens = {"secret"};
  EXPECT_FALSE(token(tokens, {}));
  EXPECT_FALSE(token(tokens, header("secret")));
  EXPECT_FALSE(token(tokens, header("Basic secret")));
  EXPECT_FALSE(token(tokens, header("Bearer")));
  EXPECT_FALSE(token(tokens, header("Bearer secre")));
  EXPECT_FALSE(token(tokens, key("secrets")));
  EXPECT_FALSE(token(tokens, query({""})));
}

TEST(Origin, ProgramsHaveNone) { EXPECT_TRUE(origin("", "localhost:8998")); }

TEST(Origin, ThePageOfThisHost) {
  EXPECT_TRUE(origin("http://localhost:8998", "localhost:8998"));
  EXPECT_TRUE(origin("https://moshi.example.org", "moshi.example.org"));
  EXPECT_TRUE(origin("https://moshi.example.org", "moshi.example.org:443"));
  EXPECT_TRUE(origin("http://moshi.example.org", "moshi.example.org:80"));
  EXPECT_TRUE(origin("https://Moshi.Example.org", "moshi.example.org"));
  EXPECT_TRUE(origin("http://[::1]:8998", "[::1]:8998"));
}

TEST(Origin, OtherPagesMayNot) {
  EXPECT_FALSE(origin("http://localhost:8999", "localhost:8998"));
  EXPECT_FALSE(origin("http://127.0.0.1:8998", "localhost:8998"));
  EXPECT_FALSE(origin("https://example.org", "moshi.example.org"));
  EXPECT_FALSE(origin("https://moshi.example.org.evil.example", "moshi.example.org"));
  EXPECT_FALSE(origin("https://evil.example/moshi.example.org", "moshi.example.org"));
  EXPECT_FALSE(origin("https://moshi.example.org@evil.example", "moshi.example.org"));
  EXPECT_FALSE(origin("null", "localhost:8998"));
  EXPECT_FALSE(origin("localhost:8998", "localhost:8998"));
  EXPECT_FALSE(origin("http://localhost:8998", ""));
  EXPECT_FALSE(origin("http://\xff", "localhost"));
}

TEST(Origin, NoForeignNameForThisMachine) {
  const auto here = [](const std::string& page, const std::string& host, const std::vector<std::string>& more = {}) {
    Credentials given;
    given.origin = page;
    given.host = host;
    given.direct_loopback = true;
    return server::origin_allows(more, given);
  };
  EXPECT_FALSE(here("http://evil.example:8998", "evil.example:8998"));
  EXPECT_FALSE(here("http://localhost.evil.example", "localhost.evil.example"));
  EXPECT_TRUE(here("http://localhost:8998", "localhost:8998"));
  EXPECT_TRUE(here("http://moshi.localhost:8998", "moshi.localhost:8998"));
  EXPECT_TRUE(here("http://127.0.0.1:8998", "127.0.0.1:8998"));
  const std::string own = g_get_host_name();
  EXPECT_TRUE(here("http://" + own + ":8998", own + ":8998"));
  EXPECT_TRUE(here("http://[::1]:8998", "[::1]:8998"));
  EXPECT_TRUE(here("https://moshi.example.org", "moshi.example.org")) << "a proxy, whose certificate the browser knows";
  EXPECT_TRUE(here("http://gpu-box:8998", "gpu-box:8998", {"http://gpu-box:8998"}));
}

TEST(Origin, ThatWasNamedMay) {
  EXPECT_TRUE(origin("https://a.example", "b.example", {"https://c.example", "https://a.example"}));
  EXPECT_TRUE(origin("https://a.example", "b.example", {"https://A.example:443/"}));
  EXPECT_FALSE(origin("http://a.example", "b.example", {"https://a.example"}));
  EXPECT_TRUE(origin("null", "b.example", {"*"}));
  EXPECT_TRUE(origin("null", "b.example", {"null"}));
}

TEST(Origin, NormalForm) {
  EXPECT_EQ(server::normal_origin("HTTPS://Moshi.Example.org:443/"), "https://moshi.example.org");
  EXPECT_EQ(server::normal_origin("http://[::1]:8998"), "http://[::1]:8998");
  for (const char* bad :
       {"", "moshi.example.org", "ftp://a.example", "https://", "https://a.example/page", "https://a?b"})
    EXPECT_EQ(server::normal_origin(bad), std::nullopt) << bad;
}

TEST(Address, OnlyAProxyHereIsBelieved) {
  EXPECT_EQ(server::client_address("192.0.2.1", ""), "192.0.2.1");
  EXPECT_EQ(server::client_address("192.0.2.1", "198.51.100.7"), "192.0.2.1");
  EXPECT_EQ(server::client_address("127.0.0.1", "198.51.100.7"), "198.51.100.7");
  EXPECT_EQ(server::client_address("::1", "spoofed, 2001:db8::7 "), "2001:db8::7");
  EXPECT_EQ(server::client_address("127.0.0.1", "198.51.100.7, not an address"), "127.0.0.1");
}

}  // namespace

// SPDX-License-Identifier: MIT
// Sockets that wait for clients.
#include "listening.h"

#include <gtest/gtest.h>

using server::listen_on;
using server::port_of;

namespace {

bool reached(const std::string& address, int port) {
  const std::unique_ptr<GSocketAddress, app::Deleter<g_object_unref>> place(
      g_inet_socket_address_new_from_string(address.c_str(), static_cast<guint>(port)));
  const server::Socket socket(
      g_socket_new(g_socket_address_get_family(place.get()), G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, nullptr));
  return socket && g_socket_connect(socket.get(), place.get(), nullptr, nullptr);
}

bool has_ipv6() {
  std::string problem;
  return !listen_on("::1", 0, &problem).empty();
}

TEST(Listening, LocalhostIsBothAddressesOnOnePort) {
  std::string problem;
  const auto sockets = listen_on("localhost", 0, &problem);
  ASSERT_FALSE(sockets.empty()) << problem;
  const int port = port_of(sockets.front().get());
  for (const auto& socket : sockets) EXPECT_EQ(port_of(socket.get()), port);
  EXPECT_TRUE(reached("127.0.0.1", port));
  EXPECT_EQ(reached("::1", port), has_ipv6());
}

TEST(Listening, AllAddresses) {
  std::string problem;
  const auto sockets = listen_on(has_ipv6() ? "::" : "0.0.0.0", 0, &problem);
  ASSERT_EQ(sockets.size(), 1u) << problem;
  EXPECT_TRUE(reached("127.0.0.1", port_of(sockets.front().get())));
}

TEST(Listening, APortInUseIsSaid) {
  std::string problem;
  const auto sockets = listen_on("127.0.0.1", 0, &problem);
  ASSERT_FALSE(sockets.empty()) << problem;
  const int port = port_of(sockets.front().get());
  for (const char* host : {"127.0.0.1", "localhost"}) {
    problem.clear();
    EXPECT_TRUE(listen_on(host, port, &problem).empty());
    EXPECT_NE(problem.find(std::to_string(port)), std::string::npos) << problem;
    EXPECT_NE(problem.find("--port"), std::string::npos) << problem;
  }
}

TEST(Listening, AHostThatIsNotHereIsSaid) {
  for (const char* host : {"192.0.2.1", "no-such-host.invalid", "not a host"}) {
    std::string problem;
    EXPECT_TRUE(listen_on(host, 0, &problem).empty()) << host;
    EXPECT_NE(problem.find(host), std::string::npos) << problem;
  }
}

TEST(Listening, Brackets) {
  EXPECT_EQ(server::in_url("::1"), "[::1]");
  EXPECT_EQ(server::in_url("localhost"), "localhost");
}

}  // namespace

// SPDX-License-Identifier: MIT
// Never too many connections, and none that is kept for nothing.
#include "connections.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "helpers.h"
#include "listening.h"

using server::Connections;

namespace {

class Sockets : public testing::Test {
 protected:
  void SetUp() override {
    std::string problem;
    listening = server::listen_on("127.0.0.1", 0, &problem);
    ASSERT_FALSE(listening.empty()) << problem;
    soup_server_add_handler(
        soup.get(), "/",
        [](SoupServer*, SoupServerMessage* message, const char*, GHashTable*, gpointer) {
          soup_server_message_set_response(message, "text/plain", SOUP_MEMORY_STATIC, "yes", 3);
          soup_server_message_set_status(message, 200, nullptr);
        },
        nullptr, nullptr);
    port = server::port_of(listening.front().get());
  }

  server::Socket connect() {
    server::Socket socket(g_socket_new(G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, nullptr));
    const std::unique_ptr<GSocketAddress, app::Deleter<g_object_unref>> address(
        g_inet_socket_address_new_from_string("127.0.0.1", static_cast<guint>(port)));
    EXPECT_TRUE(g_socket_connect(socket.get(), address.get(), nullptr, nullptr));
    g_socket_set_blocking(socket.get(), FALSE);
    return socket;
  }

  /// All that comes until the server closes the connection.
  static std::string read(GSocket* socket) {
    std::string text;
    test::run_until([&] {
      char bytes[4096];
      const gssize count = g_socket_receive(socket, bytes, sizeof bytes, nullptr, nullptr);
      if (count > 0) text.append(bytes, static_cast<size_t>(count));
      return count == 0;
    });
    return text;
  }
  static void send(GSocket* socket, const std::string& text) {
    g_socket_send(socket, text.data(), text.size(), nullptr, nullptr);
  }

  const std::unique_ptr<SoupServer, app::Deleter<g_object_unref>> soup{soup_server_new(nullptr, nullptr)};
  std::vector<server::Socket> listening;
  int port = 0;
};

TEST_F(Sockets, TheOldestGivesWay) {
  Connections connections(soup.get(), 2);
  connections.listen(std::move(listening), nullptr);
  std::vector<server::Socket> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(connect());
    test::run_until([&] { return connections.count() == std::min(i + 1, 2); });
    test::run_for(0.02);
  }
  EXPECT_EQ(read(clients[0].get()), "");
  send(clients[2].get(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(read(clients[2].get()).starts_with("HTTP/1.1 200"));
  send(clients[1].get(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(read(clients[1].get()).ends_with("yes"));
  test::run_until([&] { return connections.count() == 0; });
}

TEST_F(Sockets, EveryAnswerIsTheLast) {
  Connections connections(soup.get(), 10);
  connections.listen(std::move(listening), nullptr);
  for (const char* request : {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
                              "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "nonsense\r\n\r\n"}) {
    const auto client = connect();
    send(client.get(), request);
    const std::string answer = read(client.get());
    EXPECT_NE(answer.find("Connection: close\r\n"), std::string::npos) << request << answer;
  }
  test::run_until([&] { return connections.count() == 0; });
}

TEST_F(Sockets, ThoseThatAreLeftAloneStay) {
  Connections connections(soup.get(), 1);
  connections.listen(std::move(listening), nullptr);
  SoupServerMessage* seen = nullptr;
  g_signal_connect(soup.get(), "request-started",
                   G_CALLBACK(+[](SoupServer*, SoupServerMessage* message, gpointer user) {
                     *static_cast<SoupServerMessage**>(user) = message;
                   }),
                   &seen);
  const auto first = connect();
  test::run_until([&] { return seen != nullptr; });
  connections.leave_alone(seen);
  const auto second = connect();
  EXPECT_EQ(read(second.get()), "");
  send(first.get(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(read(first.get()).ends_with("yes"));
}

// Where there is no file for one more, it waits, and the thread does not spin meanwhile.
TEST_F(Sockets, WhoCannotBeAcceptedWaits) {
  Connections connections(soup.get(), 10);
  connections.listen(std::move(listening), nullptr);
  const auto client = connect();
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
  close(next);
  const rlimit none{static_cast<rlim_t>(next), before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  bool over = false;
  g_timeout_add(
      500,
      [](gpointer user) -> gboolean {
        *static_cast<bool*>(user) = true;
        return G_SOURCE_REMOVE;
      },
      &over);
  int wakes = 0;
  for (; !over; ++wakes) g_main_context_iteration(nullptr, TRUE);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_LT(wakes, 50);
  EXPECT_EQ(connections.count(), 0);
  send(client.get(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(read(client.get()).ends_with("yes"));
}

TEST(Files, TheLimitIsRaised) {
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const int most = server::raise_file_limit();
  EXPECT_GE(most, static_cast<int>(std::min<rlim_t>(limit.rlim_cur, 65536)));
  EXPECT_EQ(server::raise_file_limit(), most);
}

}  // namespace

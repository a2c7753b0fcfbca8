// SPDX-License-Identifier: MIT
// The HTTP side: addresses, who may come in, and the way from the queue to a conversation.
#include <gtest/gtest.h>
#include <libsoup/soup.h>

#include <algorithm>
#include <future>
#include <map>
#include <nlohmann/json.hpp>

#include "../../examples/app.h"
#include "helpers.h"
#include "http_server.h"
#include "reaper.h"

using server::HttpServer;
using server::ModelFacts;
using server::Options;

namespace {

using Json = nlohmann::json;
template <typename T>
using Object = std::unique_ptr<T, app::Deleter<g_object_unref>>;
using Headers = std::map<std::string, std::string>;

struct Answer {
  int status = 0;
  std::string body;
  Headers headers;
};

/// One end of a conversation's WebSocket; the other is the server under test, on the same main loop.
struct Client {
  Object<SoupWebsocketConnection> socket;
  std::vector<std::string> messages;
  bool closed = false, failed = false;

  static void on_message(SoupWebsocketConnection*, int, GBytes* bytes, gpointer user) {
    gsize size = 0;
    const auto* data = static_cast<const char*>(g_bytes_get_data(bytes, &size));
    static_cast<Client*>(user)->messages.emplace_back(data, size);
  }
  static void on_closed(SoupWebsocketConnection*, gpointer user) { static_cast<Client*>(user)->closed = true; }
  ~Client() {
    if (socket) g_signal_handlers_disconnect_by_data(socket.get(), this);
  }

  bool has(wire::Kind kind) const {
    return std::any_of(messages.begin(), messages.end(),
                       [&](const std::string& one) { return one[0] == static_cast<char>(kind); });
  }
  /// The last message of a kind, without its first byte.
  std::string last(wire::Kind kind) const {
    for (auto one = messages.rbegin(); one != messages.rend(); ++one) {
      if ((*one)[0] == static_cast<char>(kind)) return one->substr(1);
    }
    return "";
  }
};

class Http : public testing::Test {
 protected:
  void TearDown() override {
    clients.clear();
    http.reset();
    server::reaper::wait();
  }

  void start(int places = 0) {
    options.host = "127.0.0.1";
    options.port = 0;
    std::string problem;
    http = HttpServer::listen(options, &problem);
    ASSERT_TRUE(http) << problem;
    ModelFacts facts;
    facts.name = "fake";
    facts.defaults.temperature = 0.8;
    if (places > 0) http->ready(facts, places);
  }

  Answer ask(const std::string& path, const Headers& headers = {}, const char* method = "GET") {
    const Object<SoupMessage> message(soup_message_new(method, (http->address() + path).c_str()));
    for (const auto& [name, value] : headers)
      soup_message_headers_replace(soup_message_get_request_headers(message.get()), name.c_str(), value.c_str());
    GAsyncResult* raw = nullptr;
    soup_session_send_and_read_async(
        session.get(), message.get(), G_PRIORITY_DEFAULT, nullptr,
        [](GObject*, GAsyncResult* result, gpointer user) {
          *static_cast<GAsyncResult**>(user) = G_ASYNC_RESULT(g_object_ref(result));
        },
        &raw);
    test::run_until([&] { return raw != nullptr; });
    const Object<GAsyncResult> result(raw);
    Answer answer;
    if (GBytes* bytes = soup_session_send_and_read_finish(session.get(), result.get(), nullptr)) {
      gsize size = 0;
      const auto* data = static_cast<const char*>(g_bytes_get_data(bytes, &size));
      answer.body.assign(data ? data : "", size);
      g_bytes_unref(bytes);
    }
    answer.status = static_cast<int>(soup_message_get_status(message.get()));
    soup_message_headers_foreach(
        soup_message_get_response_headers(message.get()),
        [](const char* name, const char* value, gpointer user) { (*static_cast<Headers*>(user))[name] = value; },
        &answer.headers);
    return answer;
  }

  Client* talk(const std::string& query = "") {
    clients.push_back(std::make_unique<Client>());
    Client* client = clients.back().get();
    const Object<SoupMessage> message(soup_message_new("GET", (http->address() + "/api/chat" + query).c_str()));
    soup_session_websocket_connect_async(
        session.get(), message.get(), nullptr, nullptr, G_PRIORITY_DEFAULT, nullptr,
        [](GObject* source, GAsyncResult* result, gpointer user) {
          auto* self = static_cast<Client*>(user);
          self->socket.reset(soup_session_websocket_connect_finish(SOUP_SESSION(source), result, nullptr));
          self->failed = !self->socket;
          if (self->failed) return;
          g_signal_connect(self->socket.get(), "message", G_CALLBACK(Client::on_message), user);
          g_signal_connect(self->socket.get(), "closed", G_CALLBACK(Client::on_closed), user);
        },
        client);
    test::run_until([&] { return client->socket || client->failed; });
    return client;
  }

  static Headers upgrade(Headers more = {}) {
    more.insert({{"Upgrade", "websocket"},
                 {"Connection", "Upgrade"},
                 {"Sec-WebSocket-Version", "13"},
                 {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}});
    return more;
  }

  Options options;
  const Object<SoupSession> session{soup_session_new()};
  std::unique_ptr<HttpServer> http;
  std::vector<std::unique_ptr<Client>> clients;
};

TEST_F(Http, ServesThePage) {
  start();
  const Answer page = ask("/");
  EXPECT_EQ(page.status, 200);
  EXPECT_EQ(page.headers.at("Content-Type"), "text/html; charset=utf-8");
  EXPECT_EQ(page.headers.at("X-Content-Type-Options"), "nosniff");
  EXPECT_EQ(page.headers.at("Cache-Control"), "no-cache");
  EXPECT_NE(page.headers.at("Content-Security-Policy").find("script-src 'self'"), std::string::npos);
  EXPECT_NE(page.headers.at("Permissions-Policy").find("microphone=(self)"), std::string::npos);
  EXPECT_NE(page.body.find("<html"), std::string::npos);
  const Answer again = ask("/", {{"If-None-Match", page.headers.at("ETag")}});
  EXPECT_EQ(again.status, 304);
  EXPECT_EQ(again.body, "");
  const Answer head = ask("/", {}, "HEAD");
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.body, "");
  EXPECT_EQ(head.headers.at("Content-Length"), std::to_string(page.body.size()));
}

TEST_F(Http, WhatIsNotThere) {
  start();
  EXPECT_EQ(ask("/none.js").status, 404);
  EXPECT_EQ(ask("/api/none").status, 404);
  EXPECT_EQ(ask("/api/chat/more").status, 404);
  EXPECT_NE(ask("/%2e%2e/%2e%2e/etc/passwd").status, 200);
  const Answer posted = ask("/", {}, "POST");
  EXPECT_EQ(posted.status, 405);
  EXPECT_EQ(posted.headers.at("Allow"), "GET, HEAD");
}

TEST_F(Http, WithoutAPage) {
  options.page = "none";
  start();
  const Answer answer = ask("/");
  EXPECT_EQ(answer.status, 404);
  EXPECT_NE(answer.body.find("/api/chat"), std::string::npos);
}

TEST_F(Http, ConversationsAreWebSockets) {
  start(1);
  EXPECT_EQ(ask("/api/chat").status, 426);
  EXPECT_EQ(ask("/api/chat", {{"Upgrade", "websocket"}, {"Connection", "Upgrade"}}).status, 400);
}

TEST_F(Http, HealthFollowsTheServer) {
  start();
  EXPECT_EQ(ask("/health").status, 503);
  EXPECT_EQ(Json::parse(ask("/health").body)["status"], "loading");
  EXPECT_EQ(ask("/api/chat", upgrade()).status, 503);
  http->ready({}, 3);
  const Answer ready = ask("/health");
  EXPECT_EQ(ready.status, 200);
  EXPECT_EQ(Json::parse(ready.body)["sessions"]["places"], 3);
  bool stopped = false;
  http->stop(10, [&] { stopped = true; });
  EXPECT_TRUE(stopped);  // nobody talks
  EXPECT_EQ(Json::parse(ask("/health").body)["status"], "stopping");
  EXPECT_EQ(ask("/api/chat", upgrade()).status, 503);
}

TEST_F(Http, TokensGuardAllButThePageAndHealth) {
  options.tokens = {"secret"};
  start(1);
  EXPECT_EQ(ask("/").status, 200);
  EXPECT_EQ(ask("/health").status, 200);
  for (const char* path : {"/api/info", "/metrics"}) {
    const Answer refused = ask(path);
    EXPECT_EQ(refused.status, 401) << path;
    EXPECT_EQ(refused.headers.at("WWW-Authenticate"), "Bearer");
    EXPECT_EQ(ask(path, {{"Authorization", "Bearer secret"}}).status, 200) << path;
    EXPECT_EQ(ask(std::string(path) + "?token=secret").status, 200) << path;
  }
  EXPECT_EQ(ask("/api/chat", upgrade()).status, 401);
  EXPECT_EQ(ask("/api/chat?auth_id=wrong", upgrade()).status, 401);
  EXPECT_TRUE(talk("?auth_id=secret")->socket);
  EXPECT_NE(ask("/metrics?token=secret").body.find("moshi_refusals_total{reason=\"token\"} 4\n"), std::string::npos);
}

TEST_F(Http, PagesOfOtherOriginsMayNotTalk) {
  start(1);
  const Answer refused = ask("/api/chat", upgrade({{"Origin", "https://evil.example"}}));
  EXPECT_EQ(refused.status, 403);
  EXPECT_EQ(refused.headers.at("Connection"), "close");
  EXPECT_NE(ask("/metrics").body.find("moshi_refusals_total{reason=\"origin\"} 1\n"), std::string::npos);
}

TEST_F(Http, InfoTellsTheModelAndTheDefaults) {
  options.sampling.text_temperature = 0.3;
  start(2);
  const Json info = Json::parse(ask("/api/info").body);
  EXPECT_EQ(info["model"]["name"], "fake");
  EXPECT_EQ(info["defaults"]["text_temperature"], 0.3);
  EXPECT_EQ(info["defaults"]["audio_temperature"], 0.8);
  EXPECT_TRUE(info["defaults"]["text_topk"].is_null());
  EXPECT_EQ(info["sessions"]["places"], 2);
  EXPECT_EQ(info["limits"]["max_lag_ms"], 2000);
}

TEST_F(Http, TheQueueMovesUp) {
  options.queue = 2;
  start(1);
  Client* first = talk();
  test::run_until([&] { return first->has(wire::Kind::kHandshake); });
  Client* second = talk();
  Client* third = talk();
  const auto queue = [](Client* client) {
    const std::string text = client->last(wire::Kind::kMetadata);
    return text.empty() ? Json() : Json::parse(text)["queue"];
  };
  test::run_until([&] { return queue(third)["place"] == 2 && queue(second)["length"] == 2; });
  EXPECT_EQ(ask("/health").status, 503);
  Client* fourth = talk();
  test::run_until([&] { return fourth->closed; });
  EXPECT_NE(fourth->last(wire::Kind::kError), "");
  EXPECT_FALSE(second->has(wire::Kind::kHandshake));
  soup_websocket_connection_close(first->socket.get(), 1000, nullptr);
  test::run_until([&] { return second->has(wire::Kind::kHandshake) && queue(third)["place"] == 1; });
  EXPECT_FALSE(third->has(wire::Kind::kHandshake));
  EXPECT_EQ(ask("/health").status, 200);
  const std::string metrics = ask("/metrics").body;
  for (const char* line : {"moshi_sessions_active 1\n", "moshi_sessions_queued 1\n", "moshi_sessions_capacity 1\n",
                           "moshi_connections_total 4\n", "moshi_refusals_total{reason=\"full\"} 1\n",
                           "moshi_session_ends_total{reason=\"client\"} 1\n"})
    EXPECT_NE(metrics.find(line), std::string::npos) << line << metrics;
}

TEST_F(Http, AWrongParameterIsAnError) {
  start(1);
  Client* client = talk("?text_temperature=hot");
  test::run_until([&] { return client->closed; });
  EXPECT_NE(client->last(wire::Kind::kError).find("text_temperature"), std::string::npos);
  EXPECT_EQ(soup_websocket_connection_get_close_code(client->socket.get()), 1008);
  EXPECT_EQ(Json::parse(ask("/health").body)["sessions"]["talking"], 0);
}

TEST_F(Http, StoppingGivesTimeToWhoTalksAndNoneToWhoWaits) {
  start(1);
  Client* talking = talk();
  test::run_until([&] { return talking->has(wire::Kind::kHandshake); });
  Client* waiting = talk();
  bool stopped = false;
  http->stop(100, [&] { stopped = true; });
  test::run_until([&] { return waiting->closed; });
  EXPECT_EQ(soup_websocket_connection_get_close_code(waiting->socket.get()), 1001);
  EXPECT_FALSE(talking->closed);
  http->stop(100, [&] { stopped = true; });  // the second signal
  test::run_until([&] { return stopped; });
  test::run_until([&] { return talking->closed; });
  EXPECT_EQ(soup_websocket_connection_get_close_code(talking->socket.get()), 1001);
}

// Whoever has ended holds a place until its pipeline has stopped.
TEST_F(Http, TheServerGoesBeforeAPipelineHasStopped) {
  start(1);
  Client* client = talk();
  test::run_until([&] { return client->has(wire::Kind::kHandshake); });
  std::promise<void> stopped;
  server::reaper::run([&] { stopped.get_future().wait(); });
  soup_websocket_connection_close(client->socket.get(), 1000, nullptr);
  test::run_until([&] { return Json::parse(ask("/health").body)["sessions"]["talking"] == 0; });
  talk();
  EXPECT_EQ(Json::parse(ask("/health").body)["sessions"]["waiting"], 1);
  http.reset();
  stopped.set_value();
  server::reaper::wait();
  test::run_for(0.05);
}

TEST_F(Http, TheLastOneOutEndsTheStop) {
  start(1);
  Client* client = talk();
  test::run_until([&] { return client->has(wire::Kind::kHandshake); });
  bool stopped = false;
  http->stop(100, [&] { stopped = true; });
  soup_websocket_connection_close(client->socket.get(), 1000, nullptr);
  test::run_until([&] { return stopped; });
}

}  // namespace

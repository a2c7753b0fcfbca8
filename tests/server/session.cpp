// SPDX-License-Identifier: MIT
// Sessions over real sockets: a SoupServer and its clients in one process and one main loop.
#include "session.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "guarded_stream.h"
#include "helpers.h"
#include "metrics.h"
#include "reaper.h"
#include "sockets.h"

namespace {

using nlohmann::json;
using server::Session;
using test::Client;
using test::RawClient;
using test::run_until;
using wire::Kind;

class SessionTest : public testing::Test {
 protected:
  void SetUp() override {
    facts_.lm_file = "fake.safetensors";
    facts_.defaults.temperature = 0.8;
    facts_.defaults.text_temperature = 0.7;
    facts_.defaults.top_k = 250;
    facts_.defaults.text_top_k = 25;
    server_ = soup_server_new(nullptr, nullptr);
    soup_server_add_handler(server_, "/api/chat", on_request, this, nullptr);
    ASSERT_TRUE(soup_server_listen_local(server_, 0, SOUP_SERVER_LISTEN_IPV4_ONLY, nullptr));
    GSList* addresses = soup_server_get_uris(server_);
    port_ = static_cast<guint>(g_uri_get_port(static_cast<GUri*>(addresses->data)));
    g_slist_free_full(addresses, reinterpret_cast<GDestroyNotify>(g_uri_unref));
  }
  void TearDown() override {
    client_.reset();
    session_.reset();
    soup_server_disconnect(server_);
    test::run_for(0.05);
    g_object_unref(server_);
    server::reaper::wait();
    core_.settle();
    EXPECT_EQ(core_.stats().sessions, 0);
    EXPECT_EQ(core_.stats().misuse, 0);
  }

  static void on_request(SoupServer*, SoupServerMessage* message, const char*, GHashTable*, gpointer user) {
    server::accept_web_socket(message, [user](SoupWebsocketConnection* socket) { on_socket(socket, user); });
  }
  static void on_socket(SoupWebsocketConnection* socket, gpointer user) {
    auto* self = static_cast<SessionTest*>(user);
    soup_websocket_connection_set_max_incoming_payload_size(socket, 64 * 1024);
    self->session_ = Session::make(socket, {"1", "here"}, self->settings_, self->limits_, &self->metrics_,
                                   [self](Session*, const std::string& reason) {
                                     self->reason_ = reason;
                                     ++self->ends_;
                                     if (!self->kept_) self->session_.reset();
                                   });
  }

  Client* connect() {
    client_ = std::make_unique<Client>(port_);
    run_until([this] { return session_ != nullptr; });
    return client_.get();
  }
  Client* begin() {
    Client* client = connect();
    session_->begin({}, facts_);
    run_until([client] { return client->count(Kind::kHandshake) == 1; });
    return client;
  }
  bool ended() {
    return run_until([this] { return !reason_.empty(); });
  }

  test::FakeCore core_;
  SoupServer* server_ = nullptr;
  guint port_ = 0;
  server::Settings settings_;
  server::SessionLimits limits_;
  server::Metrics metrics_;
  server::ModelFacts facts_;
  std::string reason_;
  int ends_ = 0;
  bool kept_ = false;  // beyond its end
  std::unique_ptr<Session> session_;
  std::unique_ptr<Client> client_;
};

TEST_F(SessionTest, NoneBeginsOnASocketThatIsBeingClosed) {
  connect();
  session_->end(wire::Close::kPolicy, "Too many messages came.", "rate");
  session_->begin({}, facts_);
  EXPECT_FALSE(session_->talking());
  ASSERT_TRUE(ended());
  EXPECT_EQ(reason_, "rate");
  EXPECT_EQ(client_->count(Kind::kHandshake), 0);
}

TEST_F(SessionTest, AConversation) {
  limits_.max_lag_seconds = 60;
  settings_.sampling.seed = 1;  // not all seeds say something within so few frames
  Client* client = begin();
  EXPECT_TRUE(session_->talking());
  client->say(11);
  ASSERT_TRUE(run_until([&] { return client->frames() == 10 && session_->stats().frames_out == 10; }));
  EXPECT_EQ(client->received[0].kind, Kind::kHandshake);
  EXPECT_EQ(client->received[0].payload, "");
  EXPECT_EQ(client->count(Kind::kAudio), 10) << "two packets in a message";
  EXPECT_FALSE(client->all(Kind::kText).empty());
  EXPECT_EQ(client->count(Kind::kMetadata), 0) << "nobody asked";
  EXPECT_GT(session_->frame_delay(0.5), 0);
  soup_websocket_connection_close(client->socket_, 1000, nullptr);
  ASSERT_TRUE(ended());
  EXPECT_EQ(reason_, "client");
  EXPECT_EQ(metrics_.frames_in, 10u);
  EXPECT_EQ(metrics_.frames_out, 10u);
  EXPECT_GT(metrics_.bytes_in, 1000u);
  EXPECT_GT(metrics_.bytes_out, 1000u);
  EXPECT_EQ(metrics_.bad_messages + metrics_.bad_packets + metrics_.dropped_output, 0u);
}

TEST_F(SessionTest, WhatCameBeforeIsNotHeard) {
  limits_.max_lag_seconds = 60;
  Client* client = connect();
  client->say(10);  // with the stream's head
  session_->wait(2, 5);
  ASSERT_TRUE(run_until([&] { return client->count(Kind::kMetadata) == 1; }));
  EXPECT_EQ(client->metadata("queue")[0], json::parse(R"({"queue": {"place": 2, "length": 5}})"));
  EXPECT_FALSE(session_->talking());
  ASSERT_TRUE(run_until([&] { return metrics_.bytes_in > 0; }));
  test::run_for(0.1);
  session_->begin({}, facts_);
  ASSERT_TRUE(run_until([&] { return client->count(Kind::kHandshake) == 1; }));
  client->say(6);
  ASSERT_TRUE(run_until([&] { return client->frames() >= 5; }));
  test::run_for(0.1);
  EXPECT_EQ(client->frames(), 5);
}

TEST_F(SessionTest, MetadataForWhoAsks) {
  settings_.metadata = settings_.stats = true;
  settings_.sampling.temperature = 0.5;
  settings_.sampling.seed = 17;
  settings_.ignored = {"pad_mult"};
  Client* client = begin();
  ASSERT_TRUE(run_until([&] { return client->metadata("seed").size() == 1; }));
  const json begun = client->metadata("seed")[0];
  for (const char* name : {"text_temperature", "text_topk", "audio_temperature", "audio_topk", "pad_mult",
                           "repetition_penalty_context", "repetition_penalty"})
    EXPECT_TRUE(begun[name].is_number()) << name;
  EXPECT_EQ(begun["audio_temperature"], 0.5);
  EXPECT_EQ(begun["text_topk"], 25);
  EXPECT_EQ(begun["lm_model_file"], "fake.safetensors");
  EXPECT_EQ(begun["seed"], 17);
  EXPECT_EQ(begun["ignored"], json::array({"pad_mult"}));
  for (const char* name : {"build_timestamp", "build_date", "git_branch", "git_timestamp", "git_date", "git_hash",
                           "git_describe", "rustc_host_triple", "rustc_version", "cargo_target_triple"})
    EXPECT_TRUE(begun["build_info"][name].is_string()) << name;
  client->say(3);
  ASSERT_TRUE(run_until([&] {
    const auto stats = client->metadata("stats");
    return !stats.empty() && stats.back()["stats"]["frames_out"] == 2;
  }));
  EXPECT_EQ(client->received[0].kind, Kind::kHandshake);
}

TEST_F(SessionTest, AnotherConversationOnTheSameSocket) {
  limits_.max_lag_seconds = 60;
  settings_.metadata = true;
  Client* client = begin();
  client->say(6);
  ASSERT_TRUE(run_until([&] { return client->frames() == 5; }));
  const uint8_t restart = 3, pause = 2;
  client->send(Kind::kControl, {&pause, 1});
  client->send(Kind::kControl, {&restart, 1});
  client->say(6);
  ASSERT_TRUE(run_until([&] { return client->frames() == 10; }));
  EXPECT_EQ(client->metadata("seed").size(), 2u);
  EXPECT_NE(client->metadata("seed")[0]["seed"], client->metadata("seed")[1]["seed"]);
}

TEST_F(SessionTest, Samples) {
  settings_.encoding = server::Encoding::kPcm;
  limits_.max_lag_seconds = 60;
  Client* client = begin();
  const auto pcm = test::tone(6 * wire::kFrameSamples);
  const wire::View bytes = test::bytes_of(pcm);
  for (size_t at = 0; at < bytes.size(); at += 777)  // cuts samples in two
    client->send(Kind::kAudio, bytes.subspan(at, std::min<size_t>(777, bytes.size() - at)));
  ASSERT_TRUE(run_until([&] { return client->count(Kind::kAudio) == 5; }));
  EXPECT_EQ(client->all(Kind::kAudio).size(), 5u * wire::kFrameSamples * sizeof(int16_t));
}

TEST_F(SessionTest, WhatIsNotOfTheProtocolIsCounted) {
  limits_.max_lag_seconds = 60;
  Client* client = begin();
  soup_websocket_connection_send_text(client->socket_, "hello");
  soup_websocket_connection_send_binary(client->socket_, "", 0);
  for (const int kind : {7, 8, 255}) client->send(static_cast<Kind>(kind));
  for (const Kind kind : {Kind::kHandshake, Kind::kText, Kind::kControl, Kind::kMetadata, Kind::kError, Kind::kPing})
    client->send(kind);
  client->say(3);
  ASSERT_TRUE(run_until([&] { return client->frames() == 2; }));
  EXPECT_EQ(metrics_.bad_messages, 5u);
}

TEST_F(SessionTest, WhatIsNotOggOpus) {
  Client* client = begin();
  const wire::Bytes junk(40000, 'x');
  client->send(Kind::kAudio, junk);
  client->send(Kind::kAudio, junk);
  ASSERT_TRUE(ended());
  EXPECT_EQ(reason_, "not-opus");
  ASSERT_TRUE(run_until([&] { return client->code != 0; }));
  EXPECT_EQ(client->code, 1003);
  EXPECT_NE(client->all(Kind::kError), "");
}

TEST_F(SessionTest, TooMuch) {
  limits_.messages_per_second = 2;
  Client* client = begin();
  for (int i = 0; i < 22; ++i) client->send(Kind::kPing);
  ASSERT_TRUE(ended());
  EXPECT_EQ(reason_, "rate");
  ASSERT_TRUE(run_until([&] { return client->code != 0; }));
  EXPECT_EQ(client->code, 1008);
}

TEST_F(SessionTest, TooLong) {
  Client* client = begin();
  client->send(Kind::kText, wire::Bytes(64 * 1024));
  ASSERT_TRUE(ended());
  EXPECT_EQ(reason_, "too-big");
  ASSERT_TRUE(run_until([&] { return client->code != 0; }));
  EXPECT_EQ(client->code, 1009);
  EXPECT_EQ(client->count(Kind::kError), 0);
}

TEST_F(SessionTest, NothingHeard) {
  limits_.idle_seconds = 1;
  Client* client = begin();
  ASSERT_TRUE(ended());
  EXPECT_EQ(reason_, "idle");
  ASSERT_TRUE(run_until([&] { return client->code != 0; }));
  EXPECT_EQ(client->code, 1008);
}

TEST_F(SessionTest, WhoWaitsNeedNotTalk) {
  limits_.idle_seconds = 1.5;
  connect();
  test::run_for(3);
  EXPECT_EQ(reason_, "");
}

TEST_F(SessionTest, SignsOfLife) {
  Client* client = begin();
  ASSERT_TRUE(run_until([&] { return client->count(Kind::kPing) == 1; }));
}

TEST_F(SessionTest, StepsAreUsedUp) {
  settings_.most_steps = 3;
  limits_.max_lag_seconds = 60;
  Client* client = begin();
  client->say(11);
  ASSERT_TRUE(ended());
  EXPECT_EQ(reason_, "limit");
  ASSERT_TRUE(run_until([&] { return client->code != 0; }));
  EXPECT_EQ(client->code, 1000);
  EXPECT_EQ(client->frames(), 3);
  EXPECT_EQ(client->received.back().kind, Kind::kError);
}

TEST_F(SessionTest, TimeIsUsedUp) {
  limits_.session_seconds = 0.5;
  begin();
  ASSERT_TRUE(ended());
  EXPECT_EQ(reason_, "limit");
}

TEST_F(SessionTest, AFailureEndsIt) {
  core_.set("FAIL_FRAME", "2");
  Client* client = begin();
  client->say(9);
  ASSERT_TRUE(ended());
  EXPECT_EQ(reason_, "failed");
  ASSERT_TRUE(run_until([&] { return client->code != 0; }));
  EXPECT_EQ(client->code, 1011);
  EXPECT_EQ(client->count(Kind::kError), 1);
}

TEST_F(SessionTest, Refused) {
  RawClient client(port_);
  ASSERT_TRUE(run_until([this] { return session_ != nullptr; }));
  session_->end(wire::Close::kTryLater, "All places are taken.", "full");
  session_->end(wire::Close::kNormal, "Twice.", "twice");
  // libsoup's clients do not know this code, either.
  const std::string code("\x88\x02\x03\xf5", 4), sentence = "All places are taken.";
  const std::string bytes = client.read_until(code);
  EXPECT_EQ(bytes.substr(bytes.find("\r\n\r\n") + 4), "\x82\x16\x05" + sentence + code);
  client.write(std::string("\x88\x82\0\0\0\0\x03\xf5", 8));
  EXPECT_EQ(client.read_until("nothing"), "") << "one code is enough";
  client.hang_up();
  ASSERT_TRUE(ended());
  EXPECT_EQ(reason_, "full");
}

TEST_F(SessionTest, CutInTheMiddleOfAMessage) {
  RawClient client(port_);
  ASSERT_TRUE(run_until([this] { return session_ != nullptr; }));
  session_->begin({}, facts_);
  client.write(std::string("\x82\xfe\x10\x00", 4) + std::string(100, '\0'));
  test::run_for(0.05);
  client.hang_up();
  ASSERT_TRUE(ended());
  EXPECT_EQ(reason_, "vanished");
}

// libsoup would keep all of it, and tell nobody.
TEST_F(SessionTest, AMessageThatNeverEnds) {
  limits_.bytes_per_second = 0;
  RawClient client(port_);
  ASSERT_TRUE(run_until([this] { return session_ != nullptr; }));
  client.write(std::string("\x02\x80\0\0\0\0", 6));
  const std::string fragment = std::string("\x00\xfe\x75\x30\0\0\0\0", 8) + std::string(30000, 'x');
  int fragments = 0;
  while (reason_.empty() && fragments < 200) {
    client.write(fragment);
    ++fragments;
    while (g_main_context_iteration(nullptr, FALSE)) continue;
  }
  ASSERT_TRUE(ended());
  EXPECT_EQ(reason_, "too-big");
  EXPECT_LT(fragments, 100) << "of 30 kB, where a message may have 64 kB";
}

TEST_F(SessionTest, ControlFramesCount) {
  limits_.bytes_per_second = 1000;
  RawClient client(port_);
  ASSERT_TRUE(run_until([this] { return session_ != nullptr; }));
  const std::string ping = std::string("\x89\xfd\0\0\0\0", 6) + std::string(125, 'x');
  for (int i = 0; i < 200; ++i) client.write(ping);
  EXPECT_TRUE(client.read_until("\x88\x02\x03\xf0").ends_with("\x03\xf0"));
  client.hang_up();
  ASSERT_TRUE(ended());
  EXPECT_EQ(reason_, "rate");
}

TEST_F(SessionTest, APeerThatNeverAnswersTheEnd) {
  RawClient client(port_);
  ASSERT_TRUE(run_until([this] { return session_ != nullptr; }));
  session_->end(wire::Close::kGoingAway, "Bye.", "stop");
  ASSERT_TRUE(ended());
  EXPECT_EQ(reason_, "stop");
}

// Its time-out was for the peer's answer, which has come.
TEST_F(SessionTest, TheEndIsToldOnce) {
  kept_ = true;
  begin();
  session_->end(wire::Close::kGoingAway, "Bye.", "stop");
  ASSERT_TRUE(ended());
  test::run_for(4.5);
  EXPECT_EQ(ends_, 1);
}

// Samples are many bytes: what a reader does not take is dropped, and the process does not grow.
TEST_F(SessionTest, AReaderThatDoesNotRead) {
  settings_.encoding = server::Encoding::kPcm;
  limits_.unsent_bytes = 20000;
  limits_.stuck_seconds = 2;
  limits_.max_lag_seconds = 3600;
  limits_.bytes_per_second = 0;
  limits_.messages_per_second = 0;
  RawClient client(port_);
  ASSERT_TRUE(run_until([this] { return session_ != nullptr; }));
  session_->begin({}, facts_);
  const std::string frame = "\x01" + std::string(wire::kFrameSamples * sizeof(int16_t), '\0');
  // It says something whether or not something else happens.
  const guint timer = g_timeout_add(
      1, [](gpointer) -> gboolean { return G_SOURCE_CONTINUE; }, nullptr);
  const bool over = run_until([&] {
    if (client.has_room()) client.send(frame);
    return metrics_.dropped_output > 100 || !reason_.empty();
  });
  g_source_remove(timer);
  EXPECT_TRUE(over);
  ASSERT_TRUE(ended());
  EXPECT_GT(metrics_.dropped_output, 0u);
  EXPECT_EQ(reason_, "slow");
}

// Words are kept, but not for ever: what is said to a client at its own request would fill the memory.
TEST_F(SessionTest, WordsForAReaderThatDoesNotRead) {
  limits_.unsent_bytes = 20000;
  limits_.stuck_seconds = 3600;
  RawClient client(port_);
  ASSERT_TRUE(run_until([this] { return session_ != nullptr; }));
  for (int said = 0; reason_.empty() && said < 1000000; ++said) {
    session_->wait(1, 1);
    if (said % 100 == 0) g_main_context_iteration(nullptr, FALSE);
  }
  EXPECT_EQ(reason_, "slow");
}

TEST_F(SessionTest, DestroyedWhileItTalks) {
  Client* client = begin();
  client->say(5);
  test::run_for(0.01);
  session_.reset();
  ASSERT_TRUE(run_until([&] {
    return client->code != 0 || soup_websocket_connection_get_state(client->socket_) == SOUP_WEBSOCKET_STATE_CLOSED;
  }));
}

}  // namespace

// SPDX-License-Identifier: MIT
// Clients of a session, in the same process and main loop.
#pragma once

#include <gio/gio.h>
#include <libsoup/soup.h>
#include <sys/socket.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "helpers.h"

namespace test {

using nlohmann::json;
using wire::Kind;

struct Received {
  Kind kind;
  std::string payload;
};

/// A client that keeps what it gets.
class Client {
 public:
  explicit Client(guint port) : session_(soup_session_new()) {
    SoupMessage* message = soup_message_new("GET", ("ws://127.0.0.1:" + std::to_string(port) + "/api/chat").c_str());
    soup_session_websocket_connect_async(session_, message, nullptr, nullptr, G_PRIORITY_DEFAULT, nullptr, on_connected,
                                         this);
    g_object_unref(message);
    run_until([this] { return socket_ != nullptr; });
  }
  ~Client() {
    if (socket_) g_signal_handlers_disconnect_by_data(socket_, this);
    g_clear_object(&socket_);
    g_object_unref(session_);
  }

  void send(Kind kind, wire::View payload = {}) {
    const wire::Bytes bytes = wire::make(kind, payload);
    soup_websocket_connection_send_binary(socket_, bytes.data(), bytes.size());
  }
  /// As Ogg Opus.
  void say(int frames) {
    for (int packet = 0; packet < 2 * frames; ++packet) {
      wire::Bytes bytes;
      writer_.append(tone_.next(), tone_.samples(), &bytes);
      send(Kind::kAudio, bytes);
    }
  }

  int count(Kind kind) const {
    return static_cast<int>(
        std::count_if(received.begin(), received.end(), [kind](const Received& one) { return one.kind == kind; }));
  }
  std::string all(Kind kind) const {
    std::string text;
    for (const Received& one : received) text += one.kind == kind ? one.payload : "";
    return text;
  }
  std::vector<json> metadata(const std::string& key) const {
    std::vector<json> found;
    for (const Received& one : received) {
      if (one.kind != Kind::kMetadata) continue;
      json object = json::parse(one.payload);
      if (object.contains(key)) found.push_back(object);
    }
    return found;
  }
  /// Frames of 80 ms that have come.
  int frames() {
    int samples = 0;
    wire::OggOpusReader reader;
    const std::string bytes = all(Kind::kAudio);
    reader.append({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()},
                  [&samples](wire::View, int packet) { samples += packet; });
    EXPECT_EQ(reader.bad(), 0u);
    return samples / wire::kFrameSamples;
  }

  SoupWebsocketConnection* socket_ = nullptr;
  std::vector<Received> received;
  int code = 0;  // of the end

 private:
  static void on_connected(GObject* source, GAsyncResult* result, gpointer user) {
    auto* self = static_cast<Client*>(user);
    self->socket_ = soup_session_websocket_connect_finish(SOUP_SESSION(source), result, nullptr);
    g_signal_connect(self->socket_, "message", G_CALLBACK(on_message), self);
    g_signal_connect(self->socket_, "closed", G_CALLBACK(on_closed), self);
  }
  static void on_message(SoupWebsocketConnection*, gint, GBytes* bytes, gpointer user) {
    gsize size = 0;
    const auto* data = static_cast<const char*>(g_bytes_get_data(bytes, &size));
    static_cast<Client*>(user)->received.push_back({static_cast<Kind>(data[0]), std::string(data + 1, size - 1)});
  }
  static void on_closed(SoupWebsocketConnection* socket, gpointer user) {
    static_cast<Client*>(user)->code = soup_websocket_connection_get_close_code(socket);
  }

  SoupSession* session_;
  wire::OggOpusWriter writer_;
  test::OpusTone tone_;
};

/// Speaks HTTP and then nothing, or what it is told.
class RawClient {
 public:
  explicit RawClient(guint port) {
    GSocket* socket = g_socket_new(G_SOCKET_FAMILY_IPV4, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, nullptr);
    // Before it connects: a window that shrinks later lies before what the server has sent, the kernel drops the
    // server's segments with the acknowledgments they carry, and this side repeats its own for ever more rarely.
    g_socket_set_option(socket, SOL_SOCKET, SO_RCVBUF, 4096, nullptr);
    GSocketAddress* address = g_inet_socket_address_new_from_string("127.0.0.1", port);
    g_socket_connect(socket, address, nullptr, nullptr);
    g_object_unref(address);
    connection_ = g_socket_connection_factory_create_connection(socket);
    g_object_unref(socket);
    write(
        "GET /api/chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n");
  }
  ~RawClient() { hang_up(); }
  void write(const std::string& bytes) {
    g_output_stream_write_all(g_io_stream_get_output_stream(G_IO_STREAM(connection_)), bytes.data(), bytes.size(),
                              nullptr, nullptr, nullptr);
  }
  /// A frame can be written without waiting for the other side, which is in the same thread.
  bool has_room() const {
    return g_socket_condition_check(g_socket_connection_get_socket(connection_), G_IO_OUT) == G_IO_OUT;
  }
  /// A frame with a mask of zeros.
  void send(const std::string& payload) {
    std::string header = "\x82";
    header += static_cast<char>(0x80 | 126);
    header += static_cast<char>(payload.size() >> 8);
    header += static_cast<char>(payload.size() & 0xff);
    write(header + std::string(4, '\0') + payload);
  }
  /// All that comes until such bytes or the end.
  std::string read_until(const std::string& last) {
    std::string bytes;
    char some[4096];
    while (bytes.find(last) == std::string::npos) {
      GError* error = nullptr;
      const gssize count = g_socket_receive_with_blocking(g_socket_connection_get_socket(connection_), some,
                                                          sizeof some, FALSE, nullptr, &error);
      g_clear_error(&error);
      if (count == 0) break;
      if (count > 0) bytes.append(some, static_cast<size_t>(count));
      if (count < 0) test::run_for(0.01);
    }
    return bytes;
  }
  void hang_up() {
    if (connection_) g_io_stream_close(G_IO_STREAM(connection_), nullptr, nullptr);
    g_clear_object(&connection_);
  }

 private:
  GSocketConnection* connection_ = nullptr;
};

}  // namespace test

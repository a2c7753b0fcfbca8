// SPDX-License-Identifier: MIT
#include "web_socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <algorithm>
#include <utility>

#include "../app.h"

namespace server {
namespace {

constexpr guint kCloseSeconds = 3;
/// Messages that are too long are taken in up to that many times the limit, so that the code can say so: beyond its own
/// limit, libsoup hangs up without any.
constexpr guint64 kOversize = 16;

/// Below TLS and whatever else is around it. Null: there is none.
GSocket* socket_of(SoupWebsocketConnection* socket) {
  GIOStream* stream = soup_websocket_connection_get_io_stream(socket);
  while (!G_IS_SOCKET_CONNECTION(stream)) {
    GObjectClass* klass = G_OBJECT_GET_CLASS(stream);
    const char* name = G_IS_TLS_CONNECTION(stream) ? "base-io-stream" : "base-iostream";
    GIOStream* base = nullptr;
    if (g_object_class_find_property(klass, name)) g_object_get(stream, name, &base, nullptr);
    if (!base) return nullptr;
    g_object_unref(base);  // the stream around it holds it
    stream = base;
  }
  return g_socket_connection_get_socket(G_SOCKET_CONNECTION(stream));
}

}  // namespace

WebSocket::WebSocket(SoupWebsocketConnection* socket, size_t unsent_bytes, Events events)
    : socket_(SOUP_WEBSOCKET_CONNECTION(g_object_ref(socket))),
      stream_(G_POLLABLE_OUTPUT_STREAM(g_io_stream_get_output_stream(soup_websocket_connection_get_io_stream(socket)))),
      guard_(soup_websocket_connection_get_io_stream(socket)),
      outbox_(unsent_bytes),
      events_(std::move(events)),
      most_bytes_(soup_websocket_connection_get_max_incoming_payload_size(socket)),
      last_sent_(now()),
      last_progress_(last_sent_) {
  soup_websocket_connection_set_max_incoming_payload_size(socket_, most_bytes_ * kOversize);
  guard_.set_most_unclaimed(most_bytes_ * kOversize);
  // A peer waits for each packet: none is held back for a larger segment.
  if (GSocket* peer = socket_of(socket_)) g_socket_set_option(peer, IPPROTO_TCP, TCP_NODELAY, TRUE, nullptr);
  g_signal_connect(socket_, "message", G_CALLBACK(on_message), this);
  g_signal_connect(socket_, "error", G_CALLBACK(on_error), this);
  g_signal_connect(socket_, "pong", G_CALLBACK(on_pong), this);
  g_signal_connect(socket_, "closed", G_CALLBACK(on_closed), this);
}

WebSocket::~WebSocket() {
  stop_waiting();
  if (time_out_ != 0) g_source_remove(time_out_);
  g_signal_handlers_disconnect_by_data(socket_, this);
  // libsoup does not hold the connection while it handles what has come, and this may be called from there.
  g_idle_add_full(
      G_PRIORITY_DEFAULT, [](gpointer) -> gboolean { return G_SOURCE_REMOVE; }, socket_, g_object_unref);
}

void WebSocket::send(wire::Bytes message, Outbox::Keep keep) {
  if (closing_) return;
  if (outbox_.empty()) last_progress_ = now();
  outbox_.push(std::move(message), keep);
  last_sent_ = now();
  pump();
  if (outbox_.full()) give_up("slow");
}

void WebSocket::close(wire::Close code) {
  if (closing_) return;
  closing_ = true;
  code_ = code;
  time_out_ = g_timeout_add_seconds(kCloseSeconds, on_time_out, this);
  pump();
}

void WebSocket::ask_for_pongs(int seconds) {
  soup_websocket_connection_set_keepalive_interval(socket_, static_cast<guint>(std::max(seconds, 0)));
}

// libsoup takes any amount and keeps what the peer does not read: it gets one message more only when the last is gone.
void WebSocket::pump() {
  auto open = [this] { return soup_websocket_connection_get_state(socket_) == SOUP_WEBSOCKET_STATE_OPEN; };
  while (open() && !outbox_.empty() && g_pollable_output_stream_is_writable(stream_)) {
    const wire::Bytes message = outbox_.pop();
    soup_websocket_connection_send_binary(socket_, message.data(), message.size());
    sent_bytes_ += message.size();
    last_progress_ = now();
  }
  if (!open()) {
    stop_waiting();
  } else if (outbox_.empty()) {
    stop_waiting();
    if (closing_ && !std::exchange(code_sent_, true)) send_code();
  } else if (!writable_) {
    writable_ = g_pollable_output_stream_create_source(stream_, nullptr);
    g_source_set_callback(writable_, G_SOURCE_FUNC(on_writable), this, nullptr);
    g_source_attach(writable_, nullptr);
  }
}

// libsoup says 1002 instead of a code that it does not know, although 1013 is a registered one. What it would say to
// the peer's answer must not go out, either.
void WebSocket::send_code() {
  const auto code = static_cast<uint16_t>(code_);
  if (code_ != wire::Close::kTryLater || !write_code(code))
    return soup_websocket_connection_close(socket_, code, nullptr);
  guard_.drain();
  if (GSocket* peer = socket_of(socket_)) g_socket_shutdown(peer, FALSE, TRUE, nullptr);
}

bool WebSocket::write_code(uint16_t code) {
  const uint8_t frame[] = {0x88, sizeof code, static_cast<uint8_t>(code >> 8), static_cast<uint8_t>(code & 0xff)};
  return g_pollable_output_stream_write_nonblocking(stream_, frame, sizeof frame, nullptr, nullptr) == sizeof frame;
}

void WebSocket::stop_waiting() {
  if (!writable_) return;
  g_source_destroy(writable_);
  g_source_unref(std::exchange(writable_, nullptr));
}

gboolean WebSocket::on_writable(GObject*, gpointer self) {
  static_cast<WebSocket*>(self)->pump();
  return G_SOURCE_CONTINUE;
}

gboolean WebSocket::on_time_out(gpointer user) {
  auto* self = static_cast<WebSocket*>(user);
  self->time_out_ = 0;
  self->tell_closed(self->fault_.empty() ? "closed" : self->fault_);
  return G_SOURCE_REMOVE;
}

void WebSocket::give_up(std::string reason) {
  if (closing_) return;
  closing_ = true;
  fault_ = std::move(reason);
  stop_waiting();
  time_out_ = g_idle_add(on_time_out, this);
}

void WebSocket::on_message(SoupWebsocketConnection*, gint type, GBytes* bytes, gpointer user) {
  auto* self = static_cast<WebSocket*>(user);
  self->guard_.note_message();
  if (self->closing_) return;
  gsize size = 0;
  const auto* data = static_cast<const uint8_t*>(g_bytes_get_data(bytes, &size));
  if (self->most_bytes_ > 0 && size > self->most_bytes_) {
    self->fault_ = "too-big";
    self->close(wire::Close::kTooBig);
  } else if (type == SOUP_WEBSOCKET_DATA_BINARY) {
    self->events_.message({data, size});
  } else {
    self->events_.other();
  }
}

// libsoup hangs up without a code when a message is too long for it, and so it does when the guard ends the reading.
void WebSocket::on_error(SoupWebsocketConnection*, GError* error, gpointer user) {
  auto* self = static_cast<WebSocket*>(user);
  const bool too_big = g_error_matches(error, SOUP_WEBSOCKET_ERROR, SOUP_WEBSOCKET_CLOSE_TOO_BIG) ||
                       g_error_matches(error, G_IO_ERROR, G_IO_ERROR_MESSAGE_TOO_LARGE);
  if (too_big && !self->closing_) self->write_code(static_cast<uint16_t>(wire::Close::kTooBig));
  if (self->fault_.empty()) self->fault_ = too_big ? "too-big" : "vanished";
}

void WebSocket::on_pong(SoupWebsocketConnection*, GBytes*, gpointer user) {
  auto* self = static_cast<WebSocket*>(user);
  if (!self->closing_) self->events_.pong();
}

void WebSocket::on_closed(SoupWebsocketConnection* socket, gpointer user) {
  auto* self = static_cast<WebSocket*>(user);
  if (self->fault_.empty() && self->closing_) self->fault_ = "closed";
  if (self->fault_.empty())
    self->fault_ = soup_websocket_connection_get_close_code(socket) != 0 ? "client" : "vanished";
  self->tell_closed(self->fault_);
}

void WebSocket::tell_closed(std::string reason) {
  closing_ = true;
  if (time_out_ != 0) g_source_remove(std::exchange(time_out_, 0));
  g_signal_handlers_disconnect_by_data(socket_, this);
  stop_waiting();
  const auto closed = events_.closed;
  closed(reason);
}

}  // namespace server

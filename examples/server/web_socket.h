// SPDX-License-Identifier: MIT
// A WebSocket that a slow or vanished peer cannot fill or hold up.
#pragma once

#include <libsoup/soup.h>

#include <functional>
#include <string>

#include "guarded_stream.h"
#include "outbox.h"

namespace server {

/// Of a connection that accept_web_socket() has made. One thread, the default GMainContext. No event comes from within
/// a call, and an event may destroy this.
class WebSocket {
 public:
  struct Events {
    std::function<void(wire::View message)> message;  ///< Binary.
    std::function<void()> other;                      ///< A text message, which the protocol does not have.
    std::function<void()> pong;
    /// Told once; nothing comes after it. A word: client (it has closed), vanished, too-big, slow, or closed (by us).
    std::function<void(const std::string& reason)> closed;
  };

  WebSocket(SoupWebsocketConnection* socket, size_t unsent_bytes, Events events);
  ~WebSocket();
  WebSocket(const WebSocket&) = delete;
  WebSocket& operator=(const WebSocket&) = delete;

  /// Gives up a peer for whom more has to be kept than may wait.
  void send(wire::Bytes message, Outbox::Keep keep);
  /// Sends what is waiting, then the code. A peer that takes or answers nothing for some seconds is given up.
  void close(wire::Close code);
  /// Asks the peer for pongs; 0: never.
  void ask_for_pongs(int seconds);

  bool closing() const { return closing_; }
  /// How long there has been something to send, and the peer has taken nothing.
  double stuck_seconds() const { return outbox_.empty() ? 0 : now() - last_progress_; }
  /// Closes without a word to a peer that would not read it.
  void give_up(std::string reason);
  double last_sent() const { return last_sent_; }                ///< As of now().
  uint64_t received_bytes() const { return guard_.received(); }  ///< All that came, messages or not.
  uint64_t sent_bytes() const { return sent_bytes_; }
  uint64_t dropped() const { return outbox_.dropped(); }

  /// Seconds of a clock that never jumps.
  static double now() { return static_cast<double>(g_get_monotonic_time()) / G_USEC_PER_SEC; }

 private:
  static void on_message(SoupWebsocketConnection*, gint type, GBytes* bytes, gpointer self);
  static void on_error(SoupWebsocketConnection*, GError* error, gpointer self);
  static void on_pong(SoupWebsocketConnection*, GBytes*, gpointer self);
  static void on_closed(SoupWebsocketConnection* socket, gpointer self);
  static gboolean on_writable(GObject*, gpointer self);
  static gboolean on_time_out(gpointer self);
  void pump();
  void send_code();
  bool write_code(uint16_t code);
  void stop_waiting();
  void tell_closed(std::string reason);

  SoupWebsocketConnection* socket_;
  GPollableOutputStream* stream_;
  StreamGuard guard_;
  Outbox outbox_;
  Events events_;
  GSource* writable_ = nullptr;
  guint time_out_ = 0;
  guint64 most_bytes_;
  wire::Close code_ = wire::Close::kNormal;
  bool closing_ = false, code_sent_ = false;
  std::string fault_;  // why libsoup closes
  double last_sent_, last_progress_;
  uint64_t sent_bytes_ = 0;
};

}  // namespace server

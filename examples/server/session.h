// SPDX-License-Identifier: MIT
// One client: a WebSocket on one side, a conversation on the other, and what is waiting between them.
#pragma once

#include <libsoup/soup.h>

#include <functional>
#include <memory>
#include <string>

#include "../wire/message.h"
#include "conversation.h"
#include "settings.h"

namespace server {

struct Metrics;

struct SessionLimits {
  double max_lag_seconds = 2;
  double idle_seconds = 60;    ///< Without any message from the client; 0: for ever.
  double session_seconds = 0;  ///< Of conversation; 0: for ever.
  double messages_per_second = 200, bytes_per_second = 128 * 1024;  ///< Averages; bursts of ten seconds are taken.
  size_t unsent_bytes = 512 * 1024;  ///< Of a slow reader; beyond that, sound is dropped, then the client.
  double stuck_seconds = 15;         ///< A client that takes nothing for so long is given up.
};

/// From the accepted WebSocket to its end, waiting in the queue included. One thread, the default GMainContext.
class Session {
 public:
  struct Peer {
    std::string id;       ///< In the log.
    std::string address;  ///< In the log.
  };
  /// `ended` is called once, from the main context and never from within a call, when the socket is closed and the
  /// conversation is gone; the session may be destroyed in it. `reason` is a word for the log and the metrics: that of
  /// end(), or client (it closed), vanished, slow (it took nothing), too-big, idle, rate, not-opus, limit, failed.
  using Ended = std::function<void(Session*, const std::string& reason)>;

  static std::unique_ptr<Session> make(SoupWebsocketConnection* socket, Peer peer, Settings settings,
                                       const SessionLimits& limits, Metrics* metrics, Ended ended);
  virtual ~Session() = default;

  /// Tells the client its place (1: next) and how many wait. Pings are sent while it waits.
  virtual void wait(int place, int length) = 0;
  /// Makes the conversation and sends the handshake. What the client has sent before is dropped. Nothing where the
  /// socket is being closed.
  virtual void begin(const Model& model, const ModelFacts& facts) = 0;
  /// Sends an error message, then closes. With an empty sentence it only closes.
  virtual void end(wire::Close code, const std::string& sentence, const std::string& reason) = 0;

  virtual const Peer& peer() const = 0;
  virtual bool talking() const = 0;  ///< Between begin() and the end.
  virtual ConversationStats stats() const = 0;
  /// Of the last 512 frames, in seconds; 0 when there were none.
  virtual double frame_delay(double quantile) const = 0;
};

}  // namespace server

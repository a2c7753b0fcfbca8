// SPDX-License-Identifier: MIT
// The handshake of a WebSocket, with a guard between libsoup and the connection: libsoup keeps the fragments of a
// message that never ends, however many come, and reads on for as long as more comes.
#pragma once

#include <libsoup/soup.h>

#include <cstdint>
#include <functional>

struct _GuardedInput;

namespace server {

/// Answers a request that soup_websocket_server_check_handshake() has found good, and makes its WebSocket: `accepted`
/// gets it once the answer is written, and refers to it to keep it.
void accept_web_socket(SoupServerMessage* message, std::function<void(SoupWebsocketConnection*)> accepted);

/// What a guard knows. Of a stream without one, nothing.
class StreamGuard {
 public:
  explicit StreamGuard(GIOStream* stream);

  /// Reading fails with G_IO_ERROR_MESSAGE_TOO_LARGE when more comes between two calls of note_message(). 0: no limit.
  void set_most_unclaimed(uint64_t bytes);
  void note_message();
  /// Whatever comes from now on is thrown away.
  void drain();
  /// All that was read, frames and fragments included.
  uint64_t received() const;

 private:
  _GuardedInput* input_;
};

}  // namespace server

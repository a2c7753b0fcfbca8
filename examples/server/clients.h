// SPDX-License-Identifier: MIT
// The sessions that are there, from the accepted WebSocket to the end of the server.
#pragma once

#include <libsoup/soup.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "admission.h"
#include "metrics.h"
#include "options.h"
#include "session.h"

namespace server {

/// One thread, the default GMainContext.
class Clients {
 public:
  Clients(const Options& options, Metrics* metrics) : options_(options), metrics_(metrics) {}
  ~Clients();
  Clients(const Clients&) = delete;
  Clients& operator=(const Clients&) = delete;

  /// Conversations can begin.
  void open(const ModelFacts& facts, int places);
  /// After open() and before stop(): begins a conversation, or lets it wait, or sends it away.
  void add(SoupWebsocketConnection* socket, const std::string& address, const Query& query);
  /// Gives conversations `seconds`, then ends them; who waits is sent away at once. `done` when none is left.
  /// Called again it waits no longer.
  void stop(double seconds, std::function<void()> done);

  /// Null before open().
  const Admission* admission() const { return admission_ ? &*admission_ : nullptr; }

 private:
  struct Client {
    std::unique_ptr<Session> session;
    int64_t came;
    bool taken = false;  ///< By the admission.
  };
  void refuse(Session* session, wire::Close code, const std::string& sentence, const char* reason);
  void admit(Session* session);
  void begin(Session* session);
  void on_ended(Session* session, const std::string& reason);
  void leave(Session* session);
  void log_end(const Client& client, const std::string& reason);
  void tell_places();
  void count();
  void end_all();
  void check_stopped();
  void set_timer(double seconds);
  static gboolean on_time(gpointer user);

  const Options& options_;
  Metrics* metrics_;
  ModelFacts facts_;
  std::optional<Admission> admission_;
  std::map<Session*, Client> clients_;
  std::map<Session*, Client> leaving_;  // have ended, and hold a place until their pipelines have stopped
  uint64_t last_id_ = 0;
  bool stopping_ = false, ending_ = false;
  guint timer_ = 0;
  std::function<void()> stopped_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace server

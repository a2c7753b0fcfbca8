// SPDX-License-Identifier: MIT
// The connections of a SoupServer, of which there are never too many, and none that does nothing.
#pragma once

#include <libsoup/soup.h>

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "listening.h"

namespace server {

/// Accepts clients in place of libsoup 3.2, whose own listener leaks an object for each of them, stops for good when
/// the process runs out of files, and has no time-outs. Here is a limit, which the connection that has longest been
/// without a conversation gives way to, and an end to those that neither ask for anything nor take their answer. Each
/// answer ends its connection.
class Connections {
 public:
  Connections(SoupServer* server, int most);
  ~Connections();
  Connections(const Connections&) = delete;
  Connections& operator=(const Connections&) = delete;

  /// With a certificate clients speak TLS.
  void listen(std::vector<Socket> sockets, GTlsCertificate* certificate);
  void set_most(int most) { most_ = most; }
  /// The connection of this request is a WebSocket from now on; others look after it.
  void leave_alone(SoupServerMessage* message);
  int count() const { return static_cast<int>(watched_.size()); }

 private:
  struct Watched {
    int64_t deadline;
    bool alone = false;
  };
  static gboolean on_incoming(GSocket* listening, GIOCondition, gpointer user);
  static void on_request(SoupServer*, SoupServerMessage* message, gpointer user);
  static void on_read(SoupServer*, SoupServerMessage* message, gpointer user);
  static void on_gone(gpointer user, GObject* socket);
  static gboolean on_second(gpointer user);
  static gboolean on_rested(gpointer user);
  void hear();
  void rest();
  void accept(GSocket* socket);
  void shut(GSocket* socket);
  /// Ends the oldest that is no WebSocket, or else `newest`, if that is given.
  void make_room(GSocket* newest);

  SoupServer* server_;
  int most_;
  guint timer_, resting_ = 0;
  std::vector<Socket> listening_;
  std::vector<guint> sources_;  // of those that listen; none while it rests
  std::unique_ptr<GTlsCertificate, app::Deleter<g_object_unref>> certificate_;
  std::unordered_map<GSocket*, Watched> watched_;
};

/// Raises this process's limit of open files as far as it may; returns it.
int raise_file_limit();

}  // namespace server

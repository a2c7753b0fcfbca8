// SPDX-License-Identifier: MIT
// The WebSocket to the server.
#pragma once

#include <libsoup/soup.h>

#include <functional>
#include <memory>
#include <string>

#include "../wire/message.h"

namespace client {

/// From connect() to `ended`, which is told once. All on the default main context. It must not be destroyed before
/// `ended` was told, unless that context is not run any more.
class Link {
 public:
  struct Target {
    std::string address, token;
    bool insecure = false;
  };
  struct End {
    unsigned code = 0;     ///< Of the close message; 0: there was none.
    bool refused = false;  ///< The server or its certificate says no; trying again is no use.
    std::string sentence;  ///< Why it was not reached, or was lost. Empty: closed.
  };
  struct Events {
    std::function<void()> opened;
    std::function<void(wire::View bytes)> message;
    std::function<void(const End& end)> ended;
  };

  Link(Target target, Events events);
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  void connect();
  bool open() const;
  void send(const wire::Bytes& message);
  /// Bytes that were sent and that the network has not taken; more than a second's worth means that it is stalled.
  size_t unsent() const;
  void close(wire::Close code);
  /// Ends it without the server, which does not answer any more.
  void give_up(const std::string& sentence);

 private:
  template <typename T>
  struct Unref {
    void operator()(T* object) const { g_object_unref(object); }
  };
  template <typename T>
  using Ref = std::unique_ptr<T, Unref<T>>;

  static void on_network(SoupMessage*, GSocketClientEvent event, GIOStream* stream, gpointer user);
  static gboolean on_certificate(SoupMessage*, GTlsCertificate*, GTlsCertificateFlags, gpointer user);
  static void on_connected(GObject*, GAsyncResult* result, gpointer user);
  static void on_message(SoupWebsocketConnection*, gint type, GBytes* bytes, gpointer user);
  static void on_error(SoupWebsocketConnection*, GError* error, gpointer user);
  static void on_closed(SoupWebsocketConnection*, gpointer user);
  void explain(const GError* error);
  void tell_end();

  const Target target_;
  const Events events_;
  const Ref<SoupSession> session_;
  const Ref<GCancellable> cancel_;
  Ref<SoupMessage> request_;
  Ref<GSocket> socket_;
  Ref<SoupWebsocketConnection> connection_;
  End end_;
};

}  // namespace client

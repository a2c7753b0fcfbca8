// SPDX-License-Identifier: MIT
#include "connections.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

#include <algorithm>
#include <utility>

namespace server {
namespace {

constexpr int kRequestSeconds = 20;  // for TLS and a request
constexpr int kAnswerSeconds = 60;   // for taking the answer
constexpr int kAtOnce = 64;          // clients that are accepted before others are heard again
constexpr guint kRestMilliseconds = 100;
constexpr const char* kSocketKey = "moshi-socket";

template <typename T>
using Owned = std::unique_ptr<T, app::Deleter<g_object_unref>>;

int64_t in_seconds(int seconds) { return g_get_monotonic_time() + seconds * G_USEC_PER_SEC; }

/// The address is the one that libsoup was given with the connection.
GSocket* socket_of(SoupServerMessage* message) {
  GSocketAddress* address = soup_server_message_get_remote_address(message);
  return address ? static_cast<GSocket*>(g_object_get_data(G_OBJECT(address), kSocketKey)) : nullptr;
}

Owned<GIOStream> tls_stream(GSocketConnection* plain, GTlsCertificate* certificate) {
  Owned<GIOStream> stream(g_tls_server_connection_new(G_IO_STREAM(plain), certificate, nullptr));
  if (stream) g_object_set(stream.get(), "require-close-notify", FALSE, nullptr);
  return stream;
}

}  // namespace

Connections::Connections(SoupServer* server, int most) : server_(server), most_(most) {
  g_signal_connect(server, "request-started", G_CALLBACK(on_request), this);
  g_signal_connect(server, "request-read", G_CALLBACK(on_read), this);
  timer_ = g_timeout_add_seconds(1, on_second, this);
}

Connections::~Connections() {
  g_source_remove(timer_);
  for (const guint source : sources_) g_source_remove(source);
  if (resting_ != 0) g_source_remove(resting_);
  g_signal_handlers_disconnect_by_data(server_, this);
  for (const auto& [socket, state] : watched_) g_object_weak_unref(G_OBJECT(socket), on_gone, this);
}

void Connections::listen(std::vector<Socket> sockets, GTlsCertificate* certificate) {
  if (certificate) certificate_.reset(G_TLS_CERTIFICATE(g_object_ref(certificate)));
  for (const Socket& socket : sockets) g_socket_set_blocking(socket.get(), FALSE);
  listening_ = std::move(sockets);
  hear();
}

void Connections::hear() {
  for (const Socket& socket : listening_) {
    const std::unique_ptr<GSource, app::Deleter<g_source_unref>> source(
        g_socket_create_source(socket.get(), G_IO_IN, nullptr));
    g_source_set_callback(source.get(), G_SOURCE_FUNC(on_incoming), this, nullptr);
    sources_.push_back(g_source_attach(source.get(), nullptr));
  }
}

void Connections::rest() {
  for (const guint source : std::exchange(sources_, {})) g_source_remove(source);
  if (resting_ == 0) resting_ = g_timeout_add(kRestMilliseconds, on_rested, this);
}

gboolean Connections::on_rested(gpointer user) {
  auto* self = static_cast<Connections*>(user);
  self->resting_ = 0;
  self->hear();
  return G_SOURCE_REMOVE;
}

gboolean Connections::on_incoming(GSocket* listening, GIOCondition, gpointer user) {
  auto* self = static_cast<Connections*>(user);
  for (int i = 0; i < kAtOnce; ++i) {
    GError* raw = nullptr;
    const Socket socket(g_socket_accept(listening, nullptr, &raw));
    const app::Error error(raw);
    if (socket) {
      self->accept(socket.get());
      continue;
    }
    if (g_error_matches(error.get(), G_IO_ERROR, G_IO_ERROR_WOULD_BLOCK)) break;
    // Out of files, most likely. The client waits until there is one, and does so without waking this thread.
    if (g_error_matches(error.get(), G_IO_ERROR, G_IO_ERROR_TOO_MANY_OPEN_FILES)) self->make_room(nullptr);
    self->rest();
    break;
  }
  return G_SOURCE_CONTINUE;
}

void Connections::accept(GSocket* socket) {
  g_socket_set_option(socket, IPPROTO_TCP, TCP_NODELAY, TRUE, nullptr);
  const Owned<GSocketConnection> plain(g_socket_connection_factory_create_connection(socket));
  const Owned<GSocketAddress> here(g_socket_get_local_address(socket, nullptr));
  const Owned<GSocketAddress> there(g_socket_get_remote_address(socket, nullptr));
  const Owned<GIOStream> secure(certificate_ ? tls_stream(plain.get(), certificate_.get()) : nullptr);
  if (!here || !there || (certificate_ && !secure)) return;
  g_object_set_data(G_OBJECT(there.get()), kSocketKey, socket);
  watched_[socket] = {in_seconds(kRequestSeconds)};
  g_object_weak_ref(G_OBJECT(socket), on_gone, this);
  GIOStream* stream = secure ? secure.get() : G_IO_STREAM(plain.get());
  soup_server_accept_iostream(server_, stream, here.get(), there.get(), nullptr);
  if (count() > most_) make_room(socket);
}

void Connections::leave_alone(SoupServerMessage* message) {
  const auto at = watched_.find(socket_of(message));
  if (at != watched_.end()) at->second.alone = true;
}

// Comes for the first request of a connection as soon as it is accepted, before TLS and all else.
void Connections::on_request(SoupServer*, SoupServerMessage* message, gpointer) {
  // Nothing here reads what is sent with a request, which could be gigabytes.
  soup_message_body_set_accumulate(soup_server_message_get_request_body(message), FALSE);
  // libsoup closes the connection in any case; this also says so, in its own answers, too.
  soup_message_headers_replace(soup_server_message_get_response_headers(message), "Connection", "close");
}

void Connections::on_read(SoupServer*, SoupServerMessage* message, gpointer user) {
  auto* self = static_cast<Connections*>(user);
  const auto at = self->watched_.find(socket_of(message));
  if (at != self->watched_.end()) at->second.deadline = in_seconds(kAnswerSeconds);
}

void Connections::on_gone(gpointer user, GObject* socket) {
  // The object is no GSocket any more, only its address counts.
  static_cast<Connections*>(user)->watched_.erase(reinterpret_cast<GSocket*>(socket));
}

gboolean Connections::on_second(gpointer user) {
  auto* self = static_cast<Connections*>(user);
  const int64_t now = g_get_monotonic_time();
  std::vector<GSocket*> overdue;
  for (const auto& [socket, state] : self->watched_) {
    if (!state.alone && state.deadline <= now) overdue.push_back(socket);
  }
  for (GSocket* socket : overdue) self->shut(socket);
  return G_SOURCE_CONTINUE;
}

// The client sees the end at once, and libsoup when it reads; until then the socket does not count.
void Connections::shut(GSocket* socket) {
  g_socket_shutdown(socket, TRUE, TRUE, nullptr);
  g_object_weak_unref(G_OBJECT(socket), on_gone, this);
  watched_.erase(socket);
}

void Connections::make_room(GSocket* newest) {
  const auto oldest = std::min_element(watched_.begin(), watched_.end(), [](const auto& a, const auto& b) {
    return std::pair(a.second.alone, a.second.deadline) < std::pair(b.second.alone, b.second.deadline);
  });
  if (oldest != watched_.end() && !oldest->second.alone) {
    shut(oldest->first);
  } else if (newest) {
    shut(newest);
  }
}

int raise_file_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  // More are never needed, and some libraries go through all that could be open.
  const rlim_t wanted = std::min<rlim_t>(limit.rlim_max, 65536);
  if (limit.rlim_cur < wanted) {
    limit.rlim_cur = wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) getrlimit(RLIMIT_NOFILE, &limit);
  }
  return static_cast<int>(std::min<rlim_t>(limit.rlim_cur, 65536));
}

}  // namespace server

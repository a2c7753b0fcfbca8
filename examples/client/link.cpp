// SPDX-License-Identifier: MIT
#include "link.h"

#include <sys/ioctl.h>

#ifdef __linux__
#include <linux/sockios.h>
#endif

#include "../app.h"

namespace client {
namespace {

constexpr guint kConnectSeconds = 20;

std::string refusal(guint status, const char* reason, const char* location, bool token) {
  switch (status) {
    case SOUP_STATUS_UNAUTHORIZED:
      return token ? "the server does not accept this token" : "the server wants a token: --token or --token-file";
    case SOUP_STATUS_FORBIDDEN:
      return "the server does not let this client in";
    case SOUP_STATUS_NOT_FOUND:
      return "there is no conversation at this address: the server knows no such path";
    case SOUP_STATUS_SERVICE_UNAVAILABLE:
      return "the server is loading its model or stopping; try again soon";
    default:
      break;
  }
  if (location) return std::string("the server has moved to ") + location;
  return "the server answers " + std::to_string(status) + " " + (reason ? reason : "") + " instead of a conversation";
}

}  // namespace

Link::Link(Target target, Events events)
    : target_(std::move(target)),
      events_(std::move(events)),
      session_(soup_session_new()),
      cancel_(g_cancellable_new()) {
  soup_session_set_timeout(session_.get(), kConnectSeconds);
}

Link::~Link() {
  if (connection_) g_signal_handlers_disconnect_by_data(connection_.get(), this);
  if (request_) g_signal_handlers_disconnect_by_data(request_.get(), this);
}

void Link::connect() {
  request_.reset(soup_message_new(SOUP_METHOD_GET, target_.address.c_str()));
  if (!request_) {
    end_.refused = true;
    end_.sentence = target_.address + " is not an address";
    tell_end();
    return;
  }
  if (!target_.token.empty()) {
    const std::string value = "Bearer " + target_.token;
    soup_message_headers_append(soup_message_get_request_headers(request_.get()), "Authorization", value.c_str());
  }
  // The token is for this server alone.
  soup_message_add_flags(request_.get(), SOUP_MESSAGE_NO_REDIRECT);
  g_signal_connect(request_.get(), "network-event", G_CALLBACK(on_network), this);
  if (target_.insecure) g_signal_connect(request_.get(), "accept-certificate", G_CALLBACK(on_certificate), this);
  soup_session_websocket_connect_async(session_.get(), request_.get(), nullptr, nullptr, G_PRIORITY_DEFAULT,
                                       cancel_.get(), on_connected, this);
}

gboolean Link::on_certificate(SoupMessage*, GTlsCertificate*, GTlsCertificateFlags, gpointer) { return TRUE; }

// The connection does not give its socket away, which alone knows what the network has not taken yet.
void Link::on_network(SoupMessage*, GSocketClientEvent event, GIOStream* stream, gpointer user) {
  auto* self = static_cast<Link*>(user);
  if (event != G_SOCKET_CLIENT_CONNECTED || !G_IS_SOCKET_CONNECTION(stream)) return;
  GSocket* socket = g_socket_connection_get_socket(G_SOCKET_CONNECTION(stream));
  self->socket_.reset(G_SOCKET(g_object_ref(socket)));
}

void Link::on_connected(GObject* session, GAsyncResult* result, gpointer user) {
  auto* self = static_cast<Link*>(user);
  GError* raw = nullptr;
  auto* connection = soup_session_websocket_connect_finish(SOUP_SESSION(session), result, &raw);
  const app::Error error(raw);
  if (!connection) {
    self->explain(error.get());
    self->tell_end();
    return;
  }
  self->connection_.reset(connection);
  soup_websocket_connection_set_keepalive_interval(connection, 10);
  g_signal_connect(connection, "message", G_CALLBACK(on_message), self);
  g_signal_connect(connection, "error", G_CALLBACK(on_error), self);
  g_signal_connect(connection, "closed", G_CALLBACK(on_closed), self);
  self->events_.opened();
}

void Link::explain(const GError* error) {
  const guint status = soup_message_get_status(request_.get());
  if (g_error_matches(error, G_IO_ERROR, G_IO_ERROR_CANCELLED)) return;
  if (g_error_matches(error, G_TLS_ERROR, G_TLS_ERROR_BAD_CERTIFICATE)) {
    end_.refused = true;
    end_.sentence = "the server's certificate is not one that this machine trusts; --insecure accepts it all the same";
  } else if (g_error_matches(error, G_TLS_ERROR, G_TLS_ERROR_NOT_TLS)) {
    end_.refused = true;
    end_.sentence = "the server does not speak TLS; http:// in front of its name asks for none";
  } else if (g_error_matches(error, G_TLS_ERROR, G_TLS_ERROR_UNAVAILABLE)) {
    end_.refused = true;
    end_.sentence = "there is no TLS on this machine: install glib-networking";
  } else if (status != 0 && status != SOUP_STATUS_SWITCHING_PROTOCOLS) {
    const auto* headers = soup_message_get_response_headers(request_.get());
    const char* location = SOUP_STATUS_IS_REDIRECTION(status)
                               ? soup_message_headers_get_one(const_cast<SoupMessageHeaders*>(headers), "Location")
                               : nullptr;
    end_.refused = status != SOUP_STATUS_SERVICE_UNAVAILABLE && status != SOUP_STATUS_BAD_GATEWAY;
    end_.sentence = refusal(status, soup_message_get_reason_phrase(request_.get()), location, !target_.token.empty());
  } else {
    end_.sentence = std::string("cannot reach the server: ") + error->message;
    // Something is there, but does not answer this. Some wait for more of what is no request to them.
    if (socket_)
      end_.sentence += target_.address.starts_with("wss:") ? "; http:// in front of its name asks for no TLS"
                                                           : "; https:// in front of its name asks for TLS";
  }
}

void Link::on_message(SoupWebsocketConnection*, gint type, GBytes* bytes, gpointer user) {
  auto* self = static_cast<Link*>(user);
  if (type != SOUP_WEBSOCKET_DATA_BINARY) return;
  gsize size = 0;
  const auto* data = static_cast<const uint8_t*>(g_bytes_get_data(bytes, &size));
  self->events_.message({data, size});
}

void Link::on_error(SoupWebsocketConnection*, GError* error, gpointer user) {
  static_cast<Link*>(user)->end_.sentence = std::string("the connection is lost: ") + error->message;
}

void Link::on_closed(SoupWebsocketConnection* connection, gpointer user) {
  auto* self = static_cast<Link*>(user);
  self->end_.code = soup_websocket_connection_get_close_code(connection);
  if (self->end_.code == 0 && self->end_.sentence.empty()) self->end_.sentence = "the connection is lost";
  self->tell_end();
}

void Link::tell_end() {
  const auto ended = events_.ended;  // may outlive this
  const End end = end_;
  ended(end);
}

bool Link::open() const {
  return connection_ && soup_websocket_connection_get_state(connection_.get()) == SOUP_WEBSOCKET_STATE_OPEN;
}

void Link::send(const wire::Bytes& message) {
  if (open()) soup_websocket_connection_send_binary(connection_.get(), message.data(), message.size());
}

size_t Link::unsent() const {
  int bytes = 0;
#ifdef SIOCOUTQ
  if (socket_ && ioctl(g_socket_get_fd(socket_.get()), SIOCOUTQ, &bytes) != 0) bytes = 0;
#endif
  return static_cast<size_t>(bytes);
}

void Link::close(wire::Close code) {
  if (open()) {
    soup_websocket_connection_close(connection_.get(), static_cast<gushort>(code), nullptr);
  } else if (!connection_) {
    g_cancellable_cancel(cancel_.get());
  }
}

void Link::give_up(const std::string& sentence) {
  if (connection_) g_signal_handlers_disconnect_by_data(connection_.get(), this);
  connection_.reset();
  end_.sentence = sentence;
  tell_end();
}

}  // namespace client

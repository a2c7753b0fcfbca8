// SPDX-License-Identifier: MIT
#include "listening.h"

#include <netinet/in.h>

#include <utility>

namespace server {
namespace {

using Address = std::unique_ptr<GInetAddress, app::Deleter<g_object_unref>>;

constexpr int kBacklog = 512;
constexpr int kTries = 8;  // for a port that is free on all addresses

std::vector<Address> addresses_of(const std::string& host, std::string* problem) {
  std::vector<Address> addresses;
  // Not looked up: some systems know only one of the two by that name.
  if (host == "localhost") {
    addresses.emplace_back(g_inet_address_new_loopback(G_SOCKET_FAMILY_IPV4));
    addresses.emplace_back(g_inet_address_new_loopback(G_SOCKET_FAMILY_IPV6));
    return addresses;
  }
  if (GInetAddress* literal = g_inet_address_new_from_string(host.c_str())) {
    addresses.emplace_back(literal);
    return addresses;
  }
  const std::unique_ptr<GResolver, app::Deleter<g_object_unref>> resolver(g_resolver_get_default());
  GError* raw = nullptr;
  GList* found = g_resolver_lookup_by_name(resolver.get(), host.c_str(), nullptr, &raw);
  const app::Error error(raw);
  for (GList* one = found; one; one = one->next) addresses.emplace_back(G_INET_ADDRESS(one->data));
  g_list_free(found);
  if (addresses.empty())
    *problem = "there is no address of the host \"" + host + "\"; --host takes a name or an address of this machine";
  return addresses;
}

/// Null: `error` says why.
Socket listen_at(GInetAddress* address, int port, app::Error* error) {
  GError* raw = nullptr;
  const GSocketFamily family = g_inet_address_get_family(address);
  Socket socket(g_socket_new(family, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_TCP, &raw));
  const std::unique_ptr<GSocketAddress, app::Deleter<g_object_unref>> place(
      g_inet_socket_address_new(address, static_cast<guint16>(port)));
  bool good = socket != nullptr;
  if (good) g_socket_set_listen_backlog(socket.get(), kBacklog);
  if (good && family == G_SOCKET_FAMILY_IPV6) {
    // "::" is all addresses, of both kinds.
    const bool any = g_inet_address_get_is_any(address);
    good = g_socket_set_option(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, any ? 0 : 1, &raw);
  }
  good = good && g_socket_bind(socket.get(), place.get(), TRUE, &raw) && g_socket_listen(socket.get(), &raw);
  error->reset(raw);
  return good ? std::move(socket) : nullptr;
}

}  // namespace

int port_of(GSocket* socket) {
  const std::unique_ptr<GSocketAddress, app::Deleter<g_object_unref>> address(
      g_socket_get_local_address(socket, nullptr));
  return address ? g_inet_socket_address_get_port(G_INET_SOCKET_ADDRESS(address.get())) : 0;
}

std::string in_url(const std::string& host) {
  const bool v6 = host.find(':') != std::string::npos;
  return std::string(v6 ? "[" : "").append(host).append(v6 ? "]" : "");
}

std::vector<Socket> listen_on(const std::string& host, int port, std::string* problem) {
  const auto addresses = addresses_of(host, problem);
  if (addresses.empty()) return {};
  app::Error error;
  for (int tries = 0; tries < kTries; ++tries) {
    std::vector<Socket> sockets;
    bool taken = false;
    for (const Address& address : addresses) {
      const int wanted = sockets.empty() ? port : port_of(sockets.front().get());
      app::Error one;
      if (Socket socket = listen_at(address.get(), wanted, &one)) {
        sockets.push_back(std::move(socket));
        continue;
      }
      taken |= g_error_matches(one.get(), G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE);
      if (!error || taken) error = std::move(one);
    }
    if (!taken && !sockets.empty()) return sockets;
    if (!taken || port != 0) break;
  }
  *problem = "cannot listen on " + in_url(host) + ":" + std::to_string(port) + ": " + error->message;
  if (g_error_matches(error.get(), G_IO_ERROR, G_IO_ERROR_ADDRESS_IN_USE))
    *problem += "; --port takes another, 0 any that is free";
  return {};
}

}  // namespace server

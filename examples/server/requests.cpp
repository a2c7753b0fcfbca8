// SPDX-License-Identifier: MIT
#include "requests.h"

#include <utility>

#include "../app.h"

namespace server {
namespace {

constexpr std::pair<const char*, const char*> kHeaders[] = {
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Cache-Control", "no-cache"},
};

/// The page is modules, worklets, styles and pictures from here, and nothing else.
constexpr std::pair<const char*, const char*> kPolicies[] = {
    {"Content-Security-Policy",
     "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src 'self' data:; "
     "connect-src 'self'; media-src 'self' blob:; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
     "frame-ancestors 'none'"},
    {"Permissions-Policy",
     "microphone=(self), speaker-selection=(self), screen-wake-lock=(self), camera=(), geolocation=()"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
};

/// Null if it is no address of the internet's.
GInetAddress* peer_of(SoupServerMessage* message) {
  GSocketAddress* address = soup_server_message_get_remote_address(message);
  return G_IS_INET_SOCKET_ADDRESS(address) ? g_inet_socket_address_get_address(G_INET_SOCKET_ADDRESS(address))
                                           : nullptr;
}

}  // namespace

std::string header_of(SoupServerMessage* message, const char* name) {
  const char* value = soup_message_headers_get_one(soup_server_message_get_request_headers(message), name);
  return value ? value : "";
}

void set_header(SoupServerMessage* message, const char* name, const char* value) {
  soup_message_headers_replace(soup_server_message_get_response_headers(message), name, value);
}

Query query_of(SoupServerMessage* message) {
  Query query;
  const char* text = g_uri_get_query(soup_server_message_get_uri(message));
  if (!text) return query;
  const std::unique_ptr<GHashTable, app::Deleter<g_hash_table_unref>> table(soup_form_decode(text));
  GHashTableIter at;
  gpointer name, value;
  g_hash_table_iter_init(&at, table.get());
  while (g_hash_table_iter_next(&at, &name, &value))
    query[static_cast<char*>(name)] = value ? static_cast<char*>(value) : "";
  return query;
}

Credentials credentials_of(SoupServerMessage* message) {
  Credentials given;
  given.host = header_of(message, "Host");
  given.origin = header_of(message, "Origin");
  given.authorization = header_of(message, "Authorization");
  given.api_key = header_of(message, "kyutai-api-key");
  GInetAddress* peer = peer_of(message);
  given.direct_loopback = peer && g_inet_address_get_is_loopback(peer) && header_of(message, "X-Forwarded-For").empty();
  const Query query = query_of(message);
  for (const char* name : {"token", "auth_id", "worker_auth_id"}) {
    if (const auto at = query.find(name); at != query.end()) given.query_tokens.push_back(at->second);
  }
  return given;
}

std::string address_of(SoupServerMessage* message) {
  GInetAddress* peer = peer_of(message);
  if (!peer) return "unknown";
  return client_address(app::Text(g_inet_address_to_string(peer)).get(), header_of(message, "X-Forwarded-For"));
}

void answer(SoupServerMessage* message, guint status, const std::string& type, GBytes* bytes, bool foreign) {
  for (const auto& [name, value] : kHeaders) set_header(message, name, value);
  if (!foreign) {
    for (const auto& [name, value] : kPolicies) set_header(message, name, value);
  }
  set_header(message, "Content-Type", type.c_str());
  // libsoup has no word for this one.
  soup_server_message_set_status(message, status, status == kUpgradeRequired ? "Upgrade Required" : nullptr);
  if (g_bytes_get_size(bytes) > 0)
    soup_message_body_append_bytes(soup_server_message_get_response_body(message), bytes);
}

void answer_text(SoupServerMessage* message, guint status, const std::string& type, const std::string& text) {
  const std::unique_ptr<GBytes, app::Deleter<g_bytes_unref>> bytes(g_bytes_new(text.data(), text.size()));
  answer(message, status, type, bytes.get());
}

void answer_sentence(SoupServerMessage* message, guint status, const std::string& sentence) {
  answer_text(message, status, "text/plain; charset=utf-8", sentence + "\n");
}

void answer_json(SoupServerMessage* message, guint status, const Json& json) {
  const std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  answer_text(message, status, "application/json", text + "\n");
}

}  // namespace server

// SPDX-License-Identifier: MIT
#include "access.h"

#include <gio/gio.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>

#include "../app.h"

namespace server {
namespace {

using Digest = std::array<unsigned char, SHA256_DIGEST_LENGTH>;

Digest digest(const std::string& text) {
  Digest out;
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), out.data());
  return out;
}

std::string lower(const std::string& text) { return app::Text(g_ascii_strdown(text.c_str(), -1)).get(); }

struct Place {
  std::string scheme, host;
  int port;
  bool operator==(const Place& other) const = default;
};

int usual_port(const std::string& scheme) { return scheme == "https" || scheme == "wss" ? 443 : 80; }

/// Names that nobody else's DNS can point here.
bool is_fixed(const std::string& host) {
  return host == "localhost" || host.ends_with(".localhost") || host == lower(g_get_host_name()) ||
         g_hostname_is_ip_address(host.c_str());
}

/// Scheme and authority, and nothing behind them but perhaps one slash.
std::optional<Place> parse_place(const std::string& text) {
  const std::unique_ptr<GUri, app::Deleter<g_uri_unref>> uri(g_uri_parse(text.c_str(), G_URI_FLAGS_NONE, nullptr));
  if (!uri || !g_uri_get_host(uri.get()) || !*g_uri_get_host(uri.get()) || g_uri_get_userinfo(uri.get()) ||
      g_uri_get_query(uri.get()) || g_uri_get_fragment(uri.get()))
    return std::nullopt;
  const std::string path = g_uri_get_path(uri.get());
  if (!path.empty() && path != "/") return std::nullopt;
  const std::string scheme = g_uri_get_scheme(uri.get());
  const int port = g_uri_get_port(uri.get());
  return Place{scheme, lower(g_uri_get_host(uri.get())), port > 0 ? port : usual_port(scheme)};
}

bool is_loopback(const std::string& address) {
  const std::unique_ptr<GInetAddress, app::Deleter<g_object_unref>> inet(
      g_inet_address_new_from_string(address.c_str()));
  return inet && g_inet_address_get_is_loopback(inet.get());
}

}  // namespace

bool token_allows(const std::vector<std::string>& tokens, const Credentials& given) {
  if (tokens.empty()) return true;
  std::vector<std::string> tries = given.query_tokens;
  tries.push_back(given.api_key);
  constexpr const char kBearer[] = "bearer ";
  constexpr size_t kLength = sizeof kBearer - 1;
  if (g_ascii_strncasecmp(given.authorization.c_str(), kBearer, kLength) == 0)
    tries.push_back(app::Text(g_strstrip(g_strdup(given.authorization.c_str() + kLength))).get());
  bool allowed = false;
  for (const std::string& one : tries) {
    const Digest tried = digest(one);
    for (const std::string& token : tokens) {
      const Digest wanted = digest(token);
      allowed |= !one.empty() && CRYPTO_memcmp(tried.data(), wanted.data(), wanted.size()) == 0;
    }
  }
  return allowed;
}

bool origin_allows(const std::vector<std::string>& origins, const Credentials& given) {
  if (given.origin.empty()) return true;
  const auto any = [&](const std::string& wanted) { return wanted == "*" || wanted == given.origin; };
  if (std::any_of(origins.begin(), origins.end(), any)) return true;
  const auto origin = parse_place(given.origin);
  if (!origin) return false;
  const auto same = [&](const std::string& wanted) { return parse_place(wanted) == origin; };
  if (std::any_of(origins.begin(), origins.end(), same)) return true;
  if (given.direct_loopback && origin->scheme == "http" && !is_fixed(origin->host)) return false;
  return !given.host.empty() && parse_place(origin->scheme + "://" + given.host) == origin;
}

std::optional<std::string> normal_origin(const std::string& text) {
  const auto place = parse_place(text);
  if (!place || (place->scheme != "http" && place->scheme != "https")) return std::nullopt;
  std::string origin = place->scheme + "://";
  const bool v6 = place->host.find(':') != std::string::npos;
  origin.append(v6 ? "[" : "").append(place->host).append(v6 ? "]" : "");
  if (place->port != usual_port(place->scheme)) origin.append(":").append(std::to_string(place->port));
  return origin;
}

std::string client_address(const std::string& peer, const std::string& forwarded_for) {
  if (forwarded_for.empty() || !is_loopback(peer)) return peer;
  // The proxy adds its client at the end; what stands before came with the request.
  const size_t comma = forwarded_for.rfind(',');
  const std::string last = forwarded_for.substr(comma == std::string::npos ? 0 : comma + 1);
  const app::Text address(g_strstrip(g_strdup(last.c_str())));
  return g_hostname_is_ip_address(address.get()) ? address.get() : peer;
}

}  // namespace server

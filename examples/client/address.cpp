// SPDX-License-Identifier: MIT
#include "address.h"

#include <memory>
#include <string_view>

#include "../app.h"

namespace client {
namespace {

constexpr std::string_view kPath = "/api/chat";

using Uri = std::unique_ptr<GUri, app::Deleter<g_uri_unref>>;

std::string typed(const Place& place) {
  if (place.url.empty()) {
    const bool bare_ipv6 = place.host.find(':') != std::string::npos && place.host.front() != '[';
    const std::string host = bare_ipv6 ? "[" + place.host + "]" : place.host;
    return (place.https ? "https://" : "http://") + host + ":" + std::to_string(place.port);
  }
  return place.url.find("://") == std::string::npos ? "https://" + place.url : place.url;
}

std::string path_of(GUri* uri) {
  std::string path = g_uri_get_path(uri);
  while (path.ends_with('/')) path.pop_back();
  return path.ends_with(kPath) ? path : path + std::string(kPath);
}

std::string query_of(GUri* uri, const Parameters& parameters) {
  std::string query = g_uri_get_query(uri) ? g_uri_get_query(uri) : "";
  for (const auto& [name, value] : parameters) {
    const app::Text escaped(g_uri_escape_string(value.c_str(), nullptr, FALSE));
    query += (query.empty() ? "" : "&") + name + "=" + escaped.get();
  }
  return query;
}

}  // namespace

std::optional<std::string> socket_address(const Place& place, const Parameters& parameters, std::string* problem) {
  const std::string url = typed(place);
  GError* raw = nullptr;
  const Uri uri(g_uri_parse(url.c_str(), G_URI_FLAGS_ENCODED, &raw));
  const app::Error error(raw);
  const bool good = uri && g_uri_get_host(uri.get()) && *g_uri_get_host(uri.get());
  if (!good) {
    *problem = "\"" + url + "\" is not a URL" + (error ? std::string(": ") + error->message : "");
    return std::nullopt;
  }
  const std::string scheme = g_uri_get_scheme(uri.get());
  const bool plain = scheme == "http" || scheme == "ws";
  if (!plain && scheme != "https" && scheme != "wss") {
    *problem = "a server is reached by http, https, ws or wss, not by " + scheme;
    return std::nullopt;
  }
  const std::string query = query_of(uri.get(), parameters);
  const app::Text address(g_uri_join(G_URI_FLAGS_ENCODED, plain ? "ws" : "wss", nullptr, g_uri_get_host(uri.get()),
                                     g_uri_get_port(uri.get()), path_of(uri.get()).c_str(),
                                     query.empty() ? nullptr : query.c_str(), nullptr));
  return address.get();
}

}  // namespace client

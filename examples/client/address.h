// SPDX-License-Identifier: MIT
// Where the server is: the URL of its socket.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace client {

struct Place {
  std::string url;  ///< As it was typed. Empty: host and port.
  std::string host = "localhost";
  int port = 8998;
  bool https = false;
};

using Parameters = std::vector<std::pair<std::string, std::string>>;

/// ws://HOST:PORT/api/chat?... http and ws mean plain, https, wss and no scheme TLS; /api/chat is appended to the path,
/// unless it is there. What the URL's own query has stays. Nothing: `problem` is a sentence.
std::optional<std::string> socket_address(const Place& place, const Parameters& parameters, std::string* problem);

}  // namespace client

// SPDX-License-Identifier: MIT
// Who may come in, told by the headers of a request.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace server {

/// What of a request decides; empty where a header is not there.
struct Credentials {
  std::string host, origin, authorization, api_key;
  std::vector<std::string> query_tokens;
  bool direct_loopback = false;  ///< From this machine, and no proxy says for whom.
};

/// True without tokens; otherwise whether one of them was given. The time it takes tells nothing about them.
bool token_allows(const std::vector<std::string>& tokens, const Credentials& given);

/// True for programs that are no browsers, for pages of the host that was asked (whatever the scheme: a proxy may speak
/// TLS), and for those of `origins`; "*" is any. A page that came to this machine's browser without TLS, under a name
/// that is not the machine's own, is foreign: anybody's name can point to a loopback address (DNS rebinding).
bool origin_allows(const std::vector<std::string>& origins, const Credentials& given);

/// A page's origin in the form in which browsers send it; nothing if it is none.
std::optional<std::string> normal_origin(const std::string& text);

/// The address to tell clients apart by: `peer`, or behind a proxy on this machine, what that says in
/// X-Forwarded-For.
std::string client_address(const std::string& peer, const std::string& forwarded_for);

}  // namespace server

// SPDX-License-Identifier: MIT
// Sockets that wait for clients.
#pragma once

#include <gio/gio.h>

#include <string>
#include <vector>

#include "../app.h"

namespace server {

using Socket = std::unique_ptr<GSocket, app::Deleter<g_object_unref>>;

/// Listens on all addresses of `host`, all with one port; 0: any that is free. Loopback of a kind that this machine
/// does not have is left out. Empty: `problem` is a sentence.
std::vector<Socket> listen_on(const std::string& host, int port, std::string* problem);

int port_of(GSocket* socket);

/// How an address is written in front of a port: IPv6 in brackets.
std::string in_url(const std::string& host);

}  // namespace server

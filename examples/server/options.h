// SPDX-License-Identifier: MIT
// The command line of moshi-server.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "log.h"
#include "session.h"
#include "settings.h"

namespace server {

struct Options {
  std::string host = "localhost";
  int port = 8998;  ///< 0: any that is free; the log tells which.
  Model model;
  Sampling sampling;       ///< Defaults of all conversations.
  std::string tls_folder;  ///< With cert.pem and key.pem, which are made if they are not there. Empty: plain HTTP.
  std::vector<std::string> tokens, origins;
  std::optional<int> sessions;  ///< Nothing: as many as were measured.
  int queue = 16;
  SessionLimits limits;
  size_t message_bytes = 64 * 1024;
  double drain_seconds = 10;  ///< At the end, for conversations to finish.
  std::string page;           ///< A folder in place of the page in the program; "none": no page.
  log::Style log_style = log::Style::kText;
};

/// Nothing when the command line is wrong; that has been said.
std::optional<Options> parse_options(int argc, char** argv);

}  // namespace server

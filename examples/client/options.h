// SPDX-License-Identifier: MIT
// The command line of moshi-client.
#pragma once

#include <optional>
#include <string>

#include "address.h"

namespace client {

struct Options {
  std::string address;  ///< Of the socket, with its query.
  std::string token;
  bool insecure = false;
  std::string input = "mic", output = "speaker", text;
  std::string source = "autoaudiosrc", sink = "autoaudiosink";  ///< Elements of the microphone and the speaker.
  std::string listen = "both";                                  ///< What the server sends: both, audio or text.
  std::optional<bool> echo_cancel;                              ///< Nothing: where it is possible.
  double max_lag_seconds = 0.3;
  double after_seconds = 2.5;
  bool stats = false;

  bool live() const { return input == "mic"; }
  bool hears() const { return listen != "text"; }
  bool to_speaker() const { return hears() && output == "speaker"; }
  bool to_file() const { return output != "speaker" && output != "none"; }
};

/// Nothing when the command line is wrong; that has been said.
std::optional<Options> parse_options(int argc, char** argv);

}  // namespace client

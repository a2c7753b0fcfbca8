// SPDX-License-Identifier: MIT
//
// A conversation with a model on a server (docs/protocol.md), from the terminal: microphone or file in, speaker or file
// out, text on standard output.
//
//   moshi-client [URL] [--input mic|FILE] [--output speaker|none|FILE] [options]
//
// Exit status: 0 success, 1 an error, 2 wrong usage.
#include <cstdlib>
#include <utility>

#include "../app.h"
#include "client.h"
#include "options.h"
#include "transcript.h"

int main(int argc, char** argv) {
  app::program = "client";
  const auto options = client::parse_options(argc, argv);
  if (!options) return 2;
  auto transcript = client::Transcript::make(options->text);
  if (!transcript) return EXIT_FAILURE;
  client::Client client(*options, std::move(*transcript));
  return client.run() ? EXIT_SUCCESS : EXIT_FAILURE;
}

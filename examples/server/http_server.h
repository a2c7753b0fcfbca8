// SPDX-License-Identifier: MIT
// The HTTP side: addresses, TLS, who may come in, and the sessions that are there.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "conversation.h"
#include "options.h"

namespace server {

/// One thread, the default GMainContext.
class HttpServer {
 public:
  /// Listens; conversations are refused until ready(). Null: `problem` is a sentence.
  static std::unique_ptr<HttpServer> listen(const Options& options, std::string* problem);
  virtual ~HttpServer() = default;

  virtual void ready(const ModelFacts& facts, int places) = 0;
  /// Refuses whoever comes, gives conversations `seconds`, then ends them with 1001; `done` when none is left. Called
  /// again it does not wait any longer.
  virtual void stop(double seconds, std::function<void()> done) = 0;
  virtual std::string address() const = 0;  ///< http://localhost:8998
};

}  // namespace server

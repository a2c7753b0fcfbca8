// SPDX-License-Identifier: MIT
// The hub as a server: what it has, where the bytes are, and what its refusals mean.
#pragma once

#include <string>

#include "checkpoint/hub_cache.h"
#include "checkpoint/hub_fetch.h"
#include "checkpoint/hub_http.h"

namespace moshi::checkpoint {

/// What the hub says of a file.
struct RemoteFile {
  bool exists = false;
  std::string commit;  ///< that the revision means now; "": it does not say (only of a file that does not exist)
  std::string etag;    ///< the name of the file's content
  uint64_t bytes = 0;
};

/// For one thread.
class HubRemote {
 public:
  HubRemote(const FetchLimits& limits, HttpBeat beat);

  /// Throws Error: NOT_AUTHORIZED, NOT_FOUND (the repository or the revision), NETWORK. Tries again by itself.
  RemoteFile look_up(const HubId& id, const std::string& revision, const std::string& file);
  /// One try to get the bytes of a file from `from` on, across redirects. Throws as look_up() for what the hub refuses;
  /// what another try may mend is in the response.
  HttpResponse get(const HubId& id, const std::string& commit, const std::string& file, uint64_t from,
                   const HttpSink& sink);
  /// Waits before another try; `failures` is how many there were in a row.
  void pause(int failures, const HttpResponse& last);
  HttpClient& http() { return http_; }
  const FetchLimits& limits() const { return limits_; }

  /// Throws NETWORK for a request that was given up.
  [[noreturn]] void give_up(const std::string& file, const HttpResponse& response,
                            const std::string& what_is_kept) const;

 private:
  std::string url_of(const HubId& id, const std::string& revision, const std::string& file) const;
  HttpResponse follow(HttpRequest request, const HttpSink& sink, bool is_metadata);

  FetchLimits limits_;
  std::string endpoint_;
  std::string token_;
  HttpClient http_;
};

/// Whether a failed request may succeed if it is made again.
bool is_worth_another_try(const HttpResponse& response);

}  // namespace moshi::checkpoint

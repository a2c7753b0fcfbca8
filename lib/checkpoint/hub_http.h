// SPDX-License-Identifier: MIT
// HTTP(S) for the hub: one request at a time, redirects left to the caller, a regular beat while it waits.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>

namespace moshi::checkpoint {

struct HttpRequest {
  std::string url;
  bool is_head = false;
  std::string bearer;  ///< "": no Authorization header
  uint64_t from = 0;   ///< first byte wanted; 0: all
};

struct HttpResponse {
  long status = 0;                             ///< 0: none came
  std::map<std::string, std::string> headers;  ///< of the last response, names in lower case
  std::string failure;                         ///< why it is not complete, in curl's words; "": it is
  bool is_hopeless = false;                    ///< a failure that another try will not mend, such as a bad certificate

  std::string header(const std::string& name) const;
  bool is_redirect() const { return status >= 300 && status < 400 && !header("location").empty(); }
  bool is_success() const { return status >= 200 && status < 300 && failure.empty(); }
};

/// Receives the body of a 200 or 206 as it comes. What it throws ends the request and comes out of perform().
using HttpSink = std::function<void(const HttpResponse& head, std::span<const std::byte> bytes)>;

/// Called about every 100 ms. What it throws ends the request and comes out of perform().
using HttpBeat = std::function<void()>;

/// Keeps connections open from one request to the next. For one thread.
class HttpClient {
 public:
  HttpClient(std::chrono::milliseconds connect_limit, std::chrono::milliseconds stall_limit, HttpBeat beat);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  /// Failures of the network are in the response. Throws only what `sink` and the beat throw.
  HttpResponse perform(const HttpRequest& request, const HttpSink& sink = {});

  /// Waits, with the beat; for no time, the beat alone if it is due.
  void pause(std::chrono::milliseconds duration);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// `location` of a redirect from `url`, as an absolute URL; "" if it is neither http nor https.
std::string redirect_target(const std::string& url, const std::string& location);
/// Scheme, host and port, the same text for the same; "" if `url` is not http(s).
std::string origin_of(const std::string& url);
/// Percent-encodes all but unreserved characters and `also`.
std::string url_escaped(const std::string& text, const std::string& also = "");

}  // namespace moshi::checkpoint

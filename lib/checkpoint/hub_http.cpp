// SPDX-License-Identifier: MIT
#include "checkpoint/hub_http.h"

#include <curl/curl.h>

#include <algorithm>
#include <cctype>
#include <mutex>
#include <thread>

#include "common/error.h"

namespace moshi::checkpoint {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kBeat{100};

template <auto kFree>
struct Deleter {
  template <class Object>
  void operator()(Object* object) const {
    kFree(object);
  }
};
using Easy = std::unique_ptr<CURL, Deleter<curl_easy_cleanup>>;
using Multi = std::unique_ptr<CURLM, Deleter<curl_multi_cleanup>>;
using Headers = std::unique_ptr<curl_slist, Deleter<curl_slist_free_all>>;
using Url = std::unique_ptr<CURLU, Deleter<curl_url_cleanup>>;

void start_curl() {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

void add_header(Headers& list, const std::string& line) {
  curl_slist* longer = curl_slist_append(list.get(), line.c_str());
  if (!longer) throw std::bad_alloc();
  (void)list.release();
  list.reset(longer);
}

std::string part_of(CURLU* url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK || !text) return "";
  std::string copy = text;
  curl_free(text);
  return copy;
}

bool is_http(CURLU* url) {
  const std::string scheme = part_of(url, CURLUPART_SCHEME);
  return scheme == "http" || scheme == "https";
}

// Trying again does not change what a server or this machine is.
bool is_hopeless(CURLcode code) {
  switch (code) {
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CERTPROBLEM:
      return true;
    default:
      return false;
  }
}

/// One request in flight: what curl's callbacks fill.
struct Transfer {
  const HttpSink* sink;
  HttpResponse response;
  std::exception_ptr thrown;
};

size_t take_header(char* data, size_t, size_t bytes, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  const std::string_view line(data, bytes);
  try {
    // A new response begins: what came before was of a proxy's CONNECT, or "100 Continue".
    if (line.starts_with("HTTP/")) {
      transfer.response.headers.clear();
      const size_t space = line.find(' ');
      transfer.response.status = space == line.npos ? 0 : std::atol(data + space + 1);
      return bytes;
    }
    const size_t colon = line.find(':');
    if (colon == line.npos) return bytes;
    std::string name(line.substr(0, colon)), value(line.substr(colon + 1));
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::tolower(c); });
    value.erase(0, value.find_first_not_of(" \t"));
    value.erase(value.find_last_not_of(" \t\r\n") + 1);
    transfer.response.headers[name] = value;
    return bytes;
  } catch (...) {
    transfer.thrown = std::current_exception();
    return 0;
  }
}

size_t take_body(char* data, size_t, size_t bytes, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  const long status = transfer.response.status;
  if (!*transfer.sink || (status != 200 && status != 206)) return bytes;
  try {
    (*transfer.sink)(transfer.response, std::as_bytes(std::span(data, bytes)));
    return bytes;
  } catch (...) {
    transfer.thrown = std::current_exception();
    return 0;
  }
}

}  // namespace

std::string HttpResponse::header(const std::string& name) const {
  const auto it = headers.find(name);
  return it == headers.end() ? "" : it->second;
}

struct HttpClient::Impl {
  milliseconds connect_limit, stall_limit;
  HttpBeat beat;
  Clock::time_point last_beat = Clock::now() - kBeat;
  Multi multi;
  Easy easy;

  void keep_beat() {
    if (Clock::now() - last_beat < kBeat) return;
    last_beat = Clock::now();
    beat();
  }

  void set_up(const HttpRequest& request, curl_slist* headers, Transfer& transfer, char* error) {
    CURL* handle = easy.get();
    curl_easy_reset(handle);
    curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, error);
    curl_easy_setopt(handle, CURLOPT_URL, request.url.c_str());
    curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(handle, CURLOPT_NOBODY, request.is_head ? 1L : 0L);
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(handle, CURLOPT_USERAGENT, "gst-moshi");
    if (request.from > 0) {
      curl_easy_setopt(handle, CURLOPT_RANGE, (std::to_string(request.from) + "-").c_str());
    }
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(connect_limit.count()));
    curl_easy_setopt(handle, CURLOPT_BUFFERSIZE, 256L << 10);
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    // A name server that does not answer must not hold up a cancel.
    curl_easy_setopt(handle, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(handle, CURLOPT_HEADERDATA, &transfer);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, &transfer);
  }

  /// Drives the transfer to its end; CURLE_OPERATION_TIMEDOUT after `stall_limit` without a byte.
  CURLcode drive(Transfer& transfer) {
    auto last_byte = Clock::now();
    curl_off_t bytes_before = -1;
    for (;;) {
      int running = 0;
      if (curl_multi_perform(multi.get(), &running) != CURLM_OK) return CURLE_FAILED_INIT;
      if (transfer.thrown) std::rethrow_exception(transfer.thrown);
      int left = 0;
      while (CURLMsg* message = curl_multi_info_read(multi.get(), &left)) {
        if (message->msg == CURLMSG_DONE) return message->data.result;
      }
      keep_beat();
      curl_off_t bytes = 0;
      curl_easy_getinfo(easy.get(), CURLINFO_SIZE_DOWNLOAD_T, &bytes);
      bytes += static_cast<curl_off_t>(transfer.response.headers.size());
      if (bytes != bytes_before) last_byte = Clock::now();
      bytes_before = bytes;
      if (Clock::now() - last_byte > connect_limit + stall_limit ||
          (transfer.response.status > 0 && Clock::now() - last_byte > stall_limit)) {
        return CURLE_OPERATION_TIMEDOUT;
      }
      curl_multi_poll(multi.get(), nullptr, 0, static_cast<int>(kBeat.count()), nullptr);
    }
  }
};

HttpClient::HttpClient(milliseconds connect_limit, milliseconds stall_limit, HttpBeat beat)
    : impl_(std::make_unique<Impl>()) {
  start_curl();
  impl_->connect_limit = connect_limit;
  impl_->stall_limit = stall_limit;
  impl_->beat = std::move(beat);
  impl_->multi.reset(curl_multi_init());
  impl_->easy.reset(curl_easy_init());
  if (!impl_->multi || !impl_->easy) throw Error(MOSHI_ERR_INTERNAL, "libcurl could not be initialized");
}

HttpClient::~HttpClient() = default;

HttpResponse HttpClient::perform(const HttpRequest& request, const HttpSink& sink) {
  Headers headers;
  // The sizes and checksums are of the files, not of a compressed transfer.
  add_header(headers, "Accept-Encoding: identity");
  if (!request.bearer.empty()) add_header(headers, "Authorization: Bearer " + request.bearer);
  char error[CURL_ERROR_SIZE] = "";
  Transfer transfer{&sink, {}, nullptr};
  impl_->set_up(request, headers.get(), transfer, error);
  curl_multi_add_handle(impl_->multi.get(), impl_->easy.get());
  struct Remover {
    Impl& impl;
    ~Remover() {
      curl_multi_remove_handle(impl.multi.get(), impl.easy.get());
      curl_easy_reset(impl.easy.get());
    }
  } const remover{*impl_};
  const CURLcode code = impl_->drive(transfer);
  if (code != CURLE_OK) {
    transfer.response.failure = *error ? error : curl_easy_strerror(code);
    transfer.response.is_hopeless = is_hopeless(code);
  }
  return std::move(transfer.response);
}

void HttpClient::pause(milliseconds duration) {
  const auto end = Clock::now() + duration;
  impl_->keep_beat();
  while (Clock::now() < end) {
    impl_->keep_beat();
    std::this_thread::sleep_for(
        std::min<Clock::duration>(kBeat, std::max(end - Clock::now(), Clock::duration::zero())));
  }
}

std::string redirect_target(const std::string& url, const std::string& location) {
  const Url parsed(curl_url());
  if (curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK) return "";
  if (curl_url_set(parsed.get(), CURLUPART_URL, location.c_str(), CURLU_URLENCODE) != CURLUE_OK) return "";
  return is_http(parsed.get()) ? part_of(parsed.get(), CURLUPART_URL) : "";
}

std::string origin_of(const std::string& url) {
  const Url parsed(curl_url());
  if (curl_url_set(parsed.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK || !is_http(parsed.get())) return "";
  std::string host = part_of(parsed.get(), CURLUPART_HOST);
  std::transform(host.begin(), host.end(), host.begin(), [](unsigned char c) { return std::tolower(c); });
  return part_of(parsed.get(), CURLUPART_SCHEME) + "://" + host + ":" +
         part_of(parsed.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT);
}

std::string url_escaped(const std::string& text, const std::string& also) {
  std::string out;
  for (const unsigned char c : text) {
    if (c < 0x80 && (std::isalnum(c) || std::string_view("-._~").find(static_cast<char>(c)) != std::string_view::npos ||
                     also.find(static_cast<char>(c)) != std::string::npos)) {
      out += static_cast<char>(c);
    } else {
      out += '%';
      out += "0123456789ABCDEF"[c >> 4];
      out += "0123456789ABCDEF"[c & 15];
    }
  }
  return out;
}

}  // namespace moshi::checkpoint

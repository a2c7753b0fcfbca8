// SPDX-License-Identifier: MIT
#include "checkpoint/hub_remote.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "checkpoint/json_text.h"
#include "common/error.h"

namespace moshi::checkpoint {
namespace {

constexpr int kMostRedirects = 10;
// A hub that cannot be reached should be said so within seconds; a file half of which is here deserves more patience.
constexpr int kMostLookUpRetries = 2;

std::string find_endpoint() {
  std::string endpoint = environment_text("HF_ENDPOINT");
  if (endpoint.empty()) endpoint = "https://huggingface.co";
  while (endpoint.ends_with('/')) endpoint.pop_back();
  if (origin_of(endpoint).empty()) {
    throw Error(MOSHI_ERR_INVALID_ARGUMENT, "HF_ENDPOINT is \"" + endpoint + "\", which is not an http(s) address");
  }
  return endpoint;
}

// White space and control characters cannot be of a token, and would end the header that it is sent in.
std::string cleaned(std::string token) {
  std::erase_if(token, [](unsigned char c) { return c <= ' ' || c == 0x7f; });
  return token;
}

std::string find_token() {
  if (environment_flag("HF_HUB_DISABLE_IMPLICIT_TOKEN")) return "";
  for (const char* name : {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}) {
    if (std::string token = cleaned(environment_text(name)); !token.empty()) return token;
  }
  std::string path = environment_text("HF_TOKEN_PATH");
  path = path.empty() ? hub_home_directory() + "/token" : expand_home(path);
  try {
    return cleaned(read_text_file(path, 4096));
  } catch (const Error&) {
    return "";
  }
}

/// An ETag header without its quotes and the mark of a weak one.
std::string etag_of(std::string header) {
  if (header.starts_with("W/")) header.erase(0, 2);
  std::erase(header, '"');
  return header;
}

std::string quoted(const HubId& id, const std::string& revision) {
  return "\"" + id.repository() + "\"" + (revision == "main" ? "" : " at revision \"" + revision + "\"");
}

std::string answer_of(const HttpResponse& response) {
  if (response.status == 0) return "no answer";
  const std::string said = response.header("x-error-message");
  return "HTTP status " + std::to_string(response.status) + (said.empty() ? "" : ": " + said);
}

[[noreturn]] void refuse_access(const HubId& id, const HttpResponse& response, bool has_token) {
  const std::string page = "https://huggingface.co/" + id.repository();
  std::string sentence = "The hub does not let us read the model \"" + id.repository() + "\": ";
  if (response.header("x-error-code") == "GatedRepo") {
    sentence += "it is gated; accept its conditions at " + page + " and set HF_TOKEN to a token of that account";
  } else if (has_token) {
    sentence +=
        "the token (HF_TOKEN, or the file that hf auth login wrote) is wrong or not allowed to read it, or there "
        "is no such model; its conditions are accepted at " +
        page;
  } else {
    sentence +=
        "it is private or gated, or there is no such model; set HF_TOKEN to a token of an account that may read "
        "it (conditions are accepted at " +
        page + ")";
  }
  throw Error(MOSHI_ERR_NOT_AUTHORIZED, sentence, answer_of(response));
}

/// Throws for what is wrong with more than one file.
void check_refusal(const HubId& id, const std::string& revision, const HttpResponse& response, bool has_token) {
  if (response.status == 401 || response.status == 403) refuse_access(id, response, has_token);
  if (response.status != 404) return;
  const std::string code = response.header("x-error-code");
  if (code == "RepoNotFound") {
    throw Error(MOSHI_ERR_NOT_FOUND,
                "The hub has no model \"" + id.repository() + "\", or it is private and HF_TOKEN may not read it",
                answer_of(response));
  }
  if (code == "RevisionNotFound") {
    throw Error(MOSHI_ERR_NOT_FOUND, "The model \"" + id.repository() + "\" has no revision \"" + revision + "\"",
                answer_of(response));
  }
}

uint64_t size_of(const HttpResponse& response) {
  std::string text = response.header("x-linked-size");
  if (text.empty()) text = response.header("content-length");
  uint64_t bytes = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bytes);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw Error(MOSHI_ERR_NETWORK, "The hub does not say how large a file is: is HF_ENDPOINT a hub?",
                "X-Linked-Size or Content-Length is \"" + text + "\"");
  }
  return bytes;
}

}  // namespace

bool is_worth_another_try(const HttpResponse& response) {
  if (response.is_hopeless) return false;
  if (!response.failure.empty() || response.status == 0) return true;
  return response.status == 408 || response.status == 416 || response.status == 429 || response.status >= 500;
}

HubRemote::HubRemote(const FetchLimits& limits, HttpBeat beat)
    : limits_(limits),
      endpoint_(find_endpoint()),
      token_(find_token()),
      http_(limits.connect, limits.stall, std::move(beat)) {}

std::string HubRemote::url_of(const HubId& id, const std::string& revision, const std::string& file) const {
  return endpoint_ + "/" + id.repository() + "/resolve/" + url_escaped(revision) + "/" + url_escaped(file, "/");
}

HttpResponse HubRemote::follow(HttpRequest request, const HttpSink& sink, bool is_metadata) {
  std::string commit;
  for (int redirects = 0;; ++redirects) {
    // Whoever else a redirect leads to, a store of files mostly, must not learn the token.
    request.bearer = origin_of(request.url) == origin_of(endpoint_) ? token_ : "";
    HttpResponse response = http_.perform(request, sink);
    const std::string location = response.header("location");
    const bool is_of_the_hub = !response.header("x-repo-commit").empty();
    if (is_of_the_hub) commit = response.header("x-repo-commit");
    if (!commit.empty()) response.headers["x-repo-commit"] = commit;
    if (!response.is_redirect()) return response;
    const std::string next = redirect_target(request.url, location);
    // The hub's own answer says all about a file that lies elsewhere; within the hub, a moved repository goes on.
    const bool leads_away = origin_of(next) != origin_of(request.url) || location.find("://") != std::string::npos;
    if (is_metadata && is_of_the_hub && leads_away) return response;
    if (next.empty() || redirects == kMostRedirects ||
        (endpoint_.starts_with("https://") && !next.starts_with("https://"))) {
      response.failure = "a redirect that is not followed, to \"" + location.substr(0, 200) + "\"";
      response.is_hopeless = true;
      return response;
    }
    request.url = next;
  }
}

RemoteFile HubRemote::look_up(const HubId& id, const std::string& revision, const std::string& file) {
  HttpResponse response;
  const int retries = std::min(limits_.retries, kMostLookUpRetries);
  for (int failures = 0;; pause(failures, response)) {
    response = follow({url_of(id, revision, file), true, "", 0}, {}, true);
    if (!is_worth_another_try(response) || ++failures > retries) break;
  }
  RemoteFile found;
  found.commit = response.header("x-repo-commit");
  if (!found.commit.empty() && !is_cache_name(found.commit)) found.commit.clear();
  check_refusal(id, revision, response, !token_.empty());
  if (response.status == 404 && response.failure.empty()) return found;
  if (!response.is_success() && !response.is_redirect()) give_up(file, response, "");
  if (!response.failure.empty()) give_up(file, response, "");
  found.etag = etag_of(response.header(response.headers.count("x-linked-etag") ? "x-linked-etag" : "etag"));
  if (found.commit.empty() || !is_cache_name(found.etag)) {
    throw Error(MOSHI_ERR_NETWORK,
                "What answers at " + endpoint_ + " is not a hub: it does not say which version of \"" + file +
                    "\" of " + quoted(id, revision) + " it has; check HF_ENDPOINT and proxies",
                answer_of(response));
  }
  found.bytes = size_of(response);
  found.exists = true;
  return found;
}

HttpResponse HubRemote::get(const HubId& id, const std::string& commit, const std::string& file, uint64_t from,
                            const HttpSink& sink) {
  HttpResponse response = follow({url_of(id, commit, file), false, "", from}, sink, false);
  check_refusal(id, commit, response, !token_.empty());
  return response;
}

void HubRemote::pause(int failures, const HttpResponse& last) {
  auto duration = limits_.first_pause * (1 << std::clamp(failures - 1, 0, 16));
  const std::string asked = last.header("retry-after");
  if (!asked.empty()) duration = std::max(duration, std::chrono::milliseconds(1000) * std::atoi(asked.c_str()));
  http_.pause(std::min<std::chrono::milliseconds>(duration, limits_.longest_pause));
}

void HubRemote::give_up(const std::string& file, const HttpResponse& response, const std::string& what_is_kept) const {
  const std::string why = !response.failure.empty() ? response.failure : answer_of(response);
  throw Error(MOSHI_ERR_NETWORK, "\"" + file + "\" could not be fetched from " + endpoint_ + ": " + why + what_is_kept,
              answer_of(response));
}

}  // namespace moshi::checkpoint

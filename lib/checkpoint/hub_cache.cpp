// SPDX-License-Identifier: MIT
#include "checkpoint/hub_cache.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "checkpoint/json_text.h"
#include "common/error.h"

namespace moshi::checkpoint {
namespace {

namespace fs = std::filesystem;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

bool is_alnum(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// The hub's own rules, so that nothing of the text can leave the cache directory when it becomes a path.
bool is_plain_name(std::string_view text, std::string_view also) {
  return !text.empty() && text.size() <= 200 && is_alnum(text.front()) &&
         std::all_of(text.begin(), text.end(),
                     [&](char c) { return is_alnum(c) || also.find(c) != std::string_view::npos; }) &&
         text.find("..") == std::string_view::npos && text.find("//") == std::string_view::npos;
}

bool is_commit(std::string_view text) {
  return text.size() == 40 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::string trimmed(const std::string& text) {
  const auto begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

}  // namespace

std::optional<HubId> parse_hub_id(std::string_view text) {
  HubId id;
  const size_t at = text.find('@');
  if (at != std::string_view::npos) {
    id.revision = text.substr(at + 1);
    if (!is_plain_name(id.revision, "-_./+")) return std::nullopt;
    text = text.substr(0, at);
  }
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  id.owner = text.substr(0, slash);
  id.name = text.substr(slash + 1);
  if (!is_plain_name(id.owner, "-_.") || !is_plain_name(id.name, "-_.")) return std::nullopt;
  return id;
}

std::string expand_home(const std::string& path) {
  const std::string home = environment("HOME");
  return path.starts_with("~/") && !home.empty() ? home + path.substr(1) : path;
}

std::string hub_cache_directory() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) {
    if (const std::string cache = environment(name); !cache.empty()) return expand_home(cache);
  }
  std::string home = environment("HF_HOME");
  if (home.empty()) {
    const std::string caches = environment("XDG_CACHE_HOME");
    home = (caches.empty() ? "~/.cache" : caches) + "/huggingface";
  }
  return expand_home(home) + "/hub";
}

std::optional<std::string> find_snapshot(const HubId& id) {
  const fs::path repository = fs::path(hub_cache_directory()) / ("models--" + id.owner + "--" + id.name);
  std::string commit = id.revision;
  std::error_code ignored;
  const fs::path reference = repository / "refs" / id.revision;
  if (fs::is_regular_file(reference, ignored)) {
    commit = trimmed(read_text_file(reference.string(), 4096));
    if (!is_plain_name(commit, "-_")) {
      throw Error(MOSHI_ERR_FORMAT, "\"" + reference.string() + "\" does not hold the name of a commit");
    }
  } else if (!is_commit(commit)) {
    return std::nullopt;
  }
  const fs::path snapshot = repository / "snapshots" / commit;
  if (!fs::is_directory(snapshot, ignored)) return std::nullopt;
  return snapshot.string();
}

std::string download_command(const HubId& id, const std::string& files) {
  return "hf download " + id.repository() + (files.empty() ? "" : " " + files) +
         (id.revision == "main" ? "" : " --revision " + id.revision);
}

}  // namespace moshi::checkpoint

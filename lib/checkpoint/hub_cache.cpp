// SPDX-License-Identifier: MIT
#include "checkpoint/hub_cache.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>

#include "checkpoint/json_text.h"
#include "common/error.h"

namespace moshi::checkpoint {
namespace {

namespace fs = std::filesystem;

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
  const std::string home = environment_text("HOME");
  return path.starts_with("~/") && !home.empty() ? home + path.substr(1) : path;
}

std::string hub_home_directory() {
  std::string home = environment_text("HF_HOME");
  if (home.empty()) {
    const std::string caches = environment_text("XDG_CACHE_HOME");
    home = (caches.empty() ? "~/.cache" : caches) + "/huggingface";
  }
  return expand_home(home);
}

std::string hub_cache_directory() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) {
    if (const std::string cache = environment_text(name); !cache.empty()) return expand_home(cache);
  }
  return hub_home_directory() + "/hub";
}

std::string hub_repository_directory(const HubId& id) {
  return hub_cache_directory() + "/models--" + id.owner + "--" + id.name;
}

std::string environment_text(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

bool environment_flag(const char* name) {
  std::string value = environment_text(name);
  std::transform(value.begin(), value.end(), value.begin(), [](unsigned char c) { return std::toupper(c); });
  return value == "1" || value == "ON" || value == "YES" || value == "TRUE";
}

bool hub_offline() {
  return environment_flag(environment_text("HF_HUB_OFFLINE").empty() ? "TRANSFORMERS_OFFLINE" : "HF_HUB_OFFLINE");
}

bool is_cache_name(std::string_view text) { return is_plain_name(text, "-_."); }

namespace {

/// What the cache takes the revision for; nothing if it does not know it.
std::optional<std::string> find_commit(const HubId& id) {
  std::string commit = id.revision;
  std::error_code ignored;
  const fs::path reference = fs::path(hub_repository_directory(id)) / "refs" / id.revision;
  if (fs::is_regular_file(reference, ignored)) {
    commit = trimmed(read_text_file(reference.string(), 4096));
    if (!is_cache_name(commit)) {
      throw Error(MOSHI_ERR_FORMAT, "\"" + reference.string() + "\" does not hold the name of a commit");
    }
  } else if (!is_commit(commit)) {
    return std::nullopt;
  }
  return commit;
}

}  // namespace

std::optional<std::string> find_snapshot(const HubId& id) {
  const auto commit = find_commit(id);
  if (!commit) return std::nullopt;
  const fs::path snapshot = fs::path(hub_repository_directory(id)) / "snapshots" / *commit;
  std::error_code ignored;
  if (!fs::is_directory(snapshot, ignored)) return std::nullopt;
  return snapshot.string();
}

bool is_marked_absent(const HubId& id, const std::string& file) {
  const auto commit = find_commit(id);
  std::error_code ignored;
  return commit && fs::is_regular_file(fs::path(hub_repository_directory(id)) / ".no_exist" / *commit / file, ignored);
}

std::string download_command(const HubId& id, const std::string& files) {
  return "hf download " + id.repository() + (files.empty() ? "" : " " + files) +
         (id.revision == "main" ? "" : " --revision " + id.revision);
}

}  // namespace moshi::checkpoint

// SPDX-License-Identifier: MIT
#include "checkpoint/model_resolver.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "checkpoint/model_names.h"
#include "common/error.h"

namespace moshi::checkpoint {
namespace {

namespace fs = std::filesystem;

// A config.json from anywhere must not reach files that are not the model's.
bool stays_inside(const fs::path& name) {
  return !name.empty() && name.is_relative() && std::find(name.begin(), name.end(), "..") == name.end() &&
         name.native().find('\0') == std::string::npos && name.has_filename();
}

}  // namespace

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

bool is_directory(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

bool is_safetensors_name(const fs::path& path) {
  const std::string extension = path.extension().string();
  return extension == ".safetensors" || extension == ".sft" || extension == ".sfts";
}

std::string local_path(const std::string& text) {
  return expand_home(text.starts_with("file://") ? text.substr(7) : text);
}

std::pair<HubId, std::string> parse_hub_reference(const std::string& reference) {
  const std::string rest = reference.substr(5);
  const size_t owner_end = rest.find('/');
  const size_t name_end = owner_end == std::string::npos ? owner_end : rest.find('/', owner_end + 1);
  const auto id = parse_hub_id(rest.substr(0, name_end));
  if (!id || name_end == std::string::npos || !stays_inside(rest.substr(name_end + 1))) {
    throw Error(MOSHI_ERR_FORMAT, "\"" + reference + "\" is not of the form hf://owner/name/file");
  }
  return {*id, rest.substr(name_end + 1)};
}

std::string configured(const nlohmann::json& config, const char* key, const std::string& origin) {
  const auto it = config.find(key);
  if (it == config.end() || it->is_null()) return "";
  if (!it->is_string()) throw Error(MOSHI_ERR_FORMAT, "\"" + origin + "\": " + key + " must be a string");
  return it->get<std::string>();
}

Place Resolver::hub_place(const HubId& id) const { return {hub_.snapshot(id).value_or(""), id}; }

bool Resolver::has(const Place& place, const std::string& name) const {
  return !place.directory.empty() && is_file(place.directory / name);
}

bool Resolver::knows_absent(const Place& place, const std::string& name) const {
  return !has(place, name) && (!place.hub || hub_.absent(*place.hub, name));
}

void Resolver::add_missing(const Place& place, const std::string& name, const std::string& why, Need need) {
  if (place.hub) {
    const bool is_known = need == Need::kOptional && (knows_absent(place, name) || hub_offline());
    if (!is_known) missing_.push_back({*place.hub, name, why, need, false});
  } else if (need == Need::kRequired) {
    throw Error(MOSHI_ERR_NOT_FOUND, "There is no file \"" + (place.directory / name).string() + "\" (" + why + ")");
  }
}

std::string Resolver::hub_file(const std::string& reference, const std::string& why, Need need) {
  const auto [id, name] = parse_hub_reference(reference);
  const Place place = hub_place(id);
  if (has(place, name)) return (place.directory / name).string();
  add_missing(place, name, why, need);
  return "";
}

std::string Resolver::file(const Place& place, const std::string& reference, const std::string& why, Need need) {
  if (reference.starts_with("hf://")) return hub_file(reference, why, need);
  if (reference.starts_with("file://")) {
    const std::string path = reference.substr(7);
    if (is_file(path)) return path;
    if (need == Need::kOptional) return "";
    throw Error(MOSHI_ERR_NOT_FOUND, "There is no file \"" + path + "\" (" + why + ")");
  }
  if (!stays_inside(reference)) {
    throw Error(MOSHI_ERR_FORMAT, "\"" + reference + "\" is not a name inside of the model \"" +
                                      (place.hub ? place.hub->repository() : place.directory.string()) + "\" (" + why +
                                      ")");
  }
  if (has(place, reference)) return (place.directory / reference).string();
  add_missing(place, reference, why, need);
  return "";
}

std::string Resolver::given(const std::string& reference, const std::string& property) {
  if (reference.empty()) return "";
  if (reference.starts_with("hf://")) {
    const size_t before = missing_.size();
    std::string path = hub_file(reference, "named by the " + property + " property", Need::kRequired);
    if (missing_.size() > before) missing_.back().is_config = property == "config";
    return path;
  }
  const std::string path = local_path(reference);
  if (is_file(path)) return path;
  throw Error(MOSHI_ERR_NOT_FOUND, "There is no file \"" + path + "\", which the " + property + " property names");
}

std::string Resolver::config(const Place& place) {
  const size_t before = missing_.size();
  std::string path = file(place, kConfigName, "its configuration", Need::kOptional);
  if (missing_.size() > before) missing_.back().is_config = true;
  return path;
}

void Resolver::throw_if_missing(const std::string& usual_files) const {
  if (missing_.empty()) return;
  const auto required = std::find_if(missing_.begin(), missing_.end(),
                                     [](const MissingFile& file) { return file.need == Need::kRequired; });
  const MissingFile& first = required == missing_.end() ? missing_.front() : *required;
  std::string files;
  for (const MissingFile& file : missing_) {
    if (file.id.repository() == first.id.repository()) files += (files.empty() ? "" : " ") + file.file;
  }
  std::string sentence = "Model \"" + first.id.repository() + "\"";
  if (first.id.revision != "main") sentence += " at revision \"" + first.id.revision + "\"";
  if (hub_place(first.id).directory.empty()) {
    sentence += " is not in the Hugging Face cache \"" + hub_cache_directory() + "\"";
  } else {
    sentence += " has no file \"" + first.file + "\" in the cache (" + first.why + ")";
  }
  if (first.file == kConfigName) files = usual_files;
  const std::string command = download_command(first.id, files);
  if (hub_offline()) {
    throw Error(MOSHI_ERR_NOT_FOUND,
                sentence + ", and HF_HUB_OFFLINE forbids to fetch it: unset it, or fetch it before with: " + command);
  }
  throw Error(MOSHI_ERR_NOT_FETCHED, sentence + "; pipelines fetch it by themselves, or fetch it with: " + command);
}

}  // namespace moshi::checkpoint

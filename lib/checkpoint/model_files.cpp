// SPDX-License-Identifier: MIT
#include "checkpoint/model_files.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "checkpoint/json_text.h"
#include "checkpoint/model_names.h"
#include "checkpoint/model_resolver.h"
#include "checkpoint/safetensors.h"
#include "common/error.h"

namespace moshi::checkpoint {
namespace {

namespace fs = std::filesystem;

bool holds_mimi(const fs::path& path) {
  try {
    const auto file = SafetensorsFile::open(path.string());
    const auto it = file->tensors().lower_bound("quantizer.rvq_first.");
    return it != file->tensors().end() && it->first.starts_with("quantizer.rvq_first.");
  } catch (const Error&) {
    return false;
  }
}

std::vector<fs::path> safetensors_in(const fs::path& directory) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    if (is_safetensors_name(it->path()) && is_file(it->path())) found.push_back(it->path());
  }
  if (error) {
    throw Error(MOSHI_ERR_READ, "Cannot read the directory \"" + directory.string() + "\": " + error.message());
  }
  std::sort(found.begin(), found.end());
  return found;
}

/// The Mimi file of a directory whose config.json names none.
std::string usual_mimi(const Place& place, Resolver& resolver) {
  for (const char* name : kMimiNames) {
    if (resolver.has(place, name)) return (place.directory / name).string();
  }
  std::vector<fs::path> candidates;
  if (!place.hub || checkpoint::is_directory(place.directory)) candidates = safetensors_in(place.directory);
  // A lone file is taken as it is, so that its own error is reported when it is damaged or something else. In the cache
  // it says nothing: the others may not have been fetched.
  if (place.hub || candidates.size() > 1) {
    std::erase_if(candidates, [](const fs::path& path) { return !holds_mimi(path); });
  }
  if (candidates.size() == 1) return candidates.front().string();
  if (place.hub) {
    const bool has_other_name = resolver.knows_absent(place, kMimiNames[0]);
    const Need need = has_other_name || hub_offline() ? Need::kRequired : Need::kOptional;
    resolver.add_missing(place, kMimiNames[has_other_name], "its Mimi, which mimi_name in config.json can name", need);
    return "";
  }
  const std::string what = candidates.empty() ? " holds no Mimi weight file (\"" + std::string(kMimiNames[0]) + "\")"
                                              : " holds " + std::to_string(candidates.size()) + " Mimi weight files";
  throw Error(MOSHI_ERR_NOT_FOUND, "The model directory \"" + place.directory.string() + "\"" + what +
                                       "; name one by mimi_name in its config.json or by the weights property");
}

ModelFiles from_place(const Place& place, const std::string& weights, Resolver& resolver) {
  ModelFiles files;
  files.directory = place.directory.string();
  nlohmann::json config = nlohmann::json::object();
  // Somebody may have fetched the Mimi alone, which is enough.
  const bool is_enough = weights.empty() && resolver.has(place, kMimiNames[0]);
  if (!is_enough || resolver.has(place, kConfigName)) files.config = resolver.config(place);
  if (!resolver.missing().empty()) return files;
  if (!files.config.empty()) config = parse_json_object(read_text_file(files.config), files.config);
  const std::string mimi_name = configured(config, "mimi_name", files.config);
  const std::string mimi_config = configured(config, "mimi_config_name", files.config);
  if (!weights.empty()) {
    files.mimi_weights = weights;
  } else if (mimi_name.empty()) {
    files.mimi_weights = usual_mimi(place, resolver);
  } else {
    files.mimi_weights = resolver.file(place, mimi_name, "named by mimi_name in config.json", Need::kRequired);
  }
  if (!mimi_config.empty()) {
    files.mimi_config = resolver.file(place, mimi_config, "named by mimi_config_name in config.json", Need::kRequired);
  }
  return files;
}

/// A weight file alone. The directory around it is its model if its config.json names the file.
ModelFiles from_file(const fs::path& path, Resolver& resolver) {
  const fs::path directory = path.has_parent_path() ? path.parent_path() : fs::path(".");
  const std::string config_path = (directory / kConfigName).string();
  if (is_file(config_path)) {
    const nlohmann::json config = parse_json_object(read_text_file(config_path), config_path);
    if (configured(config, "mimi_name", config_path) == path.filename()) {
      return from_place({directory, std::nullopt}, path.string(), resolver);
    }
  }
  ModelFiles files;
  files.mimi_weights = path.string();
  return files;
}

}  // namespace

ModelFiles resolve_model(const ModelRequest& request, Resolver& resolver) {
  const std::string weights = resolver.given(request.weights, "weights");
  if (!resolver.missing().empty()) return {};
  if (request.model.empty()) {
    if (weights.empty()) throw Error(MOSHI_ERR_NOT_FOUND, kNoModel);
    return from_file(weights, resolver);
  }
  const std::string path = local_path(request.model);
  if (is_directory(path)) return from_place({path, std::nullopt}, weights, resolver);
  if (is_file(path)) {
    if (!is_safetensors_name(path)) {
      throw Error(MOSHI_ERR_FORMAT, "The model \"" + path + "\" is neither a directory nor a .safetensors file");
    }
    ModelFiles files = from_file(path, resolver);
    if (!weights.empty()) files.mimi_weights = weights;
    return files;
  }
  if (const auto id = parse_hub_id(request.model)) return from_place(resolver.hub_place(*id), weights, resolver);
  throw Error(MOSHI_ERR_NOT_FOUND, "There is no model \"" + request.model +
                                       "\": it is neither a directory, a .safetensors file nor a hub id "
                                       "(owner/name or owner/name@revision)");
}

ModelFiles find_model(const ModelRequest& request) {
  const HubView cache;
  Resolver resolver(cache);
  ModelFiles files = resolve_model(request, resolver);
  resolver.throw_if_missing(std::string(kConfigName) + " " + kMimiNames[0]);
  return files;
}

}  // namespace moshi::checkpoint

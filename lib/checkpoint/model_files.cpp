// SPDX-License-Identifier: MIT
#include "checkpoint/model_files.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "checkpoint/hub_cache.h"
#include "checkpoint/json_text.h"
#include "checkpoint/safetensors.h"
#include "common/error.h"

namespace moshi::checkpoint {
namespace {

namespace fs = std::filesystem;

// The reference's default, and the name under which the same file is also published.
constexpr const char* kMimiNames[] = {"tokenizer-e351c8d8-checkpoint125.safetensors",
                                      "mimi-pytorch-e351c8d8@125.safetensors"};

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

/// A model's directory, and where it came from for messages.
struct Place {
  fs::path directory;
  std::optional<HubId> hub;

  [[noreturn]] void not_found(const std::string& file, const std::string& why) const {
    if (hub) {
      throw Error(MOSHI_ERR_NOT_FOUND, "Model \"" + hub->repository() + "\" has no file \"" + file +
                                           "\" in the cache (" + why +
                                           "); fetch it with: " + download_command(*hub, file));
    }
    throw Error(MOSHI_ERR_NOT_FOUND, "There is no file \"" + (directory / file).string() + "\" (" + why + ")");
  }
};

Place hub_place(const HubId& id, const std::string& file) {
  if (const auto snapshot = find_snapshot(id)) return {*snapshot, id};
  throw Error(MOSHI_ERR_NOT_FOUND, "Model \"" + id.repository() + "\"" +
                                       (id.revision == "main" ? "" : " at revision \"" + id.revision + "\"") +
                                       " is not in the Hugging Face cache \"" + hub_cache_directory() +
                                       "\"; fetch it with: " + download_command(id, file));
}

// A config.json from anywhere must not reach files that are not the model's.
bool stays_inside(const fs::path& name) {
  return !name.empty() && name.is_relative() && std::find(name.begin(), name.end(), "..") == name.end() &&
         name.native().find('\0') == std::string::npos;
}

std::string resolve_hub_reference(const std::string& reference) {
  const std::string rest = reference.substr(5);
  const size_t owner_end = rest.find('/');
  const size_t name_end = owner_end == std::string::npos ? owner_end : rest.find('/', owner_end + 1);
  const auto id = parse_hub_id(rest.substr(0, name_end));
  if (!id || name_end == std::string::npos || !stays_inside(rest.substr(name_end + 1))) {
    throw Error(MOSHI_ERR_FORMAT, "\"" + reference + "\" is not of the form hf://owner/name/file");
  }
  const std::string file = rest.substr(name_end + 1);
  const Place place = hub_place(*id, file);
  if (!is_file(place.directory / file)) place.not_found(file, "named by " + reference);
  return (place.directory / file).string();
}

/// A file reference as the reference implementation reads it: hf://, file://, or a name inside of the model.
std::string resolve(const Place& place, const std::string& reference, const std::string& key) {
  if (reference.starts_with("hf://")) return resolve_hub_reference(reference);
  const std::string why = "named by " + key + " in config.json";
  if (reference.starts_with("file://")) {
    const std::string path = reference.substr(7);
    if (!is_file(path)) throw Error(MOSHI_ERR_NOT_FOUND, "There is no file \"" + path + "\" (" + why + ")");
    return path;
  }
  if (!stays_inside(reference)) {
    throw Error(MOSHI_ERR_FORMAT, "\"" + (place.directory / "config.json").string() + "\": " + key + " is \"" +
                                      reference + "\", which is not a name inside of the model");
  }
  if (!is_file(place.directory / reference)) place.not_found(reference, why);
  return (place.directory / reference).string();
}

/// A name from config.json; "" where there is none.
std::string configured(const nlohmann::json& config, const char* key, const std::string& origin) {
  const auto it = config.find(key);
  if (it == config.end() || it->is_null()) return "";
  if (!it->is_string()) throw Error(MOSHI_ERR_FORMAT, "\"" + origin + "\": " + key + " must be a string");
  return it->get<std::string>();
}

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
std::string usual_mimi(const Place& place) {
  for (const char* name : kMimiNames) {
    if (is_file(place.directory / name)) return (place.directory / name).string();
  }
  std::vector<fs::path> candidates = safetensors_in(place.directory);
  // A lone file is taken as it is, so that its own error is reported when it is damaged or something else.
  if (candidates.size() > 1) std::erase_if(candidates, [](const fs::path& path) { return !holds_mimi(path); });
  if (candidates.size() == 1) return candidates.front().string();
  if (place.hub) place.not_found(kMimiNames[0], "its Mimi");
  const std::string what = candidates.empty() ? " holds no Mimi weight file (\"" + std::string(kMimiNames[0]) + "\")"
                                              : " holds " + std::to_string(candidates.size()) + " Mimi weight files";
  throw Error(MOSHI_ERR_NOT_FOUND, "The model directory \"" + place.directory.string() + "\"" + what +
                                       "; name one by mimi_name in its config.json or by the weights property");
}

ModelFiles from_place(const Place& place, const std::string& weights) {
  ModelFiles files;
  files.directory = place.directory.string();
  nlohmann::json config = nlohmann::json::object();
  const std::string config_path = (place.directory / "config.json").string();
  if (is_file(config_path)) {
    files.config = config_path;
    config = parse_json_object(read_text_file(config_path), config_path);
  }
  const std::string mimi_name = configured(config, "mimi_name", config_path);
  const std::string mimi_config = configured(config, "mimi_config_name", config_path);
  if (!weights.empty()) {
    files.mimi_weights = weights;
  } else {
    files.mimi_weights = mimi_name.empty() ? usual_mimi(place) : resolve(place, mimi_name, "mimi_name");
  }
  if (!mimi_config.empty()) files.mimi_config = resolve(place, mimi_config, "mimi_config_name");
  return files;
}

/// A weight file alone. The directory around it is its model if its config.json names the file.
ModelFiles from_file(const fs::path& path) {
  const fs::path directory = path.has_parent_path() ? path.parent_path() : fs::path(".");
  const std::string config_path = (directory / "config.json").string();
  if (is_file(config_path)) {
    const nlohmann::json config = parse_json_object(read_text_file(config_path), config_path);
    if (configured(config, "mimi_name", config_path) == path.filename()) {
      return from_place({directory, std::nullopt}, path.string());
    }
  }
  ModelFiles files;
  files.mimi_weights = path.string();
  return files;
}

std::string find_weights(const std::string& weights) {
  if (weights.empty()) return "";
  if (weights.starts_with("hf://")) return resolve_hub_reference(weights);
  const std::string path = expand_home(weights.starts_with("file://") ? weights.substr(7) : weights);
  if (is_file(path)) return path;
  throw Error(MOSHI_ERR_NOT_FOUND, "There is no file \"" + path + "\", which the weights property names");
}

ModelFiles find_default(const std::vector<std::string>& directories) {
  std::string looked;
  for (const std::string& directory : directories) {
    if (is_directory(directory)) return from_place({directory, std::nullopt}, "");
    looked += (looked.empty() ? "" : ", ") + directory;
  }
  throw Error(MOSHI_ERR_NOT_FOUND,
              "No model is set and there is no default model: set the model property to a directory or a hub id "
              "(such as kyutai/moshiko-pytorch-bf16), or make one with random weights: moshi-random-mimi --output DIR",
              "looked in: " + looked);
}

}  // namespace

ModelFiles find_model(const ModelRequest& request) {
  const std::string weights = find_weights(request.weights);
  if (request.model.empty()) return weights.empty() ? find_default(request.default_directories) : from_file(weights);
  const std::string path = expand_home(request.model.starts_with("file://") ? request.model.substr(7) : request.model);
  if (is_directory(path)) return from_place({path, std::nullopt}, weights);
  if (is_file(path)) {
    if (!is_safetensors_name(path)) {
      throw Error(MOSHI_ERR_FORMAT, "The model \"" + path + "\" is neither a directory nor a .safetensors file");
    }
    ModelFiles files = from_file(path);
    if (!weights.empty()) files.mimi_weights = weights;
    return files;
  }
  if (const auto id = parse_hub_id(request.model)) {
    return from_place(hub_place(*id, std::string("config.json ") + kMimiNames[0]), weights);
  }
  throw Error(MOSHI_ERR_NOT_FOUND, "There is no model \"" + request.model +
                                       "\": it is neither a directory, a .safetensors file nor a hub id "
                                       "(owner/name or owner/name@revision)");
}

}  // namespace moshi::checkpoint

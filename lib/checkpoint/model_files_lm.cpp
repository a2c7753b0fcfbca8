// SPDX-License-Identifier: MIT
#include <nlohmann/json.hpp>

#include "checkpoint/json_text.h"
#include "checkpoint/model_files.h"
#include "checkpoint/model_names.h"
#include "checkpoint/model_resolver.h"
#include "common/error.h"
#include "common/log.h"

namespace moshi::checkpoint {
namespace {

namespace fs = std::filesystem;

/// A name from config.json, or its default, and why that is the name, for messages.
struct Name {
  std::string name;
  std::string why;
  bool is_configured;
};

Name name_of(const nlohmann::json& config, const std::string& origin, const char* key, const char* usual,
             const std::string& what) {
  const std::string name = configured(config, key, origin);
  if (!name.empty()) return {name, "the " + what + ", named by " + key + " in config.json", true};
  return {usual, "the " + what + "; " + key + " in config.json can name another", false};
}

nlohmann::json read_config(const std::string& path) {
  return path.empty() ? nlohmann::json::object() : parse_json_object(read_text_file(path), path);
}

Place directory_of(const fs::path& path) {
  return {path.has_parent_path() ? path.parent_path() : fs::path("."), std::nullopt};
}

/// Where the model's files are. `weights` becomes the model itself if that is a weight file.
Place place_of(const LmRequest& request, std::string& weights, const Resolver& resolver) {
  if (request.model.empty()) {
    if (weights.empty()) throw Error(MOSHI_ERR_NOT_FOUND, kNoModel);
    if (weights.starts_with("hf://")) return resolver.hub_place(parse_hub_reference(weights).first);
    return directory_of(local_path(weights));
  }
  const std::string path = local_path(request.model);
  if (is_directory(path)) return {path, std::nullopt};
  if (is_file(path)) {
    if (!is_safetensors_name(path)) {
      throw Error(MOSHI_ERR_FORMAT, "The model \"" + path + "\" is neither a directory nor a .safetensors file");
    }
    if (weights.empty()) weights = path;
    return directory_of(path);
  }
  if (const auto id = parse_hub_id(request.model)) return resolver.hub_place(*id);
  throw Error(MOSHI_ERR_NOT_FOUND, "There is no model \"" + request.model +
                                       "\": it is neither a directory, a .safetensors file nor a hub id "
                                       "(owner/name or owner/name@revision)");
}

std::string optional_file(const Place& place, const Name& name, Resolver& resolver) {
  const size_t missing_before = resolver.missing().size();
  std::string path = resolver.file(place, name.name, name.why, Need::kOptional);
  if (path.empty() && name.is_configured && resolver.missing().size() == missing_before) {
    log(MOSHI_LOG_WARNING, "checkpoint", "there is no file \"" + name.name + "\" (" + name.why + "); going on without");
  }
  return path;
}

/// The model's own codec, which tells what silence sounds like to it.
void find_mimi(const Place& place, const nlohmann::json& config, Resolver& resolver, LmFiles& files) {
  const Name name = name_of(config, files.config, "mimi_name", kMimiNames[0], "codec's weights");
  const bool has_other_name = !name.is_configured && resolver.knows_absent(place, name.name);
  const Name other{kMimiNames[1], name.why, false};
  files.mimi_weights = optional_file(place, has_other_name ? other : name, resolver);
  const std::string mimi_config = configured(config, "mimi_config_name", files.config);
  if (mimi_config.empty()) return;
  // Without its configuration the codec would be taken for the published one.
  const Name config_name{mimi_config, "the codec's configuration, named by mimi_config_name in config.json", true};
  files.mimi_config = optional_file(place, config_name, resolver);
  if (files.mimi_config.empty()) files.mimi_weights.clear();
}

}  // namespace

LmFiles resolve_language_model(const LmRequest& request, Resolver& resolver) {
  LmFiles files;
  std::string weights = request.weights;
  const Place place = place_of(request, weights, resolver);
  files.directory = place.directory.string();
  files.config = request.config.empty() ? resolver.config(place) : resolver.given(request.config, "config");
  // What is missing now is the configuration, which names the other files.
  if (!resolver.missing().empty()) return files;
  const nlohmann::json config = read_config(files.config);
  if (weights.empty()) {
    const Name name = name_of(config, files.config, "moshi_name", kMoshiName, "language model's weights");
    files.lm_weights = resolver.file(place, name.name, name.why, Need::kRequired);
  } else {
    files.lm_weights = resolver.given(weights, "weights");
  }
  if (request.tokenizer.empty()) {
    const Name name = name_of(config, files.config, "tokenizer_name", kTokenizerName, "tokenizer");
    files.tokenizer = optional_file(place, name, resolver);
  } else {
    files.tokenizer = resolver.given(request.tokenizer, "tokenizer");
  }
  const std::string lora = configured(config, "lora_name", files.config);
  if (!request.lora.empty()) {
    files.lora = resolver.given(request.lora, "lora");
  } else if (!lora.empty()) {
    files.lora = resolver.file(place, lora, "named by lora_name in config.json", Need::kRequired);
  }
  find_mimi(place, config, resolver, files);
  return files;
}

LmFiles find_language_model(const LmRequest& request) {
  const HubView cache;
  Resolver resolver(cache);
  LmFiles files = resolve_language_model(request, resolver);
  resolver.throw_if_missing("");
  return files;
}

}  // namespace moshi::checkpoint

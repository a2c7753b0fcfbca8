// SPDX-License-Identifier: MIT
#include "engine/default_model.h"

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "checkpoint/model_names.h"
#include "common/error.h"
#include "common/own_folder.h"

namespace moshi::engine {

namespace fs = std::filesystem;

std::string embedded_models(const std::string& core) {
  const fs::path places[] = {fs::path(core) / "embedded", (fs::path(core) / "../models/embedded").lexically_normal()};
  for (const fs::path& place : places) {
    std::error_code ignored;
    if (fs::is_regular_file(place / checkpoint::kConfigName, ignored)) return place.string();
  }
  throw Error(
      MOSHI_ERR_NOT_FOUND,
      "No model is set, and the embedded models are not beside the core (\"" + places[0].string() +
          "\"): install gst-moshi with its models, or set the model property, or MOSHI_DEFAULT_MODEL, to a "
          "directory or a hub id (such as kyutai/moshiko-pytorch-bf16)",
      "looked for " + std::string(checkpoint::kConfigName) + " in: " + places[0].string() + ", " + places[1].string());
}

DefaultModel default_model() {
  if (const char* chosen = std::getenv("MOSHI_DEFAULT_MODEL"); chosen && *chosen) return {chosen, false};
  return {embedded_models(own_folder().string()), true};
}

}  // namespace moshi::engine

// SPDX-License-Identifier: MIT
// Runs fetch_model() for hub_test.py: JSON lines out, one for each call of progress, then the result.
//   hub-fetch [--lm] [--model M] [--weights W] [--config C] [--tokenizer T] [--lora L] [--cancel-at BYTES]
//             [--cancel-after CALLS] [--stall-ms MS] [--retries N] [--find]
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

#include "checkpoint/hub_fetch.h"
#include "checkpoint/model_files.h"
#include "common/error.h"
#include "common/log.h"

namespace {

using moshi::checkpoint::FetchRequest;
using nlohmann::json;

struct Options {
  FetchRequest request;
  bool is_find_only = false;
  uint64_t cancel_at = UINT64_MAX;
  uint64_t cancel_after = UINT64_MAX;
};

void say(const json& line) {
  std::puts(line.dump().c_str());
  std::fflush(stdout);
}

Options parse(int argc, char** argv) {
  Options options;
  FetchRequest& request = options.request;
  request.roles = MOSHI_ROLE_ENCODE;
  request.limits.first_pause = std::chrono::milliseconds(10);
  for (int i = 1; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--lm") {
      request.roles = MOSHI_ROLE_LM;
      continue;
    }
    if (name == "--find") {
      options.is_find_only = true;
      continue;
    }
    if (++i == argc) throw std::invalid_argument(name);
    const std::string value = argv[i];
    if (name == "--model") request.model = value;
    if (name == "--weights") request.weights = value;
    if (name == "--config") request.config = value;
    if (name == "--tokenizer") request.tokenizer = value;
    if (name == "--lora") request.lora = value;
    if (name == "--cancel-at") options.cancel_at = std::stoull(value);
    if (name == "--cancel-after") options.cancel_after = std::stoull(value);
    if (name == "--stall-ms") request.limits.stall = std::chrono::milliseconds(std::stol(value));
    if (name == "--retries") request.limits.retries = std::stoi(value);
  }
  return options;
}

json find(const FetchRequest& request) {
  if (request.roles & MOSHI_ROLE_LM) {
    const auto files = moshi::checkpoint::find_language_model(
        {request.model, request.weights, request.config, request.tokenizer, request.lora});
    return {{"directory", files.directory},    {"config", files.config}, {"lm_weights", files.lm_weights},
            {"tokenizer", files.tokenizer},    {"lora", files.lora},     {"mimi_weights", files.mimi_weights},
            {"mimi_config", files.mimi_config}};
  }
  const auto files = moshi::checkpoint::find_model({request.model, request.weights});
  return {{"directory", files.directory},
          {"config", files.config},
          {"mimi_weights", files.mimi_weights},
          {"mimi_config", files.mimi_config}};
}

}  // namespace

int main(int argc, char** argv) {
  moshi::set_log([](void*, MoshiLogLevel, const char*, const char* text) { say({{"log", text}}); }, nullptr);
  try {
    const Options options = parse(argc, argv);
    uint64_t calls = 0;
    if (!options.is_find_only) {
      moshi::checkpoint::fetch_model(options.request, [&](const std::string& file, uint64_t done, uint64_t total) {
        say({{"file", file}, {"done", done}, {"total", total}});
        return done < options.cancel_at && ++calls < options.cancel_after;
      });
    }
    say({{"status", MOSHI_OK}, {"files", find(options.request)}});
    return 0;
  } catch (const moshi::Error& error) {
    say({{"status", error.status()}, {"message", error.what()}, {"detail", error.detail()}});
    return 1;
  }
}

// SPDX-License-Identifier: MIT
// moshi-random-lm: writes a language model with random weights, for tests and for trying things out without a
// download.
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "checkpoint/atomic_file.h"
#include "checkpoint/json_text.h"
#include "common/error.h"
#include "lm/random_model.h"
#include "tools/command_line.h"

namespace {

namespace tools = moshi::tools;

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kWeights = "model.safetensors";
constexpr const char* kLora = "lora.safetensors";
constexpr const char* kConfig = "config.json";

constexpr const char* kUsage =
    "Usage: moshi-random-lm --output DIR [options]\n"
    "Writes a language model with random weights, scaled so that its tokens vary, as a model directory.\n"
    "  --output DIR        the directory; made if it is not there\n"
    "  --config FILE       a model's configuration as JSON (the original Moshi 7B, of 15 GB)\n"
    "  --seed N            other weights for each N; the same ones everywhere for the same N (0)\n"
    "  --dtype TYPE        f32, bf16 or int8 (bf16)\n"
    "  --lora RANK         also writes a LoRA adapter, and a configuration that uses it\n"
    "  --tokenizer FILE    a text tokenizer to put beside it\n"
    "  --mimi FILE         a Mimi's weights to put beside it\n"
    "  --mimi-config FILE  that Mimi's configuration\n";

struct Options {
  std::string output;
  std::string config;
  std::string tokenizer;
  std::string mimi;
  std::string mimi_config;
  std::string dtype = "bf16";
  uint64_t seed = 0;
  int lora = 0;
};

Options parse(int argc, char** argv) {
  Options options;
  tools::parse_options(argc, argv, [&](const std::string& name, const std::string& value) {
    if (name == "--output") {
      options.output = value;
    } else if (name == "--config") {
      options.config = value;
    } else if (name == "--tokenizer") {
      options.tokenizer = value;
    } else if (name == "--mimi") {
      options.mimi = value;
    } else if (name == "--mimi-config") {
      options.mimi_config = value;
    } else if (name == "--dtype") {
      options.dtype = value;
    } else if (name == "--seed") {
      options.seed = tools::number<uint64_t>(name, value);
    } else if (name == "--lora") {
      options.lora = tools::number<int>(name, value);
      if (options.lora < 1 || options.lora > 65536) throw tools::UsageError("--lora must be from 1 to 65536");
    } else {
      return false;
    }
    return true;
  });
  if (options.output.empty()) throw tools::UsageError("--output is missing");
  return options;
}

moshi::lm::Storage storage_of(const std::string& name) {
  if (name == "f32") return moshi::lm::Storage::kF32;
  if (name == "bf16") return moshi::lm::Storage::kBf16;
  if (name == "int8") return moshi::lm::Storage::kInt8;
  throw tools::UsageError("--dtype must be f32, bf16 or int8, not \"" + name + "\"");
}

/// Copies a file into the directory under its own name, and names it in the configuration. Without a file the
/// configuration names none.
void place(const std::string& file, const fs::path& directory, const char* key, json& config) {
  config.erase(key);
  if (file.empty()) return;
  const fs::path name = fs::path(file).filename();
  if (name == kWeights || name == kLora || name == kConfig) {
    throw moshi::Error(MOSHI_ERR_INVALID_ARGUMENT,
                       "\"" + file + "\" cannot be put beside the model: " + name.string() + " is a name of its own");
  }
  const fs::path target = directory / name;
  std::error_code error;
  if (!fs::equivalent(file, target, error)) {
    fs::remove(target, error);
    // Not a link: what is done to one must not change the other.
    fs::copy_file(file, target, error);
    if (error) {
      throw moshi::Error(MOSHI_ERR_READ,
                         "Cannot put \"" + file + "\" into \"" + directory.string() + "\": " + error.message());
    }
  }
  config[key] = name.string();
}

void run(const Options& options) {
  using namespace moshi;
  const std::string text =
      options.config.empty() ? std::string(lm::default_config_text()) : checkpoint::read_text_file(options.config);
  json config = checkpoint::parse_json_object(text, options.config.empty() ? "default" : options.config);
  const lm::Storage storage = storage_of(options.dtype);
  config["moshi_name"] = kWeights;
  config["quantize"] = storage == lm::Storage::kInt8;
  config.erase("lora_name");
  config["lora"] = options.lora > 0;
  if (options.lora > 0) {
    config["lora_name"] = kLora;
    config["lora_rank"] = options.lora;
  }
  const lm::Config parsed = lm::parse_config(config.dump(), options.config);
  const fs::path directory(options.output);
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) throw Error(MOSHI_ERR_READ, "Cannot make the directory \"" + options.output + "\": " + error.message());
  place(options.tokenizer, directory, "tokenizer_name", config);
  place(options.mimi, directory, "mimi_name", config);
  place(options.mimi_config, directory, "mimi_config_name", config);
  const std::string weights = (directory / kWeights).string();
  lm::write_random_weights(parsed, options.seed, storage, weights);
  if (options.lora > 0) {
    lm::write_random_lora(parsed, options.seed, storage, (directory / kLora).string());
  }
  // Last, so that a directory that is cut short has no config.json that names what is not there.
  checkpoint::write_text_file((directory / kConfig).string(), config.dump(2) + "\n");
  std::printf("%s\n", weights.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  return moshi::tools::run_tool("moshi-random-lm", kUsage, argc, argv, [&] { run(parse(argc, argv)); });
}

// SPDX-License-Identifier: MIT
#include "mimi/random_model.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "checkpoint/atomic_file.h"
#include "common/error.h"
#include "mimi/random/builder.h"

namespace moshi::mimi {
namespace {

constexpr double kDefaultSeconds = 16.0;
constexpr size_t kLeastFrames = 20;  // fewer say too little about how outputs spread
constexpr const char* kWeightsName = "mimi.safetensors";
constexpr const char* kConfigName = "mimi.json";
constexpr const char* kGeneration = "1";  // of the recipe: one seed gives other weights in another

random::Signal whole_frames(const Config& config, std::span<const float> speech) {
  const auto frame = static_cast<size_t>(config.frame_samples());
  const size_t frames = speech.size() / frame;
  const bool silent = std::all_of(speech.begin(), speech.end(), [](float x) { return x == 0.0f; });
  if (frames < kLeastFrames || silent) {
    throw Error(MOSHI_ERR_INVALID_ARGUMENT, "A random Mimi is scaled on speech: at least " +
                                                std::to_string(kLeastFrames * frame) + " samples that are not all 0");
  }
  random::Signal signal(frames * frame, 1);
  std::copy_n(speech.begin(), signal.data.size(), signal.data.begin());
  return signal;
}

/// The name under which published files have a tensor.
std::string published_name(std::string name) {
  const std::pair<std::string, std::string> renames[] = {
      {".self_attn.in_projs.0.weight", ".self_attn.in_proj_weight"},
      {".self_attn.out_projs.0.weight", ".self_attn.out_proj.weight"}};
  for (const auto& [canonical, published] : renames) {
    if (name.ends_with(canonical)) return name.replace(name.size() - canonical.size(), std::string::npos, published);
  }
  return name;
}

}  // namespace

RandomModel make_random_model(const Config& config, uint64_t seed, std::span<const float> speech, int threads) {
  if (threads <= 0) threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  std::vector<float> synthetic;
  if (speech.empty()) {
    const double least = static_cast<double>(kLeastFrames * static_cast<size_t>(config.frame_samples()));
    synthetic =
        synthetic_speech(config.sample_rate, std::max(kDefaultSeconds, (least + 1.0) / config.sample_rate), seed);
    speech = synthetic;
  }
  random::Builder builder(config, seed, threads);
  builder.build(whole_frames(config, speech));
  RandomModel model{config, seed, {}};
  for (const TensorSpec& spec : expected_tensors(config)) {
    model.tensors.push_back({spec.name, spec.shape, std::move(builder.tensor(spec.name))});
  }
  return model;
}

std::string write_random_model(const std::string& directory, const RandomModel& model) {
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) throw Error(MOSHI_ERR_READ, "Cannot make the directory \"" + directory + "\": " + error.message());
  std::vector<checkpoint::F32Tensor> tensors = model.tensors;
  for (checkpoint::F32Tensor& tensor : tensors) tensor.name = published_name(std::move(tensor.name));
  const std::filesystem::path path(directory);
  const std::string weights = (path / kWeightsName).string();
  checkpoint::write_safetensors(weights, tensors,
                                {{"description", "untrained random weights for tests: not a model of speech"},
                                 {"generator", std::string("moshi-random-mimi, generation ") + kGeneration},
                                 {"seed", std::to_string(model.seed)}});
  checkpoint::write_text_file((path / kConfigName).string(), to_json(model.config));
  const nlohmann::json config = {{"mimi_name", kWeightsName}, {"mimi_config_name", kConfigName}};
  // Last, so that a directory that is cut short has no config.json that names what is not there.
  checkpoint::write_text_file((path / "config.json").string(), config.dump(2) + "\n");
  return weights;
}

MemoryWeights::MemoryWeights(const RandomModel& model) {
  for (const checkpoint::F32Tensor& tensor : model.tensors) tensors_.emplace(tensor.name, &tensor);
}

std::vector<float> MemoryWeights::read(const std::string& name) const {
  const auto it = tensors_.find(name);
  if (it == tensors_.end()) throw Error(MOSHI_ERR_INTERNAL, "A random Mimi has no tensor \"" + name + "\"");
  return it->second->data;
}

}  // namespace moshi::mimi

// SPDX-License-Identifier: MIT
#include "engine/model_source.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "checkpoint/model_files.h"
#include "common/error.h"
#include "engine/lm_source.h"
#include "mimi/checkpoint_weights.h"

namespace moshi::engine {

namespace {

std::string canonical(const std::string& path) {
  std::error_code failed;
  const auto result = std::filesystem::canonical(path, failed);
  return failed ? path : result.string();
}

}  // namespace

std::string identity_of(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) {
    throw Error(MOSHI_ERR_READ, "the weight file \"" + path + "\" cannot be examined");
  }
  return canonical(path) + "/" + std::to_string(status.st_dev) + "/" + std::to_string(status.st_ino) + "/" +
         std::to_string(status.st_size) + "/" + std::to_string(status.st_mtim.tv_sec) + "." +
         std::to_string(status.st_mtim.tv_nsec);
}

const std::string& ModelFacts::weight_file() const { return lm ? lm->file : mimi_file; }

namespace {

class FileSource final : public ModelSource {
 public:
  explicit FileSource(const checkpoint::ModelFiles& files) {
    facts_.mimi_file = std::filesystem::absolute(files.mimi_weights).string();
    facts_.model_path = files.directory.empty() ? std::filesystem::path(facts_.mimi_file).parent_path().string()
                                                : std::filesystem::absolute(files.directory).string();
    facts_.identity = identity_of(facts_.mimi_file);
    mimi_ = mimi::open_checkpoint(facts_.mimi_file, files.mimi_config);
    facts_.mimi_bytes = mimi_.file->file_bytes();
    facts_.config = mimi_.config;
  }

  const ModelFacts& facts() const override { return facts_; }
  const mimi::TensorSource& tensors() const override { return *mimi_.weights; }
  std::string sha256() const override { return mimi_.file->sha256(); }

  uint64_t weight_bytes(std::span<const mimi::Direction> directions) const override {
    // Codebooks serve both directions and are kept once for each, in the form that it reads.
    uint64_t bytes = 0;
    for (const mimi::TensorSpec& tensor : mimi::expected_tensors(facts_.config)) {
      const auto uses = std::count_if(directions.begin(), directions.end(),
                                      [&](mimi::Direction direction) { return mimi::used_by(tensor, direction); });
      bytes += static_cast<uint64_t>(uses) * static_cast<uint64_t>(tensor.elements()) * sizeof(float);
    }
    return bytes;
  }

 private:
  ModelFacts facts_;
  mimi::CheckpointMimi mimi_;
};

}  // namespace

std::shared_ptr<const ModelSource> open_model_source(const ModelRequest& request) {
  if (!request.mimi_config.empty()) {
    checkpoint::ModelFiles files;
    files.mimi_weights = request.model;
    files.mimi_config = request.mimi_config;
    return std::make_shared<FileSource>(files);
  }
  return std::make_shared<FileSource>(checkpoint::find_model({request.model, request.weights}));
}

}  // namespace moshi::engine

// SPDX-License-Identifier: MIT
#include "engine/lm_source.h"

#include <filesystem>
#include <utility>

#include "checkpoint/json_text.h"
#include "checkpoint/model_files.h"
#include "common/error.h"

namespace moshi::engine {
namespace {

std::string absolute(const std::string& path) { return path.empty() ? path : std::filesystem::absolute(path).string(); }

class FileSource final : public LmSource {
 public:
  FileSource(const checkpoint::LmFiles& files, bool lora_separate) {
    auto lm = std::make_shared<LmFacts>();
    lm->file = absolute(files.lm_weights);
    lm->lora_file = absolute(files.lora);
    lm->lora_separate = lora_separate && !files.lora.empty();
    lm->mimi_file = absolute(files.mimi_weights);
    lm->mimi_config = files.mimi_config;
    const std::string text = files.config.empty() ? "" : checkpoint::read_text_file(files.config);
    lm->config = files.config.empty() ? lm::default_config() : lm::parse_config(text, files.config);
    if (!files.tokenizer.empty()) {
      lm->tokenizer_file = absolute(files.tokenizer);
      lm->tokenizer = text::Tokenizer::open(lm->tokenizer_file);
      check_tokenizer(*lm->tokenizer, lm->config, lm->tokenizer_file);
    }
    weights_ = lm::open_weights(lm->config, lm->file, lm->lora_file);
    lm->bytes = weights_->file_bytes();

    facts_.model_path = absolute(files.directory);
    facts_.identity = identity_of(lm->file);
    // A NUL keeps fields apart: neither paths nor JSON text hold it.
    for (const std::string& part : {files.lora.empty() ? "" : identity_of(lm->lora_file), text,
                                    std::string(lm->lora_separate ? "separate" : "added")}) {
      facts_.identity += '\0';
      facts_.identity += part;
    }
    facts_.lm = std::move(lm);
  }

  const ModelFacts& facts() const override { return facts_; }
  const lm::Weights& weights() const override { return *weights_; }

 private:
  ModelFacts facts_;
  std::shared_ptr<const lm::Weights> weights_;
};

}  // namespace

void check_tokenizer(const text::Tokenizer& tokenizer, const lm::Config& config, const std::string& file) {
  const int pieces = tokenizer.size();
  const bool says_less = config.text_card_out <= config.text_card && !config.demux_second_text_stream;
  if (pieces > config.text_card || (says_less && pieces < config.text_card_out)) {
    const bool more = pieces > config.text_card;
    throw Error(MOSHI_ERR_MISMATCH, "the tokenizer \"" + file + "\" has " + std::to_string(pieces) +
                                        " pieces, but the model " + (more ? "takes " : "says ") +
                                        std::to_string(more ? config.text_card : config.text_card_out) +
                                        " text tokens: it belongs to another model");
  }
}

std::shared_ptr<const LmSource> open_lm_source(const LmRequest& request) {
  const checkpoint::LmFiles files = checkpoint::find_language_model(
      {request.model, request.weights, request.config, request.tokenizer, request.lora});
  return std::make_shared<FileSource>(files, request.lora_separate);
}

}  // namespace moshi::engine

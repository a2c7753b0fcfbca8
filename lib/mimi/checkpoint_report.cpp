// SPDX-License-Identifier: MIT
#include "mimi/checkpoint_report.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "common/error.h"

namespace moshi::mimi {
namespace {

using checkpoint::SafetensorsFile;

constexpr std::string_view kAcousticLevels = "quantizer.rvq_rest.vq.layers.";

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

std::string first_of(const std::vector<std::string>& names, size_t limit) {
  constexpr size_t kLongestName = 120;
  std::string text;
  for (size_t i = 0; i < std::min(limit, names.size()); ++i) {
    text += (i ? ", " : "") + names[i].substr(0, kLongestName);
  }
  return names.size() > limit ? text + ", ..." : text;
}

void add_part(std::string& text, const std::vector<std::string>& names, const char* what, size_t limit) {
  if (names.empty()) return;
  text += (text.empty() ? "" : "; ") + std::to_string(names.size()) + " " + what + " (" + first_of(names, limit) + ")";
}

/// A sentence about files that people take for a Mimi, or "".
std::string other_kind(const SafetensorsFile& file) {
  struct Kind {
    std::string_view part;
    const char* sentence;
  };
  constexpr Kind kKinds[] = {
      {"lora_A", "it is a LoRA adapter of a language model, not a Mimi"},
      {"self_attn.q_proj.weight",
       "it is a Mimi in the layout of Hugging Face transformers; use the one of a Moshi repository, such as "
       "tokenizer-e351c8d8-checkpoint125.safetensors of kyutai/moshiko-pytorch-bf16"},
      {"text_emb.weight", "it is a Moshi language model, not a Mimi"},
      {"depformer", "it is a Moshi language model, not a Mimi"},
      {"speaker_wavs", "it is a voice, not a Mimi"},
      {"embed_tokens.weight", "it is a language model, not a Mimi"}};
  for (const Kind& kind : kKinds) {
    for (const auto& [name, tensor] : file.tensors()) {
      if (name.find(kind.part) != std::string::npos) return kind.sentence;
    }
  }
  return "it is no Mimi";
}

}  // namespace

int codebooks_of(const SafetensorsFile& file) {
  int levels = 0;
  bool has_first = false;
  for (const auto& [name, tensor] : file.tensors()) {
    has_first = has_first || name.starts_with("quantizer.rvq_first.");
    if (!name.starts_with(kAcousticLevels)) continue;
    int level = -1;
    const char* const begin = name.data() + kAcousticLevels.size();
    const char* const end = name.data() + name.size();
    const auto parsed = std::from_chars(begin, end, level);
    if (parsed.ec == std::errc() && parsed.ptr != end && *parsed.ptr == '.' && level >= 0 && level < 1000) {
      levels = std::max(levels, level + 1);
    }
  }
  return has_first ? 1 + levels : levels;
}

bool looks_like_mimi(const SafetensorsFile& file) {
  const auto has = [&](std::string_view start) {
    const auto it = file.tensors().lower_bound(start);
    return it != file.tensors().end() && it->first.starts_with(start);
  };
  return has("quantizer.rvq_first.") && has("encoder.model.") && has("decoder.model.");
}

void CheckpointReport::wrong_shape(const std::string& name, const std::vector<int64_t>& found,
                                   const std::vector<int64_t>& wanted) {
  wrong_shape_.push_back(name + " is " + shape_text(found) + " instead of " + shape_text(wanted));
}

void CheckpointReport::finish(const Config& config) const {
  if (missing_.empty() && unexpected_.empty() && wrong_shape_.empty()) return;
  const std::string start = "\"" + file_.path() + "\" does not fit the model's configuration: ";
  std::string all;
  add_part(all, missing_, "missing", 8);
  add_part(all, unexpected_, "unexpected", 8);
  add_part(all, wrong_shape_, "of another shape", 8);
  if (!looks_like_mimi(file_)) throw Error(MOSHI_ERR_MISMATCH, start + other_kind(file_), all);
  std::string few;
  const int codebooks = codebooks_of(file_);
  if (codebooks != config.quantizer.n_q) {
    few = "it has " + std::to_string(codebooks) + " codebooks, the configuration (quantizer.n_q) " +
          std::to_string(config.quantizer.n_q);
  }
  add_part(few, missing_, "tensors missing", 2);
  add_part(few, unexpected_, "unexpected", 2);
  add_part(few, wrong_shape_, "of another shape", 2);
  throw Error(MOSHI_ERR_MISMATCH, start + few, all);
}

}  // namespace moshi::mimi

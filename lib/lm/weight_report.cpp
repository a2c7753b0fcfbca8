// SPDX-License-Identifier: MIT
#include "lm/weight_report.h"

#include <algorithm>
#include <span>
#include <string_view>
#include <utility>

#include "common/error.h"

namespace moshi::lm {
namespace {

using checkpoint::SafetensorsFile;

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

std::string first_of(const std::vector<std::string>& names, size_t limit) {
  constexpr size_t kLongest = 160;
  std::string text;
  for (size_t i = 0; i < std::min(limit, names.size()); ++i) text += (i ? ", " : "") + names[i].substr(0, kLongest);
  return names.size() > limit ? text + ", ..." : text;
}

void add_part(std::string& text, const std::vector<std::string>& names, const char* what, size_t limit) {
  if (names.empty()) return;
  text += (text.empty() ? "" : "; ") + std::to_string(names.size()) + " " + what + " (" + first_of(names, limit) + ")";
}

constexpr const char* kTakeInstead =
    "; take the one of the -pytorch-bf16 or -pytorch-q8 repository of the same model (model.safetensors)";

struct Layout {
  std::string_view part;  ///< of the name of a tensor that only such files have
  const char* sentence;
};
// The order matters: the first part that is found decides.
constexpr Layout kLayouts[] = {{"audio_embs.", "it is in the layout of MLX"},
                               {"depformer.slices.", "it is in the layout of MLX"},
                               {"depformer.0.transformer.", "it is in the layout of Candle"},
                               {"self_attn.q_proj.", "it is in the layout of Hugging Face transformers"},
                               {"embed_tokens.", "it is in the layout of Hugging Face transformers"}};
constexpr Layout kKinds[] = {{"quantizer.rvq_first.", "it is a Mimi, not a language model"},
                             {".lora_A.", "it is a LoRA adapter, not a language model"},
                             {"speaker_wavs", "it is a voice, not a language model"}};

const char* sentence_for(std::span<const Layout> table, const SafetensorsFile& file) {
  for (const Layout& layout : table) {
    for (const auto& [name, tensor] : file.tensors()) {
      if (name.find(layout.part) != std::string::npos) return layout.sentence;
    }
  }
  return nullptr;
}

}  // namespace

void refuse_other_formats(const std::string& path) {
  struct Format {
    std::string_view end;
    const char* what;
  };
  constexpr Format kFormats[] = {{".gguf", "is a GGUF file of the Rust implementation"},
                                 {".npz", "is an archive of NumPy arrays"},
                                 {".pt", "is a PyTorch pickle"},
                                 {".th", "is a PyTorch pickle"},
                                 {".pth", "is a PyTorch pickle"},
                                 {".bin", "is a PyTorch pickle"}};
  for (const Format& format : kFormats) {
    if (!path.ends_with(format.end)) continue;
    throw Error(MOSHI_ERR_NOT_SUPPORTED,
                "\"" + path + "\" " + format.what + "; weights are read from safetensors only" + kTakeInstead);
  }
}

WeightReport::WeightReport(const SafetensorsFile& file, std::string subject)
    : file_(file), subject_(std::move(subject)) {}

// The blocks of a stacked tensor come one after another.
void WeightReport::add(std::vector<std::string>& list, std::string text) {
  if (list.empty() || list.back() != text) list.push_back(std::move(text));
}

void WeightReport::wrong_shape(const std::string& name, const std::vector<int64_t>& found,
                               const std::vector<int64_t>& wanted) {
  add(wrong_shape_, name + " is " + shape_text(found) + " instead of " + shape_text(wanted));
}

void WeightReport::wrong_type(const checkpoint::Tensor& tensor, const char* wanted) {
  add(wrong_type_, tensor.name + " is " + checkpoint::dtype_name(tensor.dtype) + " instead of " + wanted);
}

void WeightReport::finish() const {
  if (missing_.empty() && unexpected_.empty() && wrong_shape_.empty() && wrong_type_.empty()) return;
  const std::string start = "\"" + file_.path() + "\" does not fit " + subject_ + ": ";
  std::string all;
  add_part(all, missing_, "missing", 8);
  add_part(all, unexpected_, "unexpected", 8);
  add_part(all, wrong_shape_, "of another shape", 8);
  add_part(all, wrong_type_, "of another type", 8);
  if (!missing_.empty() && !unexpected_.empty()) {
    if (const char* layout = sentence_for(kLayouts, file_)) {
      throw Error(MOSHI_ERR_NOT_SUPPORTED, start + layout + kTakeInstead, all);
    }
    if (!file_.tensors().contains("text_emb.weight")) {
      const char* kind = sentence_for(kKinds, file_);
      throw Error(MOSHI_ERR_MISMATCH, start + (kind ? kind : "it is no language model of this family"), all);
    }
  }
  std::string few;
  add_part(few, missing_, "tensors missing", 2);
  add_part(few, unexpected_, "unexpected", 2);
  add_part(few, wrong_shape_, "of another shape", 2);
  add_part(few, wrong_type_, "of another type", 2);
  throw Error(MOSHI_ERR_MISMATCH, start + few, all);
}

}  // namespace moshi::lm

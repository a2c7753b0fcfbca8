// SPDX-License-Identifier: MIT
#include "mimi/checkpoint_weights.h"

#include <bit>
#include <charconv>
#include <cmath>
#include <set>
#include <string_view>

#include "checkpoint/json_text.h"
#include "common/error.h"
#include "mimi/checkpoint_report.h"

namespace moshi::mimi {
namespace {

using checkpoint::Dtype;
using checkpoint::SafetensorsFile;
using checkpoint::Tensor;

struct Rename {
  std::string_view old_end;
  std::string_view new_end;
};
constexpr Rename kRenames[] = {{".self_attn.in_proj_weight", ".self_attn.in_projs.0.weight"},
                               {".self_attn.in_proj.weight", ".self_attn.in_projs.0.weight"},
                               {".self_attn.out_proj.weight", ".self_attn.out_projs.0.weight"},
                               {"._codebook.inited", "._codebook._initialized"},
                               {"._codebook.cluster_size", "._codebook.cluster_usage"},
                               {"._codebook.embed_avg", "._codebook.embedding_sum"},
                               {"._codebook.embed_sum", "._codebook.embedding_sum"},
                               {".weight_v", ".weight"}};
constexpr std::string_view kGainEnd = ".weight_g";

std::string with_end(std::string_view name, std::string_view old_end, std::string_view new_end) {
  return std::string(name.substr(0, name.size() - old_end.size())).append(new_end);
}

std::string canonical_name(std::string_view name) {
  for (const Rename& rename : kRenames) {
    if (name.ends_with(rename.old_end)) return with_end(name, rename.old_end, rename.new_end);
  }
  return std::string(name);
}

bool all_finite(const std::vector<float>& values) {
  constexpr uint32_t kExponent = 0x7f800000u;
  uint32_t bad = 0;
  for (const float value : values) bad |= (std::bit_cast<uint32_t>(value) & kExponent) == kExponent;
  return bad == 0;
}

bool is_float(Dtype dtype) {
  return dtype == Dtype::kF32 || dtype == Dtype::kF16 || dtype == Dtype::kBF16 || dtype == Dtype::kF64;
}

/// One gain for each slice of the first dimension, whichever way the ones behind it are written.
bool gain_fits(const Tensor& gain, const std::vector<int64_t>& weight_shape) {
  return !gain.shape.empty() && gain.shape.front() == weight_shape.front() && gain.elements() == weight_shape.front();
}

}  // namespace

CheckpointWeights::CheckpointWeights(std::shared_ptr<const SafetensorsFile> file, const Config& config)
    : file_(std::move(file)) {
  collect();
  CheckpointReport report(*file_);
  std::set<std::string, std::less<>> wanted;
  for (const TensorSpec& spec : expected_tensors(config)) {
    wanted.insert(spec.name);
    const auto it = entries_.find(spec.name);
    if (it == entries_.end() || !it->second.tensor) {
      report.missing(spec.name);
      continue;
    }
    const auto& [tensor, gain] = it->second;
    if (tensor->shape != spec.shape) report.wrong_shape(tensor->name, tensor->shape, spec.shape);
    if (gain && !gain_fits(*gain, spec.shape)) report.wrong_shape(gain->name, gain->shape, {spec.shape.front(), 1, 1});
    if (!gain && tensor->name.ends_with(".weight_v")) report.missing(with_end(tensor->name, "v", "g"));
  }
  for (const auto& [name, entry] : entries_) {
    if (wanted.contains(name)) continue;
    report.unexpected(entry.tensor ? entry.tensor->name : entry.gain->name);
  }
  report.finish(config);
  for (const auto& [name, entry] : entries_) {
    for (const Tensor* tensor : {entry.tensor, entry.gain}) {
      if (!tensor || is_float(tensor->dtype)) continue;
      throw Error(MOSHI_ERR_NOT_SUPPORTED, "\"" + file_->path() + "\": tensor \"" + tensor->name + "\" has type " +
                                               checkpoint::dtype_name(tensor->dtype) +
                                               "; a Mimi needs F32, F16, BF16 or F64");
    }
  }
}

void CheckpointWeights::collect() {
  for (const auto& [name, tensor] : file_->tensors()) {
    const bool is_gain = name.ends_with(kGainEnd);
    Entry& entry = entries_[is_gain ? with_end(name, kGainEnd, ".weight") : canonical_name(name)];
    const Tensor*& place = is_gain ? entry.gain : entry.tensor;
    if (place) {
      throw Error(MOSHI_ERR_MISMATCH, "\"" + file_->path() + "\" holds the same tensor twice, as \"" + place->name +
                                          "\" and as \"" + name + "\"");
    }
    place = &tensor;
  }
  for (const auto& [name, entry] : entries_) {
    if (!entry.gain || !entry.tensor || entry.tensor->name.ends_with(".weight_v")) continue;
    throw Error(MOSHI_ERR_MISMATCH, "\"" + file_->path() + "\" holds \"" + entry.gain->name +
                                        "\" of a normalized weight " + "beside \"" + entry.tensor->name +
                                        "\", which is not normalized");
  }
}

// weight = gain * direction / |direction|, for each slice of the first dimension (of transposed convolutions too).
std::vector<float> CheckpointWeights::fold(const Entry& entry) const {
  std::vector<float> weight = entry.tensor->to_f32();
  const std::vector<float> gain = entry.gain->to_f32();
  const size_t slice = weight.size() / gain.size();
  for (size_t i = 0; i < gain.size(); ++i) {
    float* const values = weight.data() + i * slice;
    double square = 0.0;
    for (size_t j = 0; j < slice; ++j) square += static_cast<double>(values[j]) * values[j];
    const auto scale = static_cast<float>(gain[i] / std::sqrt(square));
    for (size_t j = 0; j < slice; ++j) values[j] *= scale;
  }
  file_->drop(*entry.gain);
  return weight;
}

std::vector<float> CheckpointWeights::read(const std::string& name) const {
  const auto it = entries_.find(name);
  if (it == entries_.end()) {
    throw Error(MOSHI_ERR_INTERNAL,
                "\"" + file_->path() + "\" was asked for tensor \"" + name + "\", which no Mimi of this shape has");
  }
  const Entry& entry = it->second;
  std::vector<float> values = entry.gain ? fold(entry) : entry.tensor->to_f32();
  file_->drop(*entry.tensor);
  if (!all_finite(values)) {
    throw Error(MOSHI_ERR_FORMAT, "\"" + file_->path() + "\": tensor \"" + entry.tensor->name +
                                      "\" holds NaN or infinity; the file is damaged: fetch it again");
  }
  return values;
}

CheckpointMimi open_checkpoint(const std::string& weights_path, const std::string& config_path) {
  CheckpointMimi mimi;
  mimi.config =
      config_path.empty() ? default_config() : parse_config(checkpoint::read_text_file(config_path), config_path);
  mimi.file = SafetensorsFile::open(weights_path);
  if (config_path.empty()) {
    const int codebooks = codebooks_of(*mimi.file);
    // Others are left to the comparison of tensors, which says what is wrong with the file.
    if (codebooks >= 2 && codebooks <= mimi.config.quantizer.n_q) mimi.config.quantizer.n_q = codebooks;
  }
  mimi.weights = std::make_shared<CheckpointWeights>(mimi.file, mimi.config);
  return mimi;
}

}  // namespace moshi::mimi

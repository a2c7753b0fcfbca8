// SPDX-License-Identifier: MIT
#include "lm/stored_tensors.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string_view>
#include <utility>

#include "common/error.h"
#include "lm/shapes.h"

namespace moshi::lm {
namespace {

/// The two ends of a canonical name, between which the number of the block goes.
struct Blocks {
  std::string before;
  std::string after;
};

// "x.self_attn.in_proj.lora_A.weight" is the blocks "x.self_attn.in_projs.N.lora_A.weight"; "in_proj_weight" is an
// older spelling of "in_proj.weight".
std::optional<Blocks> stacked_blocks(std::string_view name) {
  for (const std::string_view attention : {".self_attn.", ".cross_attention."}) {
    const size_t at = name.rfind(attention);
    if (at == std::string_view::npos) continue;
    const std::string module(name.substr(0, at + attention.size()));
    const std::string_view rest = name.substr(module.size());
    if (rest == "in_proj_weight" || rest == "in_proj_weight_scb") {
      Blocks blocks{module, "."};
      blocks.before.append("in_projs.");
      blocks.after.append(rest.substr(8));
      return blocks;
    }
    for (const std::string_view projection : {"in_proj", "out_proj"}) {
      if (!rest.starts_with(projection) || !rest.substr(projection.size()).starts_with('.')) continue;
      return Blocks{module + std::string(projection) + "s.", std::string(rest.substr(projection.size()))};
    }
  }
  return std::nullopt;
}

}  // namespace

std::vector<int64_t> StoredTensor::whole(std::vector<int64_t> shape) const {
  if (!shape.empty()) shape[0] *= blocks;
  return shape;
}

std::span<const std::byte> StoredTensor::data() const {
  const size_t bytes = tensor->data.size() / static_cast<size_t>(blocks);
  return tensor->data.subspan(bytes * static_cast<size_t>(block), bytes);
}

std::vector<float> StoredTensor::to_f32(const std::string& path) const {
  checkpoint::Tensor part;
  part.name = tensor->name;
  part.dtype = tensor->dtype;
  part.data = data();
  std::vector<float> values = part.to_f32();
  if (!std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); })) {
    throw Error(MOSHI_ERR_FORMAT, "\"" + path + "\": tensor \"" + tensor->name +
                                      "\" holds NaN or infinity; the file is damaged: fetch it again");
  }
  return values;
}

StoredTensors::StoredTensors(std::shared_ptr<const checkpoint::SafetensorsFile> file, const Config& config)
    : file_(std::move(file)) {
  for (const auto& [name, tensor] : file_->tensors()) {
    const std::optional<Blocks> stacked = stacked_blocks(name);
    if (!stacked) {
      add(name, {&tensor, 0, 1});
      continue;
    }
    const int blocks = fused_blocks(config, name);
    for (int i = 0; i < blocks; ++i) {
      add(stacked->before + std::to_string(i) + stacked->after, {&tensor, i, blocks});
    }
  }
}

void StoredTensors::add(const std::string& name, const StoredTensor& tensor) {
  const auto [it, added] = tensors_.emplace(name, tensor);
  if (added) return;
  throw Error(MOSHI_ERR_MISMATCH, "\"" + file_->path() + "\" holds the same tensor twice, as \"" +
                                      it->second.tensor->name + "\" and as \"" + tensor.tensor->name + "\"");
}

const StoredTensor* StoredTensors::find(const std::string& name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

}  // namespace moshi::lm

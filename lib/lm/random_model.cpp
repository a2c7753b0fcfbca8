// SPDX-License-Identifier: MIT
#include "lm/random_model.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "checkpoint/safetensors_writer.h"
#include "common/error.h"
#include "common/random_numbers.h"
#include "lm/shapes.h"

namespace moshi::lm {
namespace {

using checkpoint::Dtype;

constexpr const char* kGeneration = "1";  // of the recipe: one seed gives other weights in another

/// The numbers of one tensor, row by row: mean + deviation * normal, or uniform in [low, low + span).
struct Recipe {
  std::string name;
  int64_t rows = 0;
  int64_t columns = 0;
  double mean = 0.0;
  double deviation = 0.0;
  double low = 0.0;
  double span = 0.0;

  void row(uint64_t seed, int64_t index, std::span<float> out) const {
    const RandomNumbers numbers(seed, name);
    const uint64_t first = static_cast<uint64_t>(index) * static_cast<uint64_t>(columns);
    for (size_t i = 0; i < out.size(); ++i) {
      const double value =
          span > 0.0 ? low + span * numbers.uniform(first + i) : mean + deviation * numbers.normal(first + i);
      out[i] = static_cast<float>(value);
    }
  }
};

Recipe recipe_for(const TensorSpec& spec) {
  Recipe recipe{spec.key(), spec.rows(), spec.columns()};
  const std::string_view name = spec.name;
  if (spec.kind == TensorKind::kLinear) {
    recipe.deviation = 1.5 / std::sqrt(static_cast<double>(spec.columns()));
  } else if (spec.kind == TensorKind::kTable) {
    recipe.deviation = 1.0;
  } else if (name.ends_with(".scale")) {
    recipe.low = 0.05;
    recipe.span = 0.25;
  } else if (name.ends_with(".learnt_padding")) {
    recipe.deviation = 0.2;
  } else {
    recipe.mean = name.ends_with(".bias") ? 0.0 : 1.0;
    recipe.deviation = 0.1;
  }
  return recipe;
}

/// What is written of a recipe: the numbers themselves, or one number for each row.
enum class Content { kValues, kRowScale };

/// A tensor of the file: blocks that are stacked.
struct FileTensor {
  checkpoint::TensorHead head;
  std::vector<Recipe> blocks;
  Content content = Content::kValues;
};

uint16_t to_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

float largest(std::span<const float> row) {
  float most = 0.0f;
  for (const float value : row) most = std::max(most, std::fabs(value));
  return most;
}

/// Appends a row in the element type of the file.
void append_row(std::vector<std::byte>& out, std::span<const float> row, Dtype dtype) {
  const size_t at = out.size();
  out.resize(at + row.size() * checkpoint::dtype_bytes(dtype));
  std::byte* const begin = out.data() + at;
  if (dtype == Dtype::kF32) {
    std::copy_n(reinterpret_cast<const std::byte*>(row.data()), row.size_bytes(), begin);
  } else if (dtype == Dtype::kBF16) {
    auto* const place = reinterpret_cast<uint16_t*>(begin);
    for (size_t i = 0; i < row.size(); ++i) place[i] = to_bf16(row[i]);
  } else {
    const float scale = largest(row);
    auto* const place = reinterpret_cast<int8_t*>(begin);
    for (size_t i = 0; i < row.size(); ++i) {
      place[i] = static_cast<int8_t>(scale > 0.0f ? std::nearbyint(127.0f * row[i] / scale) : 0.0f);
    }
  }
}

void write_tensor(checkpoint::SafetensorsWriter& file, const FileTensor& tensor, uint64_t seed) {
  constexpr size_t kBuffer = size_t{1} << 20;
  std::vector<std::byte> buffer;
  for (const Recipe& recipe : tensor.blocks) {
    std::vector<float> row(static_cast<size_t>(recipe.columns));
    for (int64_t i = 0; i < recipe.rows; ++i) {
      recipe.row(seed, i, row);
      if (tensor.content == Content::kRowScale) {
        const float scale = largest(row);
        append_row(buffer, {&scale, 1}, Dtype::kF32);
      } else {
        append_row(buffer, row, tensor.head.dtype);
      }
      if (buffer.size() < kBuffer) continue;
      file.write(buffer);
      buffer.clear();
    }
  }
  file.write(buffer);
}

void write_file(const std::string& path, std::vector<FileTensor> tensors, uint64_t seed) {
  std::stable_sort(tensors.begin(), tensors.end(), [](const FileTensor& a, const FileTensor& b) {
    return checkpoint::dtype_bytes(a.head.dtype) > checkpoint::dtype_bytes(b.head.dtype);
  });
  std::vector<checkpoint::TensorHead> heads;
  for (const FileTensor& tensor : tensors) heads.push_back(tensor.head);
  checkpoint::SafetensorsWriter file(path, heads,
                                     {{"description", "untrained random weights for tests: not a model of speech"},
                                      {"generator", std::string("moshi-random-lm, generation ") + kGeneration},
                                      {"seed", std::to_string(seed)}});
  for (const FileTensor& tensor : tensors) write_tensor(file, tensor, seed);
  file.commit();
}

class FileTensors {
 public:
  /// Adds a block to the tensor `name`, which is made if it is not the last one.
  void add(const std::string& name, Dtype dtype, std::vector<int64_t> shape, Recipe recipe, Content content) {
    if (list_.empty() || list_.back().head.name != name) {
      list_.push_back({{name, dtype, std::move(shape)}, {}, content});
    } else {
      list_.back().head.shape[0] += shape[0];
    }
    list_.back().blocks.push_back(std::move(recipe));
  }

  /// Behind all others: blocks of both kinds come in turns.
  void append(FileTensors&& other) { list_.insert(list_.end(), other.list_.begin(), other.list_.end()); }
  std::vector<FileTensor> take() { return std::move(list_); }

 private:
  std::vector<FileTensor> list_;
};

/// The name on disk of a linear layer's weight.
std::string weight_name(const std::string& fused) {
  return fused.ends_with("in_proj") ? fused + "_weight" : fused + ".weight";
}

}  // namespace

void write_random_weights(const Config& config, uint64_t seed, Storage storage, const std::string& path) {
  if (storage == Storage::kInt8 && config.bias_proj) {
    throw Error(MOSHI_ERR_NOT_SUPPORTED, "A model whose linear layers have biases (bias_proj) has no int8 layout");
  }
  const Dtype floats = storage == Storage::kF32 ? Dtype::kF32 : Dtype::kBF16;
  FileTensors values;
  FileTensors scales;
  for (const TensorSpec& spec : expected_tensors(config)) {
    const Recipe recipe = recipe_for(spec);
    const bool condition = spec.name.starts_with("condition_provider.");
    if (spec.kind != TensorKind::kLinear) {
      values.add(spec.key(), condition ? Dtype::kF32 : floats, spec.shape, recipe, Content::kValues);
      continue;
    }
    const std::string name = weight_name(fused_name(spec.name).name);
    if (storage == Storage::kInt8) {
      values.add(name, Dtype::kI8, spec.shape, recipe, Content::kValues);
      scales.add(name + "_scb", Dtype::kF32, {spec.rows()}, recipe, Content::kRowScale);
    } else {
      values.add(name, condition ? Dtype::kF32 : floats, spec.shape, recipe, Content::kValues);
    }
  }
  values.append(std::move(scales));
  write_file(path, values.take(), seed);
}

void write_random_lora(const Config& config, uint64_t seed, Storage storage, const std::string& path) {
  const Dtype dtype = storage == Storage::kF32 ? Dtype::kF32 : Dtype::kBF16;
  const auto rank = static_cast<int64_t>(config.lora_rank);
  FileTensors downs;
  FileTensors ups;
  for (const TensorSpec& spec : expected_tensors(config)) {
    if (spec.kind != TensorKind::kLinear) continue;
    const std::string fused = fused_name(spec.name).name;
    Recipe down{spec.name + ".lora_A.weight", rank, spec.columns()};
    down.deviation = 1.0 / std::sqrt(static_cast<double>(spec.columns()));
    Recipe up{spec.name + ".lora_B.weight", spec.rows(), rank};
    up.deviation = 0.3 / std::sqrt(static_cast<double>(rank));
    downs.add(fused + ".lora_A.weight", dtype, {down.rows, down.columns}, down, Content::kValues);
    ups.add(fused + ".lora_B.weight", dtype, {up.rows, up.columns}, up, Content::kValues);
  }
  downs.append(std::move(ups));
  write_file(path, downs.take(), seed);
}

}  // namespace moshi::lm

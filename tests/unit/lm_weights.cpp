// SPDX-License-Identifier: MIT
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "checkpoint/safetensors_writer.h"
#include "half_file.h"
#include "lm/random_model.h"
#include "lm/shapes.h"
#include "lm/weights.h"
#include "temp_dir.h"

namespace {

using moshi::checkpoint::Dtype;
using moshi::checkpoint::SafetensorsFile;
using moshi::checkpoint::TensorHead;
using moshi::lm::Config;
using moshi::lm::Element;
using moshi::lm::Linear;
using moshi::lm::Matrix;
using moshi::lm::open_weights;
using moshi::lm::Storage;
using moshi::lm::Weights;
using nlohmann::json;

json small_json() {
  return {{"n_q", 3},
          {"dep_q", 2},
          {"delays", {0, 0, 1, 0}},
          {"card", 10},
          {"text_card", 12},
          {"dim", 16},
          {"num_heads", 2},
          {"num_layers", 2},
          {"context", 8},
          {"norm", "rms_norm_f32"},
          {"gating", "silu"},
          {"depformer_dim", 8},
          {"depformer_num_heads", 2},
          {"depformer_multi_linear", true},
          {"depformer_weights_per_step", true},
          {"lora", true},
          {"lora_rank", 3},
          {"conditioners", {{"mood", {{"type", "lut"}, {"lut", {{"n_bins", 4}, {"dim", 6}, {"tokenizer", "noop"}}}}}}}};
}

Config small(const json& changes = json::object()) {
  json config = small_json();
  config.update(changes);
  return moshi::lm::parse_config(config.dump(), "small");
}

std::vector<float> values(const Matrix& matrix) {
  moshi::checkpoint::Tensor tensor;
  tensor.dtype = matrix.element == Element::kF32    ? Dtype::kF32
                 : matrix.element == Element::kBf16 ? Dtype::kBF16
                                                    : Dtype::kF16;
  const size_t count = static_cast<size_t>(matrix.rows) * static_cast<size_t>(matrix.columns);
  if (matrix.element == Element::kInt8) {
    std::vector<float> result(count);
    for (size_t i = 0; i < count; ++i) {
      const auto q = static_cast<int8_t>(matrix.data[i]);
      result[i] = static_cast<float>(q) * matrix.row_scale[i / static_cast<size_t>(matrix.columns)] / 127.0f;
    }
    return result;
  }
  tensor.data = {matrix.data, count * (matrix.element == Element::kF32 ? 4 : 2)};
  return tensor.to_f32();
}

/// A weight file in memory, to be changed and written again.
struct Editable {
  struct Entry {
    TensorHead head;
    std::vector<std::byte> data;
  };
  std::vector<Entry> entries;

  explicit Editable(const std::string& path) {
    const auto file = SafetensorsFile::open(path);
    for (const auto& [name, tensor] : file->tensors()) {
      entries.push_back({{name, tensor.dtype, tensor.shape}, {tensor.data.begin(), tensor.data.end()}});
    }
  }
  Entry& at(const std::string& name) {
    return *std::find_if(entries.begin(), entries.end(), [&](const Entry& e) { return e.head.name == name; });
  }
  void erase(const std::string& name) {
    std::erase_if(entries, [&](const Entry& e) { return e.head.name == name; });
  }
  void write(const std::string& path) {
    std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
      return dtype_bytes(a.head.dtype) > dtype_bytes(b.head.dtype);
    });
    std::vector<TensorHead> heads;
    for (const Entry& entry : entries) heads.push_back(entry.head);
    moshi::checkpoint::SafetensorsWriter file(path, heads, {});
    for (const Entry& entry : entries) file.write(entry.data);
    file.commit();
  }
};

class LmWeights : public testing::Test {
 protected:
  LmWeights() {
    moshi::lm::write_random_weights(config, 1, Storage::kF32, path);
    moshi::lm::write_random_lora(config, 1, Storage::kF32, lora);
  }
  void refused(MoshiStatus status, const std::string& part, const std::string& lora_path = "") const {
    expect_error(status, part, [&] { open_weights(config, path, lora_path); });
  }

  TempDir dir;
  Config config = small();
  std::string path = dir / "model.safetensors";
  std::string lora = dir / "lora.safetensors";
};

TEST_F(LmWeights, HasEveryTensorInItsShape) {
  const auto weights = open_weights(config, path, "");
  for (const auto& spec : moshi::lm::expected_tensors(config)) {
    ASSERT_TRUE(weights->has(spec.name)) << spec.name;
    if (spec.kind == moshi::lm::TensorKind::kVector) {
      EXPECT_EQ(weights->vector(spec.name).size(), static_cast<size_t>(spec.elements())) << spec.name;
      continue;
    }
    const bool linear = spec.kind == moshi::lm::TensorKind::kLinear;
    const Matrix matrix = linear ? weights->linear(spec.name).weight : weights->table(spec.name);
    EXPECT_EQ(matrix.rows, spec.shape[0]) << spec.name;
    EXPECT_EQ(matrix.columns, spec.shape[1]) << spec.name;
  }
  EXPECT_FALSE(weights->has("text_linear.bias"));
  EXPECT_FALSE(weights->linear("text_linear").has_lora());
  EXPECT_EQ(weights->file_bytes(), std::filesystem::file_size(path));
  EXPECT_EQ(weights->sha256({}).size(), 64u);
  expect_error(MOSHI_ERR_MISMATCH, "linears.9", [&] { weights->linear("linears.9"); });
  expect_error(MOSHI_ERR_MISMATCH, "emb.0", [&] { weights->linear("emb.0"); });
}

TEST_F(LmWeights, NumbersAreScaledAsTheRecipeSays) {
  const auto weights = open_weights(config, path, lora);
  const auto deviation = [](const std::vector<float>& x) {
    double sum = 0.0;
    for (const float value : x) sum += static_cast<double>(value) * value;
    return std::sqrt(sum / static_cast<double>(x.size()));
  };
  const Linear linear = weights->linear("transformer.layers.0.self_attn.in_projs.0");
  EXPECT_NEAR(deviation(values(linear.weight)), 1.5 / 4.0, 0.03);
  EXPECT_NEAR(deviation(values(linear.down)), 1.0 / 4.0, 0.06);
  EXPECT_NEAR(deviation(values(weights->table("emb.0"))), 1.0, 0.15);
  EXPECT_NE(values(weights->table("emb.0")), values(weights->table("emb.1")));
}

TEST_F(LmWeights, SplitNamesMeanTheStackedBlocks) {
  Editable file(path);
  for (const char* name :
       {"depformer.layers.1.self_attn.in_proj_weight", "depformer.layers.1.self_attn.out_proj.weight"}) {
    const Editable::Entry whole = file.at(name);
    file.erase(name);
    const std::string kind = std::string(name).find("in_proj") != std::string::npos ? "in_projs." : "out_projs.";
    for (size_t i = 0; i < 2; ++i) {
      Editable::Entry part = whole;
      part.head.name = "depformer.layers.1.self_attn." + kind + std::to_string(i) + ".weight";
      part.head.shape[0] /= 2;
      const size_t half = whole.data.size() / 2;
      part.data.assign(whole.data.begin() + static_cast<ptrdiff_t>(i * half),
                       whole.data.begin() + static_cast<ptrdiff_t>((i + 1) * half));
      file.entries.push_back(part);
    }
  }
  file.at("depformer.layers.0.self_attn.in_proj_weight").head.name = "depformer.layers.0.self_attn.in_proj.weight";
  file.write(dir / "split.safetensors");
  const auto fused = open_weights(config, path, "");
  const auto split = open_weights(config, dir / "split.safetensors", "");
  for (const auto& spec : moshi::lm::expected_tensors(config)) {
    if (spec.kind != moshi::lm::TensorKind::kLinear) continue;
    EXPECT_EQ(values(fused->linear(spec.name).weight), values(split->linear(spec.name).weight)) << spec.name;
  }
  EXPECT_NE(values(fused->linear("depformer.layers.1.self_attn.in_projs.0").weight),
            values(fused->linear("depformer.layers.1.self_attn.in_projs.1").weight));
}

TEST_F(LmWeights, OtherElementTypesAreTheSameModelRounded) {
  const auto exact = open_weights(config, path, "");
  moshi::lm::write_random_weights(config, 1, Storage::kBf16, dir / "bf16.safetensors");
  moshi::lm::write_random_weights(config, 1, Storage::kInt8, dir / "int8.safetensors");
  const auto bf16 = open_weights(config, dir / "bf16.safetensors", "");
  const auto int8 = open_weights(config, dir / "int8.safetensors", "");
  for (const char* name :
       {"depformer.layers.1.self_attn.in_projs.1", "depformer.layers.0.gating.1.linear_out",
        "transformer.layers.0.gating.linear_in", "linears.1", "condition_provider.conditioners.mood.output_proj"}) {
    const std::vector<float> wanted = values(exact->linear(name).weight);
    const std::vector<float> rounded = values(bf16->linear(name).weight);
    const Matrix quantized = int8->linear(name).weight;
    ASSERT_EQ(quantized.element, Element::kInt8) << name;
    const std::vector<float> steps = values(quantized);
    for (size_t i = 0; i < wanted.size(); ++i) {
      EXPECT_NEAR(rounded[i], wanted[i], std::fabs(wanted[i]) / 256.0) << name;
      const float scale = quantized.row_scale[i / static_cast<size_t>(quantized.columns)];
      EXPECT_NEAR(steps[i], wanted[i], 0.51 * scale / 127.0) << name;
    }
  }
  EXPECT_EQ(int8->table("text_emb").element, Element::kBf16);
}

TEST_F(LmWeights, HalfPrecisionIsTheSameModelWidened) {
  const std::string half = dir / "half.safetensors", wide = dir / "wide.safetensors";
  const auto exact = SafetensorsFile::open(path);
  const auto rounded = moshi::test::write_halves(*exact, half);
  std::vector<moshi::checkpoint::F32Tensor> tensors;
  for (const auto& [name, tensor] : exact->tensors()) tensors.push_back({name, tensor.shape, rounded.at(name)});
  moshi::checkpoint::write_safetensors(wide, tensors, {});
  const auto stored = open_weights(config, half, ""), widened = open_weights(config, wide, "");
  for (const moshi::lm::TensorSpec& spec : moshi::lm::expected_tensors(config)) {
    if (spec.kind == moshi::lm::TensorKind::kLinear) {
      const Matrix matrix = stored->linear(spec.name).weight;
      EXPECT_EQ(matrix.element, Element::kF16) << spec.name;
      EXPECT_EQ(values(matrix), values(widened->linear(spec.name).weight)) << spec.name;
    } else if (spec.kind == moshi::lm::TensorKind::kVector) {
      EXPECT_EQ(stored->vector(spec.name), widened->vector(spec.name)) << spec.name;
    } else {
      EXPECT_EQ(values(stored->table(spec.name)), values(widened->table(spec.name))) << spec.name;
    }
  }
}

TEST_F(LmWeights, LoraIsFoundForEveryLinearLayer) {
  const auto weights = open_weights(config, path, lora);
  for (const auto& spec : moshi::lm::expected_tensors(config)) {
    if (spec.kind != moshi::lm::TensorKind::kLinear) continue;
    const Linear linear = weights->linear(spec.name);
    ASSERT_TRUE(linear.has_lora()) << spec.name;
    EXPECT_EQ(linear.down.rows, 3);
    EXPECT_EQ(linear.down.columns, linear.weight.columns);
    EXPECT_EQ(linear.up.rows, linear.weight.rows);
    EXPECT_EQ(linear.up.columns, 3);
    EXPECT_EQ(linear.scaling, 2.0f);
  }
  EXPECT_NE(values(weights->linear("depformer.layers.0.self_attn.out_projs.0").down),
            values(weights->linear("depformer.layers.0.self_attn.out_projs.1").down));
  weights->drop(weights->linear("linears.0").down);
  EXPECT_TRUE(std::isfinite(values(weights->linear("linears.0").down)[0]));
}

TEST_F(LmWeights, RefusesAnotherModelsLora) {
  moshi::lm::write_random_lora(small({{"dim", 32}}), 1, Storage::kF32, lora);
  refused(MOSHI_ERR_MISMATCH, "lora_A.weight is [3, 32] instead of [3, 16]", lora);
  moshi::lm::write_random_lora(small({{"lora_rank", 4}}), 1, Storage::kF32, lora);
  refused(MOSHI_ERR_MISMATCH, "instead of [3,", lora);
  moshi::lm::write_random_lora(small({{"extra_heads_num_heads", 1}}), 1, Storage::kF32, lora);
  refused(MOSHI_ERR_MISMATCH, "extra_heads.0.lora_A.weight", lora);
  refused(MOSHI_ERR_MISMATCH, "missing", path);
}

TEST_F(LmWeights, RefusesHalfALora) {
  Editable file(lora);
  file.erase("text_linear.lora_B.weight");
  file.write(lora);
  refused(MOSHI_ERR_MISMATCH, "text_linear.lora_B.weight", lora);
}

TEST_F(LmWeights, RefusesALoraThatCannotBeApplied) {
  config.lora = false;
  refused(MOSHI_ERR_MISMATCH, "lora", lora);
  config.lora = true;
  moshi::lm::write_random_weights(config, 1, Storage::kInt8, path);
  refused(MOSHI_ERR_NOT_SUPPORTED, "int8", lora);
}

TEST_F(LmWeights, RefusesMissingTensors) {
  Editable file(path);
  file.erase("out_norm.alpha");
  file.write(path);
  refused(MOSHI_ERR_MISMATCH, "1 tensors missing (out_norm.alpha)");
}

TEST_F(LmWeights, RefusesUnexpectedTensors) {
  Editable file(path);
  Editable::Entry extra = file.at("out_norm.alpha");
  extra.head.name = "emb.3.weight";
  file.entries.push_back(extra);
  file.write(path);
  refused(MOSHI_ERR_MISMATCH, "1 unexpected (emb.3.weight)");
}

TEST_F(LmWeights, RefusesOtherShapes) {
  config.text_card = 13;
  refused(MOSHI_ERR_MISMATCH, "text_emb.weight is [13, 16] instead of [14, 16]");
}

TEST_F(LmWeights, RefusesTheSameTensorTwice) {
  Editable file(path);
  Editable::Entry again = file.at("transformer.layers.0.self_attn.in_proj_weight");
  again.head.name = "transformer.layers.0.self_attn.in_projs.0.weight";
  file.entries.push_back(again);
  file.write(path);
  refused(MOSHI_ERR_MISMATCH, "twice");
}

TEST_F(LmWeights, RefusesTruncatedFiles) {
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 4);
  refused(MOSHI_ERR_FORMAT, path);
  std::filesystem::remove(path);
  refused(MOSHI_ERR_NOT_FOUND, path);
}

TEST_F(LmWeights, RefusesQuantizedLayersWithoutScales) {
  moshi::lm::write_random_weights(config, 1, Storage::kInt8, path);
  Editable file(path);
  file.erase("text_linear.weight_scb");
  file.write(path);
  refused(MOSHI_ERR_MISMATCH, "text_linear.weight_scb");
}

TEST_F(LmWeights, RefusesIntegersWhereFloatsBelong) {
  Editable file(path);
  file.at("emb.0.weight").head.dtype = Dtype::kI32;
  file.write(path);
  refused(MOSHI_ERR_MISMATCH, "emb.0.weight is I32");
}

TEST_F(LmWeights, RefusesVectorsThatAreNotFinite) {
  Editable file(path);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(file.at("out_norm.alpha").data.data(), &nan, sizeof nan);
  file.write(path);
  const auto weights = open_weights(config, path, "");
  expect_error(MOSHI_ERR_FORMAT, "out_norm.alpha", [&] { weights->vector("out_norm.alpha"); });
}

TEST_F(LmWeights, SaysWhatOtherFilesAre) {
  path = lora;
  refused(MOSHI_ERR_MISMATCH, "LoRA adapter, not");
}

TEST_F(LmWeights, IgnoresAVoicesCodec) {
  Editable file(path);
  Editable::Entry extra = file.at("out_norm.alpha");
  extra.head.name = "condition_provider.conditioners.mood.compression_model.encoder.model.0.conv.conv.weight";
  file.entries.push_back(extra);
  file.write(path);
  EXPECT_TRUE(open_weights(config, path, "")->has("out_norm.alpha"));
}

// The reference has this projection, but its own file may lack what nothing reads.
TEST_F(LmWeights, WhatNothingReadsMayBeMissing) {
  config = small({{"depformer_low_rank_embeddings", 4}, {"demux_second_stream", true}});
  moshi::lm::write_random_weights(config, 1, Storage::kF32, path);
  EXPECT_TRUE(open_weights(config, path, "")->has("depformer_text_emb.low_rank"));
  Editable file(path);
  file.erase("depformer_text_emb.low_rank.weight");
  file.write(path);
  EXPECT_FALSE(open_weights(config, path, "")->has("depformer_text_emb.low_rank"));
  file.erase("depformer_text_emb.out2.weight");
  file.write(path);
  refused(MOSHI_ERR_MISMATCH, "depformer_text_emb.out2.weight");
}

TEST(LmWeightFiles, OtherFormatsAreNamed) {
  TempDir dir;
  const std::string gguf = dir.write("model.q8.gguf", "GGUF");
  expect_error(MOSHI_ERR_NOT_SUPPORTED, "pytorch-bf16", [&] { open_weights(small(), gguf, ""); });
  const std::string other = dir / "other.safetensors";
  moshi::checkpoint::write_safetensors(other, {{"audio_embs.0.weight", {1}, {0.0f}}}, {});
  expect_error(MOSHI_ERR_NOT_SUPPORTED, "MLX", [&] { open_weights(small(), other, ""); });
  moshi::checkpoint::write_safetensors(other, {{"depformer.0.transformer.layers.0.norm1.alpha", {1}, {0.0f}}}, {});
  expect_error(MOSHI_ERR_NOT_SUPPORTED, "Candle", [&] { open_weights(small(), other, ""); });
  moshi::checkpoint::write_safetensors(other, {{"quantizer.rvq_first.input_proj.weight", {1}, {0.0f}}}, {});
  expect_error(MOSHI_ERR_MISMATCH, "Mimi", [&] { open_weights(small(), other, ""); });
}

TEST(LmRandomModel, DependsOnTheSeedAlone) {
  TempDir dir;
  const auto hash = [&](uint64_t seed) {
    moshi::lm::write_random_weights(small(), seed, Storage::kBf16, dir / "x.safetensors");
    const auto weights = open_weights(small(), dir / "x.safetensors", "");
    return values(weights->table("text_emb"));
  };
  EXPECT_EQ(hash(1), hash(1));
  EXPECT_NE(hash(1), hash(2));
}

TEST(LmRandomModel, BiasesHaveNoInt8Layout) {
  TempDir dir;
  expect_error(MOSHI_ERR_NOT_SUPPORTED, "bias_proj", [&] {
    moshi::lm::write_random_weights(small({{"bias_proj", true}}), 1, Storage::kInt8, dir / "x.safetensors");
  });
}

}  // namespace

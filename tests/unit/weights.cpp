// SPDX-License-Identifier: MIT
#include "mimi/weights.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <set>

#include "half_file.h"
#include "mimi/checkpoint_weights.h"
#include "temp_dir.h"

namespace {

using moshi::checkpoint::F32Tensor;
using moshi::checkpoint::SafetensorsFile;
using moshi::mimi::Config;
using moshi::mimi::Direction;
using moshi::mimi::TensorSpec;

Config small_config() {
  return moshi::mimi::parse_config(R"({"frame_rate": 12.5,
    "seanet": {"dimension": 8, "n_filters": 2},
    "transformer": {"d_model": 8, "num_heads": 2, "num_layers": 1, "dim_feedforward": 12},
    "quantizer": {"dimension": 4, "n_q": 3, "bins": 6}})",
                                   "small");
}

std::vector<F32Tensor> tensors_of(const Config& config) {
  std::vector<F32Tensor> tensors;
  float value = 0.0f;
  for (const TensorSpec& spec : moshi::mimi::expected_tensors(config)) {
    F32Tensor tensor{spec.name, spec.shape, std::vector<float>(spec.elements())};
    for (float& x : tensor.data) x = value += 0.25f;
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

F32Tensor& named(std::vector<F32Tensor>& tensors, const std::string& name) {
  for (F32Tensor& tensor : tensors) {
    if (tensor.name == name) return tensor;
  }
  throw std::runtime_error("no tensor " + name);
}

class Weights : public ::testing::Test {
 protected:
  std::string write(const std::vector<F32Tensor>& tensors) {
    const std::string path = dir_ / "mimi.safetensors";
    moshi::checkpoint::write_safetensors(path, tensors, {});
    return path;
  }
  moshi::mimi::CheckpointWeights open(const std::vector<F32Tensor>& tensors) {
    return {SafetensorsFile::open(write(tensors)), config_};
  }
  void refused(const std::vector<F32Tensor>& tensors, const std::string& part) {
    expect_error(MOSHI_ERR_MISMATCH, part, [&] { open(tensors); });
  }
  TempDir dir_;
  Config config_ = small_config();
  std::vector<F32Tensor> tensors_ = tensors_of(config_);
};

std::string shape_of(const std::vector<TensorSpec>& specs, const std::string& name) {
  for (const TensorSpec& spec : specs) {
    if (spec.name != name) continue;
    std::string text;
    for (const int64_t size : spec.shape) text += (text.empty() ? "" : "x") + std::to_string(size);
    return text;
  }
  return "absent";
}

TEST(ExpectedTensors, DefaultModel) {
  const auto specs = moshi::mimi::expected_tensors(moshi::mimi::default_config());
  EXPECT_EQ(specs.size(), 318u);
  int64_t elements = 0;
  std::set<std::string> names;
  for (const TensorSpec& spec : specs) {
    elements += spec.elements();
    EXPECT_TRUE(names.insert(spec.name).second) << spec.name;
  }
  EXPECT_EQ(elements, 96151393);
  EXPECT_EQ(shape_of(specs, "encoder.model.12.conv.conv.weight"), "1024x512x16");
  EXPECT_EQ(shape_of(specs, "decoder.model.2.convtr.convtr.weight"), "1024x512x16");
  EXPECT_EQ(shape_of(specs, "decoder.model.14.conv.conv.weight"), "1x64x3");
  EXPECT_EQ(shape_of(specs, "decoder_transformer.transformer.layers.7.self_attn.in_projs.0.weight"), "1536x512");
  EXPECT_EQ(shape_of(specs, "quantizer.rvq_rest.vq.layers.30._codebook.embedding_sum"), "2048x256");
  EXPECT_EQ(shape_of(specs, "upsample.convtr.convtr.convtr.weight"), "512x1x4");
  EXPECT_EQ(specs.front().name, "encoder.model.0.conv.conv.weight");
  EXPECT_EQ(specs.back().name, "decoder.model.14.conv.conv.bias");
}

TEST(ExpectedTensors, OtherShapes) {
  const Config config = moshi::mimi::parse_config(R"({"frame_rate": 300,
    "seanet": {"dimension": 24, "n_filters": 6, "n_residual_layers": 2, "ratios": [5, 4, 2], "true_skip": false,
               "compress": 3},
    "transformer": {"d_model": 32, "num_heads": 4, "num_layers": 1, "layer_scale": null, "dim_feedforward": 48},
    "quantizer": {"dimension": 16, "n_q": 2, "bins": 100}})",
                                                  "x");
  const auto specs = moshi::mimi::expected_tensors(config);
  EXPECT_EQ(shape_of(specs, "encoder.model.2.block.1.conv.conv.weight"), "2x6x3");
  EXPECT_EQ(shape_of(specs, "encoder.model.2.shortcut.conv.conv.weight"), "6x6x1");
  EXPECT_EQ(shape_of(specs, "encoder.model.4.conv.conv.weight"), "12x6x4");
  EXPECT_EQ(shape_of(specs, "decoder.model.10.convtr.convtr.weight"), "12x6x4");
  EXPECT_EQ(shape_of(specs, "decoder_transformer.input_proj.weight"), "32x24");
  EXPECT_EQ(shape_of(specs, "encoder_transformer.output_projs.0.weight"), "24x32");
  EXPECT_EQ(shape_of(specs, "encoder_transformer.transformer.layers.0.layer_scale_1.scale"), "absent");
  EXPECT_EQ(shape_of(specs, "downsample.conv.conv.conv.weight"), "24x24x4");
  Config same_rate = config;
  same_rate.frame_rate = 600;
  EXPECT_EQ(shape_of(moshi::mimi::expected_tensors(same_rate), "downsample.conv.conv.conv.weight"), "absent");
  EXPECT_EQ(shape_of(moshi::mimi::expected_tensors(same_rate), "upsample.convtr.convtr.convtr.weight"), "absent");
}

TEST(ExpectedTensors, DirectionsShareTheCodebooksOnly) {
  for (const TensorSpec& spec : moshi::mimi::expected_tensors(small_config())) {
    const bool encodes = used_by(spec, Direction::kEncode);
    const bool decodes = used_by(spec, Direction::kDecode);
    const bool codebook = spec.name.ends_with("cluster_usage") || spec.name.ends_with("embedding_sum");
    EXPECT_EQ(encodes && decodes, codebook) << spec.name;
    EXPECT_EQ(encodes || decodes, !spec.name.ends_with("_initialized")) << spec.name;
    const bool of_decoder = spec.name.starts_with("decoder") || spec.name.starts_with("upsample") ||
                            (spec.name.starts_with("quantizer") && spec.name.ends_with("output_proj.weight"));
    EXPECT_EQ(of_decoder, decodes && !encodes) << spec.name;
  }
}

TEST_F(Weights, ReadsAllTensors) {
  const auto weights = open(tensors_);
  for (const F32Tensor& tensor : tensors_) {
    EXPECT_EQ(weights.read(tensor.name), tensor.data) << tensor.name;
    EXPECT_EQ(weights.read(tensor.name), tensor.data) << "a second time: " << tensor.name;
  }
  EXPECT_THROW(weights.read("no.such.tensor"), moshi::Error);
}

TEST_F(Weights, HalfPrecisionIsWidened) {
  named(tensors_, "quantizer.rvq_first.vq.layers.0._codebook.embedding_sum").data[0] = 0.1f;
  const std::string path = dir_ / "half.safetensors";
  const auto rounded = moshi::test::write_halves(*SafetensorsFile::open(write(tensors_)), path);
  const moshi::mimi::CheckpointWeights weights(SafetensorsFile::open(path), config_);
  for (const F32Tensor& tensor : tensors_) EXPECT_EQ(weights.read(tensor.name), rounded.at(tensor.name)) << tensor.name;
  EXPECT_NE(rounded.at("quantizer.rvq_first.vq.layers.0._codebook.embedding_sum")[0], 0.1f);
}

TEST_F(Weights, AcceptsEverySpelling) {
  const std::pair<std::string, std::string> spellings[] = {{".in_projs.0.weight", ".in_proj_weight"},
                                                           {".in_projs.0.weight", ".in_proj.weight"},
                                                           {".out_projs.0.weight", ".out_proj.weight"},
                                                           {"._initialized", ".inited"},
                                                           {".cluster_usage", ".cluster_size"},
                                                           {".embedding_sum", ".embed_avg"},
                                                           {".embedding_sum", ".embed_sum"}};
  for (const auto& [canonical, other] : spellings) {
    SCOPED_TRACE(other);
    auto renamed = tensors_;
    for (F32Tensor& tensor : renamed) {
      if (tensor.name.ends_with(canonical))
        tensor.name.replace(tensor.name.size() - canonical.size(), std::string::npos, other);
    }
    const auto weights = open(renamed);
    for (const F32Tensor& tensor : tensors_) EXPECT_EQ(weights.read(tensor.name), tensor.data) << tensor.name;
  }
}

TEST_F(Weights, BothSpellingsAtOnceAreRefused) {
  F32Tensor twice = named(tensors_, "encoder_transformer.transformer.layers.0.self_attn.in_projs.0.weight");
  twice.name = "encoder_transformer.transformer.layers.0.self_attn.in_proj_weight";
  tensors_.push_back(twice);
  refused(tensors_, "same tensor twice");
}

TEST_F(Weights, FoldsWeightNormalization) {
  for (const std::string module : {"encoder.model.3.conv.conv", "decoder.model.2.convtr.convtr"}) {
    F32Tensor& direction = named(tensors_, module + ".weight");
    const std::vector<int64_t> shape = direction.shape;
    const std::vector<float> values = direction.data;
    direction.name = module + ".weight_v";
    F32Tensor gain{module + ".weight_g", {shape[0], 1, 1}, {}};
    for (int64_t i = 0; i < shape[0]; ++i) gain.data.push_back(1.5f + static_cast<float>(i));
    const std::vector<float> gains = gain.data;
    tensors_.push_back(gain);
    const std::vector<float> folded = open(tensors_).read(module + ".weight");
    const size_t slice = values.size() / gains.size();
    for (size_t i = 0; i < values.size(); ++i) {
      double square = 0.0;
      for (size_t j = i / slice * slice; j < (i / slice + 1) * slice; ++j) square += double{values[j]} * values[j];
      const double wanted = values[i] * gains[i / slice] / std::sqrt(square);
      EXPECT_NEAR(folded[i], wanted, 1e-6 * std::abs(wanted)) << module << " " << i;
    }
  }
  auto lonely = tensors_;
  std::erase_if(lonely, [](const F32Tensor& t) { return t.name == "encoder.model.3.conv.conv.weight_g"; });
  refused(lonely, "encoder.model.3.conv.conv.weight_g");
  lonely = tensors_;
  std::erase_if(lonely, [](const F32Tensor& t) { return t.name == "encoder.model.3.conv.conv.weight_v"; });
  refused(lonely, "encoder.model.3.conv.conv.weight");
  named(tensors_, "encoder.model.3.conv.conv.weight_v").name = "encoder.model.3.conv.conv.weight";
  refused(tensors_, "not normalized");
}

TEST_F(Weights, EveryMissingTensorIsNamed) {
  for (size_t i = 0; i < tensors_.size(); ++i) {
    auto fewer = tensors_;
    const std::string name = fewer[i].name;
    fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(i));
    refused(fewer, "1 tensors missing (" + name + ")");
  }
}

TEST_F(Weights, UnexpectedAndMisshapenTensorsAreNamed) {
  auto more = tensors_;
  more.push_back({"encoder.model.99.weight", {1}, {0.0f}});
  refused(more, "1 unexpected (encoder.model.99.weight)");
  F32Tensor& bias = named(tensors_, "encoder.model.0.conv.conv.bias");
  bias.shape = {1, 2};
  refused(tensors_, "encoder.model.0.conv.conv.bias is [1, 2] instead of [2]");
}

TEST_F(Weights, OtherNumbersOfCodebooks) {
  Config fewer = config_;
  fewer.quantizer.n_q = 2;
  refused(tensors_of(fewer), "it has 2 codebooks, the configuration (quantizer.n_q) 3");
}

TEST_F(Weights, CodebooksComeFromTheFileWithoutAConfiguration) {
  // Headers only are read, so that sparse data does; the default shape would be 384 MB.
  Config voice = moshi::mimi::default_config();
  voice.quantizer.n_q = 16;
  std::string header = "{";
  uint64_t at = 0;
  for (const TensorSpec& spec : moshi::mimi::expected_tensors(voice)) {
    std::string shape;
    for (const int64_t size : spec.shape) shape += (shape.empty() ? "" : ",") + std::to_string(size);
    const uint64_t end = at + static_cast<uint64_t>(spec.elements()) * 4;
    header += (at ? ",\"" : "\"") + spec.name + R"(":{"dtype":"F32","shape":[)" + shape + R"(],"data_offsets":[)" +
              std::to_string(at) + "," + std::to_string(end) + "]}";
    at = end;
  }
  header += "}";
  const uint64_t length = header.size();
  const std::string path =
      dir_.write("voice.safetensors", std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + header);
  std::filesystem::resize_file(path, sizeof(length) + length + at);
  const auto mimi = moshi::mimi::open_checkpoint(path, "");
  EXPECT_EQ(mimi.config.quantizer.n_q, 16);
  EXPECT_EQ(mimi.weights->read("decoder.model.14.conv.conv.bias"), std::vector<float>{0.0f});
}

TEST_F(Weights, NanAndInfinityAreRefusedByName) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    auto damaged = tensors_;
    named(damaged, "downsample.conv.conv.conv.weight").data[77] = bad;
    const auto weights = open(damaged);
    expect_error(MOSHI_ERR_FORMAT, "downsample.conv.conv.conv.weight",
                 [&] { weights.read("downsample.conv.conv.conv.weight"); });
    EXPECT_NO_THROW(weights.read("upsample.convtr.convtr.convtr.weight"));
  }
}

TEST_F(Weights, OtherKindsOfModelsAreRecognized) {
  refused({{"text_emb.weight", {1}, {0}}, {"transformer.layers.0.norm1.alpha", {1}, {0}}}, "Moshi language model");
  refused({{"encoder_transformer.layers.0.self_attn.q_proj.weight", {1}, {0}}}, "Hugging Face transformers");
  refused({{"transformer.layers.0.self_attn.in_proj.lora_A.weight", {1}, {0}}}, "LoRA");
  refused({{"x", {1}, {0}}}, "no Mimi");
}

TEST_F(Weights, IntegersAreNotSupported) {
  const std::string path = write(tensors_);
  std::ifstream in(path, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(in), {}};
  const size_t at = bytes.find("\"F32\"", bytes.find("downsample"));
  bytes.replace(at, 5, "\"I32\"");
  dir_.write("mimi.safetensors", bytes);
  expect_error(MOSHI_ERR_NOT_SUPPORTED, "\"downsample.conv.conv.conv.weight\" has type I32",
               [&] { moshi::mimi::CheckpointWeights(SafetensorsFile::open(path), config_); });
}

}  // namespace

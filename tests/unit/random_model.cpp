// SPDX-License-Identifier: MIT
#include "mimi/random_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

#include "checkpoint/digest.h"
#include "checkpoint/model_files.h"
#include "common/random_numbers.h"
#include "mimi/checkpoint_weights.h"
#include "mimi/random/functions.h"
#include "mimi/random/network.h"
#include "temp_dir.h"

namespace {

using namespace moshi::mimi;

Config small_config(const std::string& more = "") {
  return parse_config(R"({"seanet": {"dimension": 16, "n_filters": 4)" + more + R"(},
    "transformer": {"d_model": 24, "num_heads": 4, "num_layers": 2, "dim_feedforward": 32},
    "quantizer": {"dimension": 12, "n_q": 4, "bins": 64}})",
                      "small");
}

std::string hash_of(const RandomModel& model) {
  moshi::checkpoint::Digest digest(moshi::checkpoint::Digest::Kind::kSha256);
  for (const auto& tensor : model.tensors) digest.add(std::as_bytes(std::span(tensor.data)));
  return digest.hex();
}

TEST(RandomModel, SameBitsOnEveryMachine) {
  // Change these only together with the recipe, whose generation (in random_model.cpp) then changes too: whoever made
  // a model from a seed counts on it.
  const RandomModel model = make_random_model(small_config(), 1);
  EXPECT_EQ(hash_of(model), "3e1724814b9bcc13cbc9a8a555091401c2caa8a5a02a884ce62ea6599b4556b1");
  const std::string more = R"(, "true_skip": false, "n_residual_layers": 2, "ratios": [10, 8, 6, 4])";
  EXPECT_EQ(hash_of(make_random_model(small_config(more), 1)),
            "dfa41f8457ed5ceec6338b42ee40d875f3b423619988a4ab8ac9ef52a9b7b5b2");
}

TEST(RandomModel, ThreadsDoNotMatterAndSeedsDo) {
  const std::vector<float> speech = synthetic_speech(24000, 2.0, 5);
  const std::string one = hash_of(make_random_model(small_config(), 1, speech, 1));
  EXPECT_EQ(hash_of(make_random_model(small_config(), 1, speech, 3)), one);
  EXPECT_NE(hash_of(make_random_model(small_config(), 2, speech, 1)), one);
}

TEST(RandomModel, WrittenDirectoryIsAModel) {
  const TempDir dir;
  const RandomModel model = make_random_model(small_config(), 3, synthetic_speech(24000, 2.0, 5));
  write_random_model(dir / "m", model);
  const auto files = moshi::checkpoint::find_model({dir / "m", ""});
  const CheckpointMimi mimi = open_checkpoint(files.mimi_weights, files.mimi_config);
  EXPECT_EQ(to_json(mimi.config), to_json(model.config));
  EXPECT_EQ(mimi.file->metadata().at("seed"), "3");
  EXPECT_TRUE(mimi.file->tensors().contains("encoder_transformer.transformer.layers.0.self_attn.in_proj_weight"));
  const MemoryWeights memory(model);
  for (const auto& tensor : model.tensors) {
    EXPECT_EQ(mimi.weights->read(tensor.name), tensor.data) << tensor.name;
    EXPECT_EQ(memory.read(tensor.name), tensor.data) << tensor.name;
  }
}

TEST(RandomModel, EveryTensorIsDrawn) {
  const RandomModel model = make_random_model(small_config(), 4, synthetic_speech(24000, 2.0, 5));
  ASSERT_EQ(model.tensors.size(), expected_tensors(model.config).size());
  for (const auto& tensor : model.tensors) {
    for (const float value : tensor.data) ASSERT_TRUE(std::isfinite(value)) << tensor.name;
    const auto [low, high] = std::minmax_element(tensor.data.begin(), tensor.data.end());
    EXPECT_TRUE(*low < *high || tensor.data.size() == 1) << tensor.name;
    if (tensor.name.ends_with("cluster_usage")) {
      EXPECT_GE(*low, 0.2f);
      EXPECT_LE(*high, 3.2f);
    }
    if (tensor.name.find("layer_scale") != std::string::npos) {
      EXPECT_GE(*low, 0.05f);
      EXPECT_LE(*high, 0.3f);
    }
    if (tensor.name.ends_with("_initialized")) {
      EXPECT_EQ(tensor.data, std::vector<float>{1.0f});
    }
  }
}

TEST(RandomModel, SpeechMustBeThere) {
  const std::vector<float> silence(48000);
  expect_error(MOSHI_ERR_INVALID_ARGUMENT, "at least", [&] { make_random_model(small_config(), 1, silence); });
  const std::vector<float> brief = synthetic_speech(24000, 1.0, 1);
  expect_error(MOSHI_ERR_INVALID_ARGUMENT, "at least", [&] { make_random_model(small_config(), 1, brief); });
}

TEST(SyntheticSpeech, IsNeitherSilentNorClipped) {
  for (const int rate : {8000, 24000, 48000}) {
    const std::vector<float> speech = synthetic_speech(rate, 8.0, 9);
    ASSERT_EQ(speech.size(), static_cast<size_t>(8 * rate));
    double square = 0.0;
    std::set<int> levels;  // of 80 ms stretches, in steps of 6 dB
    for (size_t begin = 0; begin < speech.size(); begin += static_cast<size_t>(rate) * 2 / 25) {
      double part = 0.0;
      for (size_t i = begin; i < begin + static_cast<size_t>(rate) * 2 / 25; ++i) part += double{speech[i]} * speech[i];
      levels.insert(static_cast<int>(std::floor(std::log2(std::sqrt(part)))));
      square += part;
    }
    EXPECT_NEAR(std::sqrt(square / static_cast<double>(speech.size())), 0.08, 0.01);
    EXPECT_GE(levels.size(), 5u) << "loud and soft";
    EXPECT_LE(*std::max_element(speech.begin(), speech.end()), 0.95f);
  }
}

TEST(RandomNumbers, AreUniformAndNormal) {
  const moshi::RandomNumbers numbers(1, "a");
  double mean = 0.0, square = 0.0, uniform = 0.0;
  constexpr int kCount = 100000;
  for (int i = 0; i < kCount; ++i) {
    mean += numbers.normal(i);
    square += numbers.normal(i) * numbers.normal(i);
    uniform += numbers.uniform(i);
  }
  EXPECT_NEAR(mean / kCount, 0.0, 0.01);
  EXPECT_NEAR(square / kCount, 1.0, 0.02);
  EXPECT_NEAR(uniform / kCount, 0.5, 0.01);
  EXPECT_NE(numbers.bits(0), moshi::RandomNumbers(1, "b").bits(0));
  EXPECT_NE(numbers.bits(0), moshi::RandomNumbers(2, "a").bits(0));
}

TEST(RandomFunctions, AgreeWithTheLibrary) {
  for (double x = -40.0; x <= 40.0; x += 0.0371) {
    EXPECT_NEAR(random::exponential(x), std::exp(x), 1e-13 * std::exp(x));
    EXPECT_NEAR(random::sine(x), std::sin(x), 1e-13);
    EXPECT_NEAR(random::cosine(100.0 * x), std::cos(100.0 * x), 1e-12);
    EXPECT_NEAR(random::error_function(x), std::erf(x), 2e-7);
  }
  for (double x = 1e-3; x < 1e6; x *= 1.37)
    EXPECT_NEAR(random::logarithm(x), std::log(x), 1e-13 * (1 + std::abs(std::log(x))));
  EXPECT_EQ(random::exponential(-1e9), 0.0);
}

random::Signal noise(size_t steps, size_t width, const std::string& name) {
  random::Signal x(steps, width);
  const moshi::RandomNumbers numbers(1, name);
  for (size_t i = 0; i < x.data.size(); ++i) x.data[i] = static_cast<float>(numbers.normal(i));
  return x;
}

TEST(RandomNetwork, ConvolutionsAreTheirDefinition) {
  const random::Signal x = noise(24, 3, "x");
  const size_t out = 5, kernel = 4, stride = 2, dilation = 1;
  const random::Signal w = noise(out, 3 * kernel, "w");
  for (const auto padding : {random::Padding::kZeros, random::Padding::kReplicate}) {
    const random::Signal y = random::convolve(x, w.data, out, kernel, stride, dilation, padding, 2);
    ASSERT_EQ(y.steps, 12u);
    for (size_t t = 0; t < y.steps; ++t) {
      for (size_t o = 0; o < out; ++o) {
        double sum = 0.0;
        for (size_t k = 0; k < kernel; ++k) {
          const int at = static_cast<int>(t * stride + k) - 2;
          for (size_t c = 0; c < 3; ++c) {
            const float value = at >= 0 ? x.row(at)[c] : padding == random::Padding::kReplicate ? x.row(0)[c] : 0.0f;
            sum += double{w.row(o)[c * kernel + k]} * value;
          }
        }
        EXPECT_NEAR(y.row(t)[o], sum, 1e-5);
      }
    }
  }
  const random::Signal v = noise(3, out * 2 * stride, "v");
  const random::Signal z = random::convolve_transposed(x, v.data, out, stride, 1);
  std::vector<double> sums((x.steps + 1) * stride * out);
  for (size_t t = 0; t < x.steps; ++t) {
    for (size_t k = 0; k < 2 * stride; ++k) {
      for (size_t o = 0; o < out; ++o) {
        for (size_t c = 0; c < 3; ++c) {
          sums[(t * stride + k) * out + o] += double{x.row(t)[c]} * v.row(c)[o * 2 * stride + k];
        }
      }
    }
  }
  for (size_t i = 0; i < z.data.size(); ++i) EXPECT_NEAR(z.data[i], sums[i], 1e-5);
}

}  // namespace

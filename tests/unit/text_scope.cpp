// SPDX-License-Identifier: MIT
// sentencepiece and LibTorch in one process: both export FLAGS_minloglevel, of different types, and each has its own.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "lm/config.h"
#include "lm/random_model.h"
#include "moshi/core.hpp"
#include "temp_dir.h"

namespace {

constexpr int kPieces = 48;  // what the model's text_card says
constexpr const char* kConfig = R"({
  "delays": [0, 0, 0], "n_q": 2, "dep_q": 1, "card": 32, "text_card": 48, "dim": 16, "num_layers": 1, "num_heads": 1,
  "hidden_scale": 1, "context": 4, "depformer_dim": 16, "depformer_num_heads": 1, "depformer_num_layers": 1,
  "depformer_dim_feedforward": 16, "depformer_gating": "silu", "depformer_multi_linear": true,
  "depformer_weights_per_step": true, "moshi_name": "lm.safetensors", "tokenizer_name": "t.model"})";

/// A sentencepiece model: the unknown piece, then words.
std::string tokenizer_file() {
  std::string all;
  for (int id = 0; id < kPieces; ++id) {
    const std::string text = id == 0 ? "<unk>" : "\u2581w" + std::to_string(id);
    const std::string piece =
        '\x0A' + std::string(1, static_cast<char>(text.size())) + text + (id == 0 ? "\x18\x02" : "");
    all += '\x0A' + std::string(1, static_cast<char>(piece.size())) + piece;
  }
  return all;
}

void need(bool condition, const std::string& what) {
  if (condition) return;
  std::fprintf(stderr, "%s\n", what.c_str());
  std::_Exit(1);
}

/// Never returns: the core stays in its process.
void open_in(const TempDir& dir, int scope) {
  void* const core = dlopen(MOSHI_TEST_CORE, RTLD_NOW | scope);
  need(core != nullptr, "no core");
  const auto* const torch_flag = static_cast<const int*>(dlsym(core, "FLAGS_minloglevel"));
  const int before = torch_flag == nullptr ? 0 : *torch_flag;

  const auto loaded = moshi::core::Core::load(MOSHI_TEST_CORE);
  need(loaded.ok(), "the core does not serve");
  moshi::core::EngineOptions options;
  options.model = dir.str();
  options.roles = MOSHI_ROLE_LM;
  const auto engine = loaded->open(options);
  need(engine.ok(), engine ? "" : engine.error().message + " " + engine.error().detail);
  const auto piece = moshi::core::piece(*engine, 5);
  need(piece && piece->bytes == " w5", "not the tokenizer's piece");

  void* const module = dlopen(MOSHI_TEST_TEXT_MODULE, RTLD_NOW | RTLD_NOLOAD);
  need(module != nullptr, "the core has read the tokenizer without its module");
  need(dlsym(module, "FLAGS_minloglevel") != torch_flag, "there is one FLAGS_minloglevel");
  need(torch_flag == nullptr || *torch_flag == before, "sentencepiece has written over LibTorch's FLAGS_minloglevel");
  std::_Exit(0);
}

class TextScope : public testing::Test {
 protected:
  void SetUp() override {
    dir_.write("config.json", kConfig);
    dir_.write("t.model", tokenizer_file());
    moshi::lm::write_random_weights(moshi::lm::parse_config(kConfig, "test"), 1, moshi::lm::Storage::kF32,
                                    dir_ / "lm.safetensors");
  }
  TempDir dir_;
};

TEST_F(TextScope, OfACoreThatIsOpened) { EXPECT_EXIT(open_in(dir_, RTLD_LOCAL), testing::ExitedWithCode(0), ""); }

// As where a program links the core: LibTorch is in the scope that comes before every other one.
TEST_F(TextScope, OfACoreThatIsLinked) { EXPECT_EXIT(open_in(dir_, RTLD_GLOBAL), testing::ExitedWithCode(0), ""); }

}  // namespace

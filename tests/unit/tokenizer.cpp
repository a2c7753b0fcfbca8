// SPDX-License-Identifier: MIT
// The tokenizer, through its module, beside libsentencepiece itself, on models that are trained here.
#include "text/tokenizer.h"

#include <gtest/gtest.h>
#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <filesystem>
#include <random>
#include <sstream>

#include "temp_dir.h"
#include "text/module_loader.h"

namespace {

using moshi::text::Piece;
using moshi::text::Tokenizer;

class Lines : public sentencepiece::SentenceIterator {
 public:
  explicit Lines(std::vector<std::string> lines) : lines_(std::move(lines)) {}
  bool done() const override { return at_ == lines_.size(); }
  void Next() override { ++at_; }
  const std::string& value() const override { return lines_[at_]; }
  sentencepiece::util::Status status() const override { return {}; }

 private:
  std::vector<std::string> lines_;
  size_t at_ = 0;
};

const std::vector<std::string> kWords = {"the",     "speech", "model", "listens", "while",   "it",     "speaks", "and",
                                         "answers", "within", "a",     "fifth",   "of",      "the",    "second", "über",
                                         "café",    "naïve",  "ﬁne",   "Ⅳ",       "日本",    "語",     "½",      "I'm",
                                         "don't",   "12.5",   "Hz",    "é",       "e\u0301", "ＡＢＣ", "…",      "tab"};

std::string sentence(std::mt19937& random, int words) {
  std::string result;
  for (int i = 0; i < words; ++i) {
    result += kWords[random() % kWords.size()] + (random() % 7 == 0 ? "  " : " ");
  }
  return result;
}

std::string train(const std::string& options) {
  std::mt19937 random(7);
  std::vector<std::string> lines;
  for (int i = 0; i < 300; ++i) lines.push_back(sentence(random, 12));
  Lines iterator(lines);
  std::string model;
  const auto status = sentencepiece::SentencePieceTrainer::Train(
      "--minloglevel=3 --num_threads=1 --hard_vocab_limit=false " + options, &iterator, &model);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return model;
}

std::string shown(const std::string& piece) {
  constexpr std::string_view kMark = "\u2581";
  std::string result;
  for (size_t at = 0; at < piece.size();) {
    const bool mark = piece.compare(at, kMark.size(), kMark) == 0;
    result.push_back(mark ? ' ' : piece[at]);
    at += mark ? kMark.size() : 1;
  }
  return result;
}

struct Case {
  const char* name;
  const char* options;
};
void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

class BesideSentencepiece : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    const std::string model = train(GetParam().options);
    ASSERT_TRUE(reference_.LoadFromSerializedProto(model).ok());
    tokenizer_ = Tokenizer::open(dir_.write("t.model", model));
  }

  TempDir dir_;
  sentencepiece::SentencePieceProcessor reference_;
  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_P(BesideSentencepiece, Pieces) {
  ASSERT_EQ(tokenizer_->size(), reference_.GetPieceSize());
  EXPECT_EQ(tokenizer_->eos_id(), reference_.eos_id());
  ASSERT_EQ(tokenizer_->pieces().size(), static_cast<size_t>(reference_.GetPieceSize()));
  for (int id = 0; id < tokenizer_->size(); ++id) {
    const Piece& piece = tokenizer_->pieces()[static_cast<size_t>(id)];
    const std::string& name = reference_.IdToPiece(id);
    if (reference_.IsByte(id)) {
      ASSERT_EQ(piece.kind, Piece::Kind::kByte) << name;
      ASSERT_EQ(piece.bytes, std::string(1, static_cast<char>(std::stoi(name.substr(3, 2), nullptr, 16)))) << name;
    } else {
      ASSERT_EQ(piece.kind, Piece::Kind::kText) << name;
      ASSERT_EQ(piece.bytes, shown(name));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Models, BesideSentencepiece,
    testing::Values(
        Case{"unigram_bytes", "--model_type=unigram --vocab_size=400 --byte_fallback=true"},
        Case{"unigram_symbols", "--model_type=unigram --vocab_size=150 --user_defined_symbols=<ret>,odel --eos_id=-1"},
        Case{"bpe_bytes", "--model_type=bpe --vocab_size=420 --byte_fallback=true --pad_id=3 --eos_piece=<end>"}),
    [](const auto& info) { return info.param.name; });

TEST(Tokenizer, RefusesWhatIsNone) {
  const TempDir dir;
  const auto refused = [&](const std::string& bytes) {
    const std::string path = dir.write("bad.model", bytes);
    expect_error(MOSHI_ERR_FORMAT, "bad.model is no sound sentencepiece model", [&] { Tokenizer::open(path); });
  };
  refused("");
  refused("This is no model.");
  refused(std::string(100, '\xFF'));
  refused("\x0A\x05\x0A\x03<s>");                                // no unknown piece
  refused("\x0A\x02\x18\x02");                                   // an empty piece
  refused("\x0A\x0A\x0A\x06<0x41>\x18\x06");                     // a byte, in a model without
  refused("\x0A\x09\x0A\x05<unk>\x18\x02\x12\x03\x98\x02\x01");  // a model with bytes, and none
  std::filesystem::resize_file(dir.write("bad.model", ""), (uint64_t{64} << 20) + 1);
  expect_error(MOSHI_ERR_FORMAT, "bad.model is no sound", [&] { Tokenizer::open(dir / "bad.model"); });
  expect_error(MOSHI_ERR_NOT_FOUND, "none.model", [&] { Tokenizer::open(dir / "none.model"); });
  expect_error(MOSHI_ERR_READ, "regular file", [&] { Tokenizer::open(dir.str()); });
}

TEST(Tokenizer, CutModels) {
  const TempDir dir;
  const std::string model = train("--model_type=unigram --vocab_size=400 --byte_fallback=true");
  int refusals = 0;
  for (size_t size = 0; size < model.size(); size += model.size() / 50) {
    try {
      Tokenizer::open(dir.write("t.model", model.substr(0, size)));
    } catch (const moshi::Error& error) {
      EXPECT_EQ(error.status(), MOSHI_ERR_FORMAT) << error.what();
      ++refusals;
    }
  }
  EXPECT_GT(refusals, 40);
}

TEST(TokenizerModule, MissingOrAnother) {
  const TempDir dir;
  const auto open = [](const std::string& path) { moshi::text::open_module(path); };
  expect_error(MOSHI_ERR_NOT_SUPPORTED, dir / "libmoshi-text.so", [&] { open(dir / "libmoshi-text.so"); });
  expect_error(MOSHI_ERR_NOT_SUPPORTED, "libsentencepiece0", [&] { open(dir / "libmoshi-text.so"); });
  expect_error(MOSHI_ERR_NOT_SUPPORTED, "another version", [&] { open("libm.so.6"); });
}

}  // namespace

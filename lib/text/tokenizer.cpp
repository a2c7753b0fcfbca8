// SPDX-License-Identifier: MIT
#include "text/tokenizer.h"

#include <utility>

#include "checkpoint/mapped_file.h"
#include "common/error.h"
#include "text/module.h"
#include "text/module_loader.h"

namespace moshi::text {
namespace {

/// With sentencepiece's mark of a space, U+2581, as a space.
std::string spaced(std::string_view piece) {
  constexpr std::string_view kMark = "\xE2\x96\x81";
  std::string result;
  for (size_t at = 0; at < piece.size();) {
    const bool mark = piece.substr(at).starts_with(kMark);
    result += mark ? ' ' : piece[at];
    at += mark ? kMark.size() : 1;
  }
  return result;
}

using ModelPtr = std::unique_ptr<MoshiTextModel, void (*)(MoshiTextModel*)>;

class SentencepieceTokenizer final : public Tokenizer {
 public:
  SentencepieceTokenizer(const MoshiTextApi& api, ModelPtr model) : api_(api), model_(std::move(model)) {
    for (int id = 0; id < size(); ++id) {
      size_t length = 0;
      int32_t byte = -1;
      const char* const text = api_.piece(model_.get(), id, &length, &byte);
      if (byte >= 0) {
        pieces_.push_back({Piece::Kind::kByte, std::string(1, static_cast<char>(byte))});
      } else {
        pieces_.push_back({Piece::Kind::kText, spaced({text, length})});
      }
    }
  }

  int size() const override { return api_.size(model_.get()); }
  int eos_id() const override { return api_.eos(model_.get()); }
  const std::vector<Piece>& pieces() const override { return pieces_; }

 private:
  const MoshiTextApi& api_;
  const ModelPtr model_;
  std::vector<Piece> pieces_;
};

}  // namespace

std::unique_ptr<Tokenizer> Tokenizer::open(const std::string& path) {
  // A hundred times what published ones have; the library's parser counts bytes in an int.
  constexpr uint64_t kMostBytes = uint64_t{64} << 20;
  const checkpoint::MappedFile file(path, checkpoint::MappedFile::Mode::kMap);
  if (file.bytes() > kMostBytes) {
    throw Error(MOSHI_ERR_FORMAT, path + " is no sound sentencepiece model; get the file again",
                std::to_string(file.bytes()) + " bytes");
  }
  const MoshiTextApi& api = module_api();
  char why[256] = "";
  ModelPtr model(api.open(file.data().data(), file.data().size(), why, sizeof why), api.close);
  if (!model) throw Error(MOSHI_ERR_FORMAT, path + " is no sound sentencepiece model; get the file again", why);
  return std::make_unique<SentencepieceTokenizer>(api, std::move(model));
}

}  // namespace moshi::text

// SPDX-License-Identifier: MIT
// A sentencepiece model: tokens to what is shown for them.
#pragma once

#include <memory>
#include <string>
#include <vector>

namespace moshi::text {

struct Piece {
  enum class Kind { kNone, kText, kByte };
  Kind kind = Kind::kNone;
  std::string bytes;  ///< kText: UTF-8, the sentencepiece mark as a space; kByte: one byte of a character
};

class Tokenizer {
 public:
  /// Throws Error: NOT_FOUND, READ, FORMAT if it is no sentencepiece model, or NOT_SUPPORTED without libmoshi-text.so.
  static std::unique_ptr<Tokenizer> open(const std::string& path);
  virtual ~Tokenizer() = default;
  virtual int size() const = 0;    ///< pieces
  virtual int eos_id() const = 0;  ///< -1: none
  /// Pieces of all tokens, made once. Byte pieces ("<0xE2>") are kByte; every other piece is shown as the reference's
  /// server shows it. Padding is the caller's business: the tokenizer does not know the model's padding tokens.
  virtual const std::vector<Piece>& pieces() const = 0;
};

}  // namespace moshi::text

// SPDX-License-Identifier: MIT
#include "text_output.h"

#include <cstddef>

namespace gstmoshi {
namespace {

constexpr char kReplacement[] = "\xEF\xBF\xBD";

/** Length of the character that begins with this byte; 0 if none does. */
size_t LengthOf(unsigned char first) {
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return 2;
  if (first >= 0xE0 && first <= 0xEF) return 3;
  if (first >= 0xF0 && first <= 0xF4) return 4;
  return 0;
}

/** Whether `byte` can be the `index`th of a character that begins with `first`: Unicode 15, table 3-7. */
bool Continues(unsigned char first, size_t index, unsigned char byte) {
  if (index > 1) return byte >= 0x80 && byte <= 0xBF;
  const unsigned char least = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  const unsigned char most = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  return byte >= least && byte <= most;
}

}  // namespace

std::string TextJoiner::Add(MoshiPieceKind kind, std::string_view bytes) {
  std::string text;
  if (kind == MOSHI_PIECE_NONE) return text;
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (!begun_.empty() && !Continues(static_cast<unsigned char>(begun_[0]), begun_.size(), byte)) {
      text += kReplacement;
      begun_.clear();
    }
    if (begun_.empty() && LengthOf(byte) == 0) {
      text += kReplacement;
      continue;
    }
    begun_ += c;
    if (begun_.size() < LengthOf(static_cast<unsigned char>(begun_[0]))) continue;
    text += begun_;
    begun_.clear();
  }
  return text;
}

}  // namespace gstmoshi

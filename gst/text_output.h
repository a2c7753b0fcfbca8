// SPDX-License-Identifier: MIT
// Text tokens as UTF-8.
#pragma once

#include <string>
#include <string_view>

#include "moshi/core.h"

namespace gstmoshi {

/** Joins the bytes of characters that come in several tokens. Plain byte work, without GStreamer. */
class TextJoiner {
 public:
  /** Valid UTF-8 that this piece completes, often empty. What cannot become a character is replaced by U+FFFD. */
  std::string Add(MoshiPieceKind kind, std::string_view bytes);
  /** Forgets the begun character. */
  void Reset() { begun_.clear(); }

 private:
  std::string begun_;  ///< a character's first bytes
};

}  // namespace gstmoshi

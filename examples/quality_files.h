// SPDX-License-Identifier: MIT
// The measures of quality.h on sound files.
#pragma once

#include <optional>
#include <string>

namespace app {

struct Quality {
  std::optional<double> stoi;  ///< nothing where there is too little speech
  double mel = 0;              ///< dB
};

/// How near a file is to another, which it repeats `delay` seconds later. Says why, and gives nothing, if one of the
/// two cannot be read.
std::optional<Quality> judge(const std::string& original, const std::string& decoded, double delay = 0);

}  // namespace app

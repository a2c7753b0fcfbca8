// SPDX-License-Identifier: MIT
#include "quality_files.h"

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "quality.h"
#include "sound.h"

namespace app {
namespace {

constexpr int kMelRate = 24000;

struct Pair {
  std::vector<float> original, decoded;
};

std::optional<Pair> read(const std::string& original, const std::string& decoded, double delay, int rate) {
  auto first = read_sound(original, rate);
  auto second = first ? read_sound(decoded, rate) : std::nullopt;
  if (!second) return std::nullopt;
  const auto late = std::min(static_cast<size_t>(delay * rate), second->size());
  second->erase(second->begin(), second->begin() + static_cast<ptrdiff_t>(late));
  return Pair{std::move(*first), std::move(*second)};
}

}  // namespace

std::optional<Quality> judge(const std::string& original, const std::string& decoded, double delay) {
  const auto narrow = read(original, decoded, delay, kStoiRate);
  const auto wide = narrow ? read(original, decoded, delay, kMelRate) : std::nullopt;
  if (!wide) return std::nullopt;
  return Quality{stoi(narrow->original, narrow->decoded), mel_distance(wide->original, wide->decoded, kMelRate)};
}

}  // namespace app

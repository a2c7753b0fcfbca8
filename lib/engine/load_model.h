// SPDX-License-Identifier: MIT
// What the loading thread does for each kind of model.
#pragma once

#include <functional>
#include <span>

#include "engine/model.h"

namespace moshi::engine {

struct LoadContext {
  const Model& model;
  /// Tells whoever listens, a fraction in [0, 1] and a word; throws Error(CANCELLED) when nobody wants the load any
  /// more.
  std::function<void(double, const char*)> report;
};

/// Loads a Mimi for encoding, decoding or both, and warms it up. Throws Error; nothing stays behind then.
Loaded load_codec(const LoadContext& context, const ModelSource& source, std::span<const Work> works);

/// Loads a language model and warms it up, and asks the Mimi beside it for the codes of silence.
Loaded load_language_model(const LoadContext& context, const LmSource& source);

/// Parts of the whole, as measured: the digest reads the file, packing reads and writes it.
inline constexpr double kHashed = 0.25;
inline constexpr double kPacked = 0.9;

}  // namespace moshi::engine

// SPDX-License-Identifier: MIT
// Random codebooks that fit what they quantize. Internal to the random model.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mimi/random/network.h"

namespace moshi::mimi::random {

struct Codebook {
  std::vector<float> usage;  ///< [bins]
  std::vector<float> sum;    ///< [bins][width]; a row divided by its usage is what quantizes
};

/// Draws one level's codebook from the residuals of the levels before it, and takes the chosen rows off `residual`.
/// A frame chooses among rows that were not made from itself or its neighbors, so that what is left has the size that
/// it will have on other speech.
Codebook draw_codebook(uint64_t seed, const std::string& name, int bins, Signal& residual, int threads);

}  // namespace moshi::mimi::random

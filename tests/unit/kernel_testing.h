// SPDX-License-Identifier: MIT
// What the tests of the kernels share.
#pragma once

#include <cstring>
#include <random>
#include <vector>

#include "kernels/kernels.h"

namespace moshi::kernels {

inline std::vector<const Kernels*> all_paths() {
  std::vector<const Kernels*> paths;
  for (const char* name : {"portable", "avx2", "avx512"}) {
    if (const Kernels* kernels = find_kernels(name)) paths.push_back(kernels);
  }
  return paths;
}

inline std::vector<float> random_floats(size_t count, uint32_t seed, float low = -1, float high = 1) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> uniform(low, high);
  std::vector<float> values(count);
  for (float& value : values) value = uniform(generator);
  return values;
}

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace moshi::kernels

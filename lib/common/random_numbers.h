// SPDX-License-Identifier: MIT
// Random numbers that are a pure function of (seed, name, index), made of integer operations and one rounding, so
// that they are the same on every machine and do not depend on the order in which they are asked for.
#pragma once

#include <cstdint>
#include <string_view>

namespace moshi {

class RandomNumbers {
 public:
  RandomNumbers(uint64_t seed, std::string_view name) : key_(mixed(seed)) {
    for (const char c : name) key_ = mixed(key_ ^ static_cast<unsigned char>(c));
  }

  uint64_t bits(uint64_t index) const { return mixed(key_ + index * 0x9e3779b97f4a7c15u); }

  /// Uniform in [0, 1).
  double uniform(uint64_t index) const { return static_cast<double>(bits(index) >> 11) * 0x1p-53; }

  /// Uniform in [0, count).
  int below(uint64_t index, int count) const { return static_cast<int>(uniform(index) * count); }

  /// Mean 0, deviation 1, nearly normal: the sum of four uniform 16-bit integers, which is exact.
  double normal(uint64_t index) const {
    const uint64_t b = bits(index);
    const auto sum = static_cast<int>((b & 0xffff) + (b >> 16 & 0xffff) + (b >> 32 & 0xffff) + (b >> 48));
    constexpr double kPerDeviation = 2.6428997921303018e-05;  // sqrt(12 / (4 * (65536^2 - 1)))
    return (sum - 131070) * kPerDeviation;
  }

 private:
  // The finalizer of splitmix64.
  static uint64_t mixed(uint64_t x) {
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
  }

  uint64_t key_;
};

}  // namespace moshi

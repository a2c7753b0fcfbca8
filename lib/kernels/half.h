// SPDX-License-Identifier: MIT
// The number formats of checkpoints and of narrow storage. Widening is exact; narrowing rounds to nearest, ties to
// even.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace moshi::kernels {

/// An element of a stored tensor: float, bf16 and f16 as uint16_t, int8_t.
enum class Element { kF32, kBf16, kF16, kInt8 };

inline constexpr size_t element_bytes(Element element) {
  return element == Element::kF32 ? 4 : element == Element::kInt8 ? 1 : 2;
}

inline float bf16_to_f32(uint16_t value) { return std::bit_cast<float>(static_cast<uint32_t>(value) << 16); }

/// NaN stays NaN.
inline uint16_t f32_to_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

inline float f16_to_f32(uint16_t value) {
  const uint32_t sign = static_cast<uint32_t>(value & 0x8000u) << 16;
  const uint32_t magnitude = value & 0x7fffu;
  if (magnitude >= 0x7c00u) return std::bit_cast<float>(sign | 0x7f800000u | ((magnitude & 0x3ffu) << 13));
  // Multiplying moves the exponent's bias from 15 to 127, subnormals included.
  const float scaled = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
  return std::bit_cast<float>(std::bit_cast<uint32_t>(scaled) | sign);
}

/// `count` elements, at any address, as f32.
void to_f32(Element element, const void* source, float* out, size_t count);

}  // namespace moshi::kernels

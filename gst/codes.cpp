// SPDX-License-Identifier: MIT
#include "codes.h"

#include <bit>

namespace gstmoshi {

int BitsPerCode(int cardinality) { return std::bit_width(static_cast<unsigned>(cardinality - 1)); }

size_t FrameBytes(CodeLayout layout, int codebooks, int cardinality) {
  if (layout == CodeLayout::kCodes) return 2 * static_cast<size_t>(codebooks);
  return (static_cast<size_t>(codebooks) * BitsPerCode(cardinality) + 7) / 8;
}

void ReadFrames(CodeLayout layout, int cardinality, int codebooks, std::span<const uint8_t> bytes,
                std::span<uint16_t> codes) {
  if (layout == CodeLayout::kCodes) {
    for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint16_t>(bytes[2 * i] | bytes[2 * i + 1] << 8);
    return;
  }
  const int bits = BitsPerCode(cardinality);
  const size_t frame_bytes = FrameBytes(layout, codebooks, cardinality);
  for (size_t frame = 0; frame * codebooks < codes.size(); ++frame) {
    const uint8_t* next = bytes.data() + frame * frame_bytes;
    uint32_t pending = 0;
    int available = 0;
    for (int k = 0; k < codebooks; ++k) {
      for (; available < bits; available += 8) pending = pending << 8 | *next++;
      available -= bits;
      codes[frame * codebooks + k] = static_cast<uint16_t>(pending >> available & ((1u << bits) - 1));
    }
  }
}

void WriteFrames(CodeLayout layout, int cardinality, int codebooks, std::span<const uint16_t> codes,
                 std::span<uint8_t> bytes) {
  if (layout == CodeLayout::kCodes) {
    for (size_t i = 0; i < codes.size(); ++i) {
      bytes[2 * i] = static_cast<uint8_t>(codes[i]);
      bytes[2 * i + 1] = static_cast<uint8_t>(codes[i] >> 8);
    }
    return;
  }
  const int bits = BitsPerCode(cardinality);
  const size_t frame_bytes = FrameBytes(layout, codebooks, cardinality);
  for (size_t frame = 0; frame * codebooks < codes.size(); ++frame) {
    uint8_t* next = bytes.data() + frame * frame_bytes;
    uint32_t pending = 0;
    int filled = 0;
    for (int k = 0; k < codebooks; ++k) {
      pending = pending << bits | codes[frame * codebooks + k];
      for (filled += bits; filled >= 8; filled -= 8) *next++ = static_cast<uint8_t>(pending >> (filled - 8));
    }
    if (filled > 0) *next = static_cast<uint8_t>(pending << (8 - filled));
  }
}

}  // namespace gstmoshi

// SPDX-License-Identifier: MIT
// The two layouts of Mimi codes in a buffer. Plain byte work, without GStreamer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace gstmoshi {

enum class CodeLayout {
  kCodes,  ///< unsigned 16-bit little-endian, one per code
  kPacked  ///< bits, most significant first; each frame padded with zero bits to whole bytes
};

/** Bits of a packed code: ceil(log2(cardinality)). */
int BitsPerCode(int cardinality);
/** Bytes of one frame. */
size_t FrameBytes(CodeLayout layout, int codebooks, int cardinality);

/** `bytes` and `codes` hold the same whole number of frames. */
void ReadFrames(CodeLayout layout, int cardinality, int codebooks, std::span<const uint8_t> bytes,
                std::span<uint16_t> codes);
void WriteFrames(CodeLayout layout, int cardinality, int codebooks, std::span<const uint16_t> codes,
                 std::span<uint8_t> bytes);

}  // namespace gstmoshi

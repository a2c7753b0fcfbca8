// SPDX-License-Identifier: MIT
#include "kernels/half.h"

#include <cstring>

namespace moshi::kernels {
namespace {

// The source may lie at any address, hence the copies.
template <class Stored, class Widen>
void convert(const void* source, float* out, size_t count, Widen widen) {
  const char* bytes = static_cast<const char*>(source);
  for (size_t i = 0; i < count; ++i) {
    Stored stored;
    std::memcpy(&stored, bytes + i * sizeof stored, sizeof stored);
    out[i] = widen(stored);
  }
}

}  // namespace

void to_f32(Element element, const void* source, float* out, size_t count) {
  switch (element) {
    case Element::kF32:
      if (count) std::memcpy(out, source, count * sizeof(float));
      return;
    case Element::kBf16:
      return convert<uint16_t>(source, out, count, bf16_to_f32);
    case Element::kF16:
      return convert<uint16_t>(source, out, count, f16_to_f32);
    case Element::kInt8:
      return convert<int8_t>(source, out, count, [](int8_t value) { return static_cast<float>(value); });
  }
}

}  // namespace moshi::kernels

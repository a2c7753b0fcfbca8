// SPDX-License-Identifier: MIT
// Packing of checkpoint rows: tile by tile through a buffer, as rows of a large matrix lie powers of two apart and
// would push each other out of the cache.
#include <algorithm>
#include <cstring>

#include "common/error.h"
#include "kernels/gemm.h"

namespace moshi::kernels {
namespace {

constexpr int kTile = 64;  // of k

/// One panel of a packed matrix, and the source row of its first column.
struct PanelCopy {
  int k;
  int width;    ///< columns stored
  int columns;  ///< columns that exist
  const char* source;
};

/// Reads runs of elements of T as they are. `Load(in, count, row, out)` copies `count` elements of a source row.
template <class T, class Load>
void transpose(const PanelCopy& copy, size_t row_bytes, size_t source_element, const Load& load, T* out) {
  alignas(64) T tile[kPanel][kTile];
  for (int begin = 0; begin < copy.k; begin += kTile) {
    const int count = std::min(kTile, copy.k - begin);
    for (int column = 0; column < copy.columns; ++column) {
      load(copy.source + column * row_bytes + begin * source_element, count, column, tile[column]);
    }
    for (int i = 0; i < count; ++i) {
      T* row = out + static_cast<size_t>(begin + i) * copy.width;
      for (int column = 0; column < copy.columns; ++column) row[column] = tile[column][i];
    }
  }
}

/// Elements that are stored as they come.
template <class T>
void copy_panel(const PanelCopy& copy, void* out) {
  const auto load = [](const char* in, int count, int, T* to) { std::memcpy(to, in, count * sizeof(T)); };
  transpose<T>(copy, copy.k * sizeof(T), sizeof(T), load, static_cast<T*>(out));
}

template <class T, class Narrow>
void convert_panel(const PanelCopy& copy, Element element, const float* scale, Narrow narrow, void* out) {
  const size_t size = element_bytes(element);
  const auto load = [&](const char* in, int count, int column, T* to) {
    float values[kTile];
    to_f32(element, in, values, count);
    for (int i = 0; i < count; ++i) to[i] = narrow(scale ? values[i] * scale[column] : values[i]);
  };
  transpose<T>(copy, copy.k * size, size, load, static_cast<T*>(out));
}

void pack_panel(const PanelCopy& copy, Storage storage, Element element, const float* scale, void* out) {
  if (storage == Storage::kInt8) return copy_panel<int8_t>(copy, out);
  if (storage == Storage::kBf16) {
    if (element == Element::kBf16) return copy_panel<uint16_t>(copy, out);
    return convert_panel<uint16_t>(copy, element, scale, f32_to_bf16, out);
  }
  if (element == Element::kF32) return copy_panel<float>(copy, out);
  convert_panel<float>(
      copy, element, scale, [](float value) { return value; }, out);
}

}  // namespace

PackedMatrix pack_rows(Arena& arena, Storage storage, int n, int k, const void* source, Element element,
                       const float* column_scale) {
  if (storage == Storage::kInt8 && element != Element::kInt8) {
    throw Error(MOSHI_ERR_INTERNAL, "only int8 weights can be stored as int8");
  }
  const bool kept = storage == Storage::kInt8;
  std::byte* data = arena.bytes(PackedMatrix::bytes(storage, k, n));
  PackedMatrix packed{.k = k, .n = n, .data = data, .storage = storage};
  if (kept && column_scale) packed.column_scale = pack_vector(arena, n, [&](int i) { return column_scale[i]; });
  const float* multiplied = element == Element::kInt8 ? column_scale : nullptr;
  const size_t row_bytes = k * element_bytes(element);
  const size_t panel_bytes = static_cast<size_t>(k) * kPanel * element_bytes(storage);
  for (int panel = 0; panel < packed.panels(); ++panel) {
    const int column = panel * kPanel;
    const PanelCopy copy{k, packed.panel_width(panel), std::min(kPanel, n - column),
                         static_cast<const char*>(source) + column * row_bytes};
    pack_panel(copy, storage, element, multiplied ? multiplied + column : nullptr, data + panel * panel_bytes);
  }
  return packed;
}

}  // namespace moshi::kernels

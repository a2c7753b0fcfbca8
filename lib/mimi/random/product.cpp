// SPDX-License-Identifier: MIT
#include "mimi/random/product.h"

#include <algorithm>
#include <cstring>
#include <thread>

namespace moshi::mimi::random {
namespace {

// Four columns at a time: the same additions and multiplications per element as one at a time, and never fused
// (this library is compiled with -ffp-contract=off).
typedef float Vector __attribute__((vector_size(16)));
constexpr size_t kRowsAtOnce = 4;

Vector load(const float* from) {
  Vector v;
  std::memcpy(&v, from, sizeof(v));
  return v;
}

Vector all(float x) { return Vector{x, x, x, x}; }

/// kRows rows of one panel of columns.
template <size_t kRows>
void multiply_block(const Rows& rows, size_t row, const float* panel, size_t valid, float* out, size_t out_step) {
  Vector sums[kRows][2] = {};
  const float* starts[kRows];
  for (size_t r = 0; r < kRows; ++r) starts[r] = rows.a + (row + r) * rows.row_step;
  for (size_t tap = 0; tap < rows.taps; ++tap) {
    const size_t offset = tap * rows.tap_step;
    for (size_t k = 0; k < rows.run; ++k, panel += Panels::kColumns) {
      const Vector b0 = load(panel);
      const Vector b1 = load(panel + 4);
      for (size_t r = 0; r < kRows; ++r) {
        const Vector a = all(starts[r][offset + k]);
        sums[r][0] += a * b0;
        sums[r][1] += a * b1;
      }
    }
  }
  for (size_t r = 0; r < kRows; ++r) std::memcpy(out + r * out_step, sums[r], valid * sizeof(float));
}

void multiply_part(const Rows& rows, const Panels& b, float* out, size_t begin, size_t end) {
  const size_t panels = (b.columns() + Panels::kColumns - 1) / Panels::kColumns;
  // Rows of a tile stay in the cache while all panels pass.
  constexpr size_t kTile = 64;
  for (size_t tile = begin; tile < end; tile += kTile) {
    const size_t tile_end = std::min(end, tile + kTile);
    for (size_t p = 0; p < panels; ++p) {
      const size_t column = p * Panels::kColumns;
      const size_t valid = std::min(Panels::kColumns, b.columns() - column);
      size_t row = tile;
      for (; row + kRowsAtOnce <= tile_end; row += kRowsAtOnce) {
        multiply_block<kRowsAtOnce>(rows, row, b.panel(p), valid, out + row * b.columns() + column, b.columns());
      }
      for (; row < tile_end; ++row) {
        multiply_block<1>(rows, row, b.panel(p), valid, out + row * b.columns() + column, b.columns());
      }
    }
  }
}

}  // namespace

void in_parallel(size_t count, size_t grain, int threads, const std::function<void(size_t, size_t)>& body) {
  const size_t parts = std::min<size_t>(static_cast<size_t>(std::max(threads, 1)), (count + grain - 1) / grain);
  const auto bound = [&](size_t part) { return std::min(count, (count / grain + 1) * part / parts * grain); };
  std::vector<std::thread> others;
  for (size_t part = 1; part < parts; ++part) {
    others.emplace_back([&, part] { body(bound(part), part + 1 == parts ? count : bound(part + 1)); });
  }
  if (count > 0) body(0, parts > 1 ? bound(1) : count);
  for (std::thread& other : others) other.join();
}

Panels::Panels(size_t depth, size_t columns)
    : depth_(depth), columns_(columns), data_((columns + kColumns - 1) / kColumns * kColumns * depth) {}

void multiply(const Rows& rows, const Panels& b, float* out, int threads) {
  in_parallel(rows.count, kRowsAtOnce, threads,
              [&](size_t begin, size_t end) { multiply_part(rows, b, out, begin, end); });
}

}  // namespace moshi::mimi::random

// SPDX-License-Identifier: MIT
// Packing of weight matrices and the threaded matrix product over them.
#pragma once

#include "kernels/arena.h"
#include "kernels/half.h"
#include "kernels/kernels.h"
#include "kernels/pool.h"

namespace moshi::kernels {

/// Packs a matrix given by element: `at(k, n)`.
template <class At>
PackedMatrix pack(Arena& arena, int k, int n, const At& at) {
  float* data = arena.floats(PackedMatrix::elements(k, n));
  PackedMatrix packed{.k = k, .n = n, .data = data};
  for (int panel = 0; panel < packed.panels(); ++panel) {
    const int width = packed.panel_width(panel);
    float* out = data + static_cast<size_t>(panel) * k * kPanel;
    for (int column = 0; column < width && panel * kPanel + column < n; ++column) {
      for (int i = 0; i < k; ++i) out[static_cast<size_t>(i) * width + column] = at(i, panel * kPanel + column);
    }
  }
  return packed;
}

/// Packs the rows of a checkpoint: `source` is [n][k], row-major, at any address; column i of the result is its row i.
/// int8 storage is for int8 elements alone. `column_scale` (n floats, or null) is what int8 elements are to be
/// multiplied by: kept beside them in int8 storage, multiplied into them in any other. f32 rounds to bf16 to the
/// nearest, ties to even.
PackedMatrix pack_rows(Arena& arena, Storage storage, int n, int k, const void* source, Element element,
                       const float* column_scale = nullptr);

/// A vector padded with zeros to whole lanes, as GemmCall wants bias and scale.
template <class At>
const float* pack_vector(Arena& arena, int n, const At& at) {
  float* data = arena.floats(round_up(n, kLanes));
  for (int i = 0; i < n; ++i) data[i] = at(i);
  return data;
}

/// Subtracts column `column` of a packed f32 matrix from k floats.
void subtract_column(const PackedMatrix& matrix, int column, float* from);

/// Runs a product on the pool.
void run_gemm(Pool& pool, const Kernels& kernels, const GemmCall& call);

}  // namespace moshi::kernels

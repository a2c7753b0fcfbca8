// SPDX-License-Identifier: MIT
#include "kernels/gemm.h"

#include <algorithm>

namespace moshi::kernels {
namespace {

// Rows that stay in the second-level cache while the panels pass; a multiple of every kernel's row count.
constexpr int kRowsAtOnce = 96;

}  // namespace

void subtract_column(const PackedMatrix& matrix, int column, float* from) {
  const int panel = column / kPanel;
  const int width = matrix.panel_width(panel);
  const float* in = static_cast<const float*>(matrix.panel(panel)) + column % kPanel;
  for (int i = 0; i < matrix.k; ++i) from[i] -= in[static_cast<size_t>(i) * width];
}

void run_gemm(Pool& pool, const Kernels& kernels, const GemmCall& call) {
  const int panels = call.b.panels();
  const int chunks = (call.rows + kRowsAtOnce - 1) / kRowsAtOnce;
  pool.run(panels * chunks, [&](int task) {
    const int begin = task / panels * kRowsAtOnce;
    kernels.gemm(call, task % panels, begin, std::min(begin + kRowsAtOnce, call.rows));
  });
}

}  // namespace moshi::kernels

// SPDX-License-Identifier: MIT
// AVX2 with FMA: a vector of sixteen lanes is two registers, so that six rows by one vector fill 12 of 16.
// Nothing here may call an inline function of a standard header: the linker could keep this file's copy of it, which
// other processors cannot run.
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

namespace moshi::kernels::avx2 {
namespace {

#include "kernels/isa/vec_avx2.h"

// For gemm.h: how far ahead to ask for weights, how many vectors of a panel to take at once with so many rows, and
// how many rows those allow (0: never taken).
constexpr int kMaxRows = 6;
constexpr int kPrefetch = 2048;  // bytes
constexpr int vectors_for(int rows, int vectors) {
  const int most = rows == 1 ? 4 : rows <= 3 ? 2 : 1;
  return vectors < most ? vectors : most;
}
constexpr int rows_for(int vectors) { return vectors == 1 ? 6 : vectors == 2 ? 3 : 1; }

// For attention.h: how many vectors of a value to sum at once.
constexpr int kValueVectors = 4;

// Each builds on those before it.
// clang-format off
#include "kernels/isa/math.h"
#include "kernels/isa/gates.h"
#include "kernels/isa/gemm.h"
#include "kernels/isa/rowwise.h"
#include "kernels/isa/attention.h"
// clang-format on

}  // namespace

extern const Kernels kernels;
const Kernels kernels{"avx2", gemm, attend, layer_norm, elu, argmax, blend, rms_norm, gate, add, softmax, finite};

}  // namespace moshi::kernels::avx2

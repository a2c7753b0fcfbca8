// SPDX-License-Identifier: MIT
// AVX-512 (F, DQ, BW, VL): six rows by four vectors fill 24 of 32 registers.
// Nothing here may call an inline function of a standard header: the linker could keep this file's copy of it, which
// other processors cannot run.
#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

namespace moshi::kernels::avx512 {
namespace {

#include "kernels/isa/vec_avx512.h"

// For gemm.h: how far ahead to ask for weights, how many vectors of a panel to take at once with so many rows, and
// how many rows those allow (0: never taken).
constexpr int kMaxRows = 12;
constexpr int kPrefetch = 2048;  // bytes
constexpr int vectors_for(int, int vectors) { return vectors; }
constexpr int rows_for(int vectors) { return vectors == 4 ? 6 : vectors == 3 ? 8 : 12; }

// For attention.h: how many vectors of a value to sum at once.
constexpr int kValueVectors = 8;

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
const Kernels kernels{"avx512", gemm, attend, layer_norm, elu, argmax, blend, rms_norm, gate, add, softmax, finite};

}  // namespace moshi::kernels::avx512

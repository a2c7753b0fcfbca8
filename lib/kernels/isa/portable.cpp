// SPDX-License-Identifier: MIT
// Plain C++ with fused multiply-adds: any processor, the same bits.
// Nothing here may call an inline function of a standard header: the linker could keep this file's copy of it, which
// other processors cannot run.
#include <stddef.h>
#include <stdint.h>

#include "kernels/kernels.h"

namespace moshi::kernels::portable {
namespace {

#include "kernels/isa/vec_portable.h"

// For gemm.h: how far ahead to ask for weights, how many vectors of a panel to take at once with so many rows, and
// how many rows those allow (0: never taken).
constexpr int kMaxRows = 6;
constexpr int kPrefetch = 2048;  // bytes
constexpr int vectors_for(int, int) { return 1; }
constexpr int rows_for(int vectors) { return vectors == 1 ? 4 : 0; }

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
const Kernels kernels{"portable", gemm, attend, layer_norm, elu, argmax, blend, rms_norm, gate, add, softmax, finite};

}  // namespace moshi::kernels::portable

// SPDX-License-Identifier: MIT
// The compute kernels of the packed CPU backend, one table per instruction set.
//
// Every kernel gives the same bits on every path: sums are chains of fused multiply-adds (or sixteen of them, added as
// a fixed tree) whose order depends on the layer's shape alone, and exp, expm1 and erf are the same polynomials.
// Narrow elements are widened to f32 exactly, so that storage changes the values, never the arithmetic. Threads, tiles
// and the number of rows only choose which outputs are computed when.
#pragma once

#include <cstddef>
#include <cstdint>

namespace moshi::kernels {

/// Columns of a full panel of a packed matrix, and lanes of the virtual vector that all paths share.
inline constexpr int kPanel = 64;
inline constexpr int kLanes = 16;
/// Products are summed in blocks of this many k, then the blocks' sums in order: closer to the exact sum than one
/// chain over thousands, at no cost.
inline constexpr int kBlock = 256;

inline constexpr int round_up(int value, int multiple) { return (value + multiple - 1) / multiple * multiple; }

/// How packed weights and key-value rings keep their elements: float, bf16 as uint16_t, int8_t.
enum class Storage { kF32, kBf16, kInt8 };

inline constexpr size_t element_bytes(Storage storage) {
  return storage == Storage::kF32 ? 4 : storage == Storage::kBf16 ? 2 : 1;
}

/// A weight matrix [k][n] as panels of 64 columns, each [k][64]; the last panel is as narrow as whole vectors allow.
/// Columns beyond n are zero. Does not own its memory.
struct PackedMatrix {
  int k = 0;
  int n = 0;
  const void* data = nullptr;
  Storage storage = Storage::kF32;
  /// round_up(n, 16) floats or null: sums over a column are multiplied by it (int8 weights).
  const float* column_scale = nullptr;

  int panels() const { return (n + kPanel - 1) / kPanel; }
  int panel_width(int panel) const {
    const int left = n - panel * kPanel;
    return left >= kPanel ? kPanel : round_up(left, kLanes);
  }
  const void* panel(int index) const {
    return static_cast<const char*>(data) + static_cast<size_t>(index) * k * kPanel * element_bytes(storage);
  }
  static size_t elements(int k, int n) { return static_cast<size_t>(k) * round_up(n, kLanes); }
  static size_t bytes(Storage storage, int k, int n) { return elements(k, n) * element_bytes(storage); }
};

enum class Activation { kNone, kGelu };

/// rows x B, then per element: * column scale of B, + bias, activation, * scale, + residual; stored as it is to `out`,
/// and after ELU to `out_elu`. Rows are pointers, so that windows of any stride and rows of many streams need no copy.
struct GemmCall {
  int rows = 0;
  const float* const* a = nullptr;  ///< rows pointers to b.k floats each
  PackedMatrix b;
  const float* bias = nullptr;   ///< round_up(n, 16) floats or null
  const float* scale = nullptr;  ///< round_up(n, 16) floats or null
  Activation activation = Activation::kNone;
  const float* const* residual = nullptr;  ///< rows pointers to n floats, or null; may equal `out`
  float* const* out = nullptr;             ///< rows pointers to n floats, or null
  float* const* out_elu = nullptr;         ///< rows pointers to n floats, or null
};

/// Attention of the queries of one frame and head over a ring of keys and values.
/// Keys lie in blocks of sixteen slots, [slot / 16][dimension][16]; values as [slot][dimension]. Blocks without a key
/// that the query sees are not touched, nor is the scratch for them.
struct AttendCall {
  const void* keys = nullptr;    ///< elements of `storage`
  const void* values = nullptr;  ///< elements of `storage`
  const float* query = nullptr;  ///< head_dim floats
  float* out = nullptr;          ///< head_dim floats
  float* scores = nullptr;       ///< scratch: 2 * round_up(capacity, 16) floats
  int head_dim = 0;              ///< a multiple of 16 (padded with zeros)
  int capacity = 0;              ///< slots of the ring
  int first_slot = 0;            ///< slot of the oldest key that the query sees
  int count = 0;                 ///< keys that it sees: slots first_slot, first_slot + 1, ... modulo capacity
  float scale = 1.0f;
  Storage storage = Storage::kF32;  ///< kF32 or kBf16
};

/// What a gated feed-forward applies to its gate.
enum class Gate { kSilu, kGelu, kSigmoid, kTanh, kRelu, kLeakyRelu, kElu, kMish, kSoftsign, kIdentity };

struct Kernels {
  const char* name;
  /// Rows [row_begin, row_end) of one panel.
  void (*gemm)(const GemmCall& call, int panel, int row_begin, int row_end);
  void (*attend)(const AttendCall& call);
  /// y = (x - mean) / sqrt(variance + eps) * weight + bias over d values.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float* y, int d, float eps);
  void (*elu)(const float* x, float* y, size_t count);
  /// Index of the largest value, the first of equals.
  int (*argmax)(const float* x, int count);
  /// y = a * x + b * w, elementwise (the depthwise upsampling); a, b are the current and the previous input.
  void (*blend)(const float* a, const float* x, const float* b, const float* w, float* y, int count);
  /// y = x * (weight / sqrt(mean(x * x) + eps)) over d values.
  void (*rms_norm)(const float* x, const float* weight, float* y, int d, float eps);
  /// y = activation(gate) * up; y may be gate or up.
  void (*gate)(Gate kind, const float* gate, const float* up, float* y, int count);
  /// y += x.
  void (*add)(float* y, const float* x, int count);
  /// Probabilities: exp(x - max) / sum; y may be x. -inf gives 0; one value at least must be finite.
  void (*softmax)(const float* x, float* y, int count);
  /// Whether no value is infinite or NaN.
  bool (*finite)(const float* x, int count);
};

/// The fastest table that this processor runs; the environment variable MOSHI_KERNELS (avx512, avx2, portable) asks
/// for another. Throws Error(NOT_SUPPORTED) if that cannot run here.
const Kernels& select_kernels();

/// The table of that name, or null if there is none that this processor runs.
const Kernels* find_kernels(const char* name);

}  // namespace moshi::kernels

// SPDX-License-Identifier: MIT
// The matrix product: R rows by NV vectors of one panel at a time, held in registers over a block of k.

template <int R, int NV, class T>
inline __attribute__((always_inline)) void micro_block(const float* const* a, const T* b, int width, int k_begin,
                                                       int k_end, Vec (&acc)[R][NV]) {
  for (int k = k_begin; k < k_end; ++k) {
    const T* bk = b + static_cast<size_t>(k) * width;
    if constexpr (R <= 3) {
      // Few rows run at the speed of memory: ask for the panel well ahead of its use.
      constexpr int kBytes = NV * 16 * static_cast<int>(sizeof(T));
      const char* ahead = reinterpret_cast<const char*>(bk) + kPrefetch;
      __builtin_prefetch(ahead);
      if constexpr (kBytes > 64) __builtin_prefetch(ahead + 64);
      if constexpr (kBytes > 128) __builtin_prefetch(ahead + 128);
      if constexpr (kBytes > 192) __builtin_prefetch(ahead + 192);
    }
    Vec bv[NV];
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) bv[j] = vload(bk + j * 16);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const Vec av = vset(a[r][k]);
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) acc[r][j] = vfma(av, bv[j], acc[r][j]);
    }
  }
}

/// sums[r][j * 16 + lane]: the product of R rows with NV vectors of a panel's columns from `first` on, block by block
/// of k.
template <int R, int NV, class T>
void micro(const float* const* rows, const void* panel, int first, int width, int k, float* sums) {
  const T* b = static_cast<const T*>(panel) + first;
  const float* a[R];
  for (int r = 0; r < R; ++r) a[r] = rows[r];
  for (int k_begin = 0; k_begin < k; k_begin += kBlock) {
    const int k_end = k_begin + kBlock < k ? k_begin + kBlock : k;
    Vec acc[R][NV];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) acc[r][j] = vzero();
    }
    micro_block<R, NV, T>(a, b, width, k_begin, k_end, acc);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) {
        float* sum = sums + (r * NV + j) * 16;
        vstore(sum, k_begin == 0 ? acc[r][j] : vadd(vload(sum), acc[r][j]));
      }
    }
  }
}

/// The numbers 0 to N - 1 as a type (std::integer_sequence without its header).
template <int... R>
struct Rows {};
template <int N, int... R>
struct CountTo : CountTo<N - 1, N - 1, R...> {};
template <int... R>
struct CountTo<0, R...> {
  using type = Rows<R...>;
};

using MicroFn = void (*)(const float* const*, const void*, int, int, int, float*);

/// The kernels of NV vectors for 1 to rows_for(NV) rows.
template <int NV, class T, int... R>
MicroFn pick_rows(int rows, Rows<R...>) {
  static constexpr MicroFn table[] = {micro<R + 1, NV, T>...};
  return table[rows - 1];
}

template <int NV, class T>
MicroFn pick_rows(int rows) {
  return pick_rows<NV, T>(rows, typename CountTo<rows_for(NV)>::type{});
}

template <class T>
MicroFn pick_vectors(int rows, int vectors) {
  if constexpr (rows_for(4) > 0) {
    if (vectors == 4) return pick_rows<4, T>(rows);
  }
  if constexpr (rows_for(3) > 0) {
    if (vectors == 3) return pick_rows<3, T>(rows);
  }
  if constexpr (rows_for(2) > 0) {
    if (vectors == 2) return pick_rows<2, T>(rows);
  }
  return pick_rows<1, T>(rows);
}

inline MicroFn pick(Storage storage, int rows, int vectors) {
  if (storage == Storage::kBf16) return pick_vectors<uint16_t>(rows, vectors);
  if (storage == Storage::kInt8) return pick_vectors<int8_t>(rows, vectors);
  return pick_vectors<float>(rows, vectors);
}

/// What happens to one vector of finished sums: columns [column, column + 16) of a row, of which `valid` exist.
inline void finish(const GemmCall& call, int row, int column, int valid, Vec v) {
  if (call.b.column_scale) v = vmul(v, vload(call.b.column_scale + column));
  if (call.bias) v = vadd(v, vload(call.bias + column));
  if (call.activation == Activation::kGelu) v = vgelu(v);
  if (call.scale) v = vmul(v, vload(call.scale + column));
  if (valid >= 16) {
    if (call.residual) v = vadd(vload(call.residual[row] + column), v);
    if (call.out) vstore(call.out[row] + column, v);
    if (call.out_elu) vstore(call.out_elu[row] + column, velu(v));
  } else {
    if (call.residual) v = vadd(vload_part(call.residual[row] + column, valid), v);
    if (call.out) vstore_part(call.out[row] + column, v, valid);
    if (call.out_elu) vstore_part(call.out_elu[row] + column, velu(v), valid);
  }
}

void gemm(const GemmCall& call, int panel, int row_begin, int row_end) {
  const int width = call.b.panel_width(panel);
  const void* b = call.b.panel(panel);
  alignas(64) float sums[kMaxRows * kPanel];
  for (int row = row_begin; row < row_end;) {
    const int left = row_end - row;
    const int vectors_at_once = vectors_for(left, width / 16);
    const int most = rows_for(vectors_at_once);
    const int rows = left < most ? left : most;
    for (int vector = 0; vector < width / 16; vector += vectors_at_once) {
      const int remaining = width / 16 - vector;
      const int vectors = remaining < vectors_at_once ? remaining : vectors_at_once;
      pick(call.b.storage, rows, vectors)(call.a + row, b, vector * 16, width, call.b.k, sums);
      for (int r = 0; r < rows; ++r) {
        for (int j = 0; j < vectors; ++j) {
          const int column = panel * kPanel + (vector + j) * 16;
          const int valid = call.b.n - column;
          if (valid > 0) finish(call, row + r, column, valid, vload(sums + (r * vectors + j) * 16));
        }
      }
    }
    row += rows;
  }
}

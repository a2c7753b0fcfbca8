// SPDX-License-Identifier: MIT
#include "lm/layer_loader.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace moshi::lm {
namespace {

kernels::Storage storage_of(Element element, bool bf16) {
  switch (element) {
    case Element::kInt8:
      return kernels::Storage::kInt8;
    case Element::kBf16:
      return kernels::Storage::kBf16;
    default:
      return bf16 ? kernels::Storage::kBf16 : kernels::Storage::kF32;
  }
}

Element table_element(Element element, bool bf16) {
  return bf16 && element == Element::kF32 ? Element::kBf16 : element;
}

size_t matrix_bytes(const Matrix& matrix) {
  return static_cast<size_t>(matrix.rows) * matrix.columns * kernels::element_bytes(matrix.element);
}

/// The values of rows [first, first + count).
void read_rows(const Matrix& matrix, int first, int count, float* out) {
  const size_t width = matrix.columns;
  const std::byte* from = matrix.data + first * width * kernels::element_bytes(matrix.element);
  kernels::to_f32(matrix.element, from, out, count * width);
  if (!matrix.row_scale) return;
  for (int row = 0; row < count; ++row) {
    const float scale = matrix.row_scale[first + row] / 127.0f;
    for (size_t i = 0; i < width; ++i) out[row * width + i] *= scale;
  }
}

/// weight + scaling * up * down, in f32.
std::vector<float> merge(const Linear& linear) {
  constexpr int kRowsAtOnce = 64;
  const int rank = linear.down.rows;
  const int in = linear.weight.columns;
  std::vector<float> down(static_cast<size_t>(rank) * in);
  std::vector<float> up(static_cast<size_t>(linear.up.rows) * rank);
  read_rows(linear.down, 0, rank, down.data());
  read_rows(linear.up, 0, linear.up.rows, up.data());
  for (float& value : up) value *= linear.scaling;
  std::vector<float> merged(static_cast<size_t>(linear.weight.rows) * in);
  read_rows(linear.weight, 0, linear.weight.rows, merged.data());

  kernels::Arena arena;
  const kernels::PackedMatrix packed =
      kernels::pack(arena, rank, in, [&](int k, int n) { return down[static_cast<size_t>(k) * in + n]; });
  const kernels::Kernels& kernels = kernels::select_kernels();
  for (int first = 0; first < linear.weight.rows; first += kRowsAtOnce) {
    const int count = std::min(kRowsAtOnce, linear.weight.rows - first);
    const float* a[kRowsAtOnce];
    float* out[kRowsAtOnce];
    for (int row = 0; row < count; ++row) {
      a[row] = &up[static_cast<size_t>(first + row) * rank];
      out[row] = &merged[static_cast<size_t>(first + row) * in];
    }
    const kernels::GemmCall call{.rows = count, .a = a, .b = packed, .residual = out, .out = out};
    for (int panel = 0; panel < packed.panels(); ++panel) kernels.gemm(call, panel, 0, count);
  }
  return merged;
}

}  // namespace

kernels::PackedMatrix LayerLoader::pack(const Matrix& matrix) {
  std::vector<float> scale;
  if (matrix.row_scale) {
    for (int row = 0; row < matrix.rows; ++row) scale.push_back(matrix.row_scale[row] / 127.0f);
  }
  const kernels::PackedMatrix packed =
      kernels::pack_rows(arena_, storage_of(matrix.element, bf16_), matrix.rows, matrix.columns, matrix.data,
                         matrix.element, scale.empty() ? nullptr : scale.data());
  weights_.drop(matrix);
  advance(matrix_bytes(matrix));
  return packed;
}

PackedLinear LayerLoader::linear(const std::string& name) {
  const Linear linear = weights_.linear(name);
  PackedLinear packed;
  if (linear.has_lora() && !lora_separate_) {
    const std::vector<float> merged = merge(linear);
    packed.weight = kernels::pack_rows(arena_, bf16_ ? kernels::Storage::kBf16 : kernels::Storage::kF32,
                                       linear.weight.rows, linear.weight.columns, merged.data(), Element::kF32);
    weights_.drop(linear.weight);
    advance(matrix_bytes(linear.weight));
    return packed;
  }
  packed.weight = pack(linear.weight);
  if (linear.has_lora()) {
    packed.down = pack(linear.down);
    packed.up = pack(linear.up);
    packed.scaling = kernels::pack_vector(arena_, linear.weight.rows, [&](int) { return linear.scaling; });
  }
  return packed;
}

kernels::PackedMatrix LayerLoader::linear_part(const std::string& name, int first, int count) {
  Linear linear = weights_.linear(name);
  const size_t width = linear.weight.columns;
  if (linear.has_lora()) {
    const std::vector<float> merged = merge(linear);
    return kernels::pack_rows(arena_, bf16_ ? kernels::Storage::kBf16 : kernels::Storage::kF32, count,
                              static_cast<int>(width), &merged[first * width], Element::kF32);
  }
  Matrix part = linear.weight;
  part.rows = count;
  part.data += first * width * kernels::element_bytes(part.element);
  if (part.row_scale) part.row_scale += first;
  return pack(part);
}

const float* LayerLoader::vector(const std::string& name) {
  const std::vector<float> values = weights_.vector(name);
  return kernels::pack_vector(arena_, static_cast<int>(values.size()), [&](int i) { return values[i]; });
}

PackedTable LayerLoader::table(const std::string& name) {
  const Matrix matrix = weights_.table(name);
  PackedTable table;
  table.element = table_element(matrix.element, bf16_);
  table.rows = matrix.rows;
  table.width = matrix.columns;
  std::byte* data = arena_.bytes(packed_table_bytes(matrix, bf16_));
  table.data = data;
  if (table.element == matrix.element) {
    std::memcpy(data, matrix.data, matrix_bytes(matrix));
  } else {
    std::vector<float> row(matrix.columns);
    auto* out = reinterpret_cast<uint16_t*>(data);
    for (int r = 0; r < matrix.rows; ++r) {
      read_rows(matrix, r, 1, row.data());
      out = std::transform(row.begin(), row.end(), out, kernels::f32_to_bf16);
    }
  }
  weights_.drop(matrix);
  advance(matrix_bytes(matrix));
  return table;
}

void LayerLoader::advance(uint64_t bytes) {
  done_bytes_ += bytes;
  const auto total = static_cast<double>(std::max<uint64_t>(weights_.file_bytes(), 1));
  if (progress_) progress_(std::min(1.0, static_cast<double>(done_bytes_) / total));
}

void PackedTable::read(int row, float* out) const {
  kernels::to_f32(element, data + static_cast<size_t>(row) * width * kernels::element_bytes(element), out, width);
}

uint64_t packed_linear_bytes(const Linear& linear, bool bf16, bool lora_separate) {
  const auto bytes = [&](const Matrix& m, kernels::Storage storage) {
    return kernels::PackedMatrix::bytes(storage, m.columns, m.rows) +
           (m.row_scale ? sizeof(float) * kernels::round_up(m.rows, kernels::kLanes) : 0);
  };
  if (!linear.has_lora()) return bytes(linear.weight, storage_of(linear.weight.element, bf16));
  if (!lora_separate) return bytes(linear.weight, storage_of(Element::kF32, bf16));
  return bytes(linear.weight, storage_of(linear.weight.element, bf16)) +
         bytes(linear.down, storage_of(linear.down.element, bf16)) +
         bytes(linear.up, storage_of(linear.up.element, bf16));
}

uint64_t packed_table_bytes(const Matrix& table, bool bf16) {
  return static_cast<uint64_t>(table.rows) * table.columns * kernels::element_bytes(table_element(table.element, bf16));
}

}  // namespace moshi::lm

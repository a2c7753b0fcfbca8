// SPDX-License-Identifier: MIT
// Memory-mapped safetensors files. Every field of the header is checked before anything is read through it: a
// damaged, truncated or hostile file gives an Error, never a crash.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace moshi::checkpoint {

enum class Dtype { kBool, kU8, kI8, kI16, kU16, kF16, kBF16, kI32, kU32, kF32, kF64, kI64, kU64 };
size_t dtype_bytes(Dtype dtype);
const char* dtype_name(Dtype dtype);

struct Tensor {
  std::string name;
  Dtype dtype = Dtype::kF32;
  std::vector<int64_t> shape;
  std::span<const std::byte> data;  ///< points into the mapping; alive as long as the file object

  int64_t elements() const;
  /// The values as f32, converted from f16, bf16, f32 or f64. Throws Error(NOT_SUPPORTED) for other types.
  std::vector<float> to_f32() const;
};

class SafetensorsFile {
 public:
  /// Maps the file and checks its header. Throws Error: NOT_FOUND, READ or FORMAT, with the path and what is wrong.
  static std::shared_ptr<const SafetensorsFile> open(const std::string& path);
  virtual ~SafetensorsFile() = default;

  virtual const std::string& path() const = 0;
  virtual uint64_t file_bytes() const = 0;
  virtual const std::map<std::string, Tensor, std::less<>>& tensors() const = 0;
  virtual const std::map<std::string, std::string>& metadata() const = 0;
  /// Tells the system that a tensor's pages are not needed any more.
  virtual void drop(const Tensor& tensor) const = 0;
  /// Hex SHA-256 of the whole file; reads all of it. `check` is called now and then; what it throws ends it.
  virtual std::string sha256(const std::function<void()>& check = {}) const = 0;
};

/// Writes tensors (data as f32) to a new safetensors file, atomically (temporary file, then rename).
struct F32Tensor {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<float> data;
};
void write_safetensors(const std::string& path, const std::vector<F32Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata);

}  // namespace moshi::checkpoint

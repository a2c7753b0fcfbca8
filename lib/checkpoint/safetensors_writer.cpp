// SPDX-License-Identifier: MIT
#include "checkpoint/safetensors_writer.h"

#include <nlohmann/json.hpp>
#include <set>

#include "common/error.h"

namespace moshi::checkpoint {
namespace {

uint64_t checked_bytes(const TensorHead& tensor, std::set<std::string>& names) {
  uint64_t bytes = dtype_bytes(tensor.dtype);
  bool fits = true;
  for (const int64_t size : tensor.shape) {
    fits = fits && size >= 0 && !__builtin_mul_overflow(bytes, static_cast<uint64_t>(size), &bytes);
  }
  if (!fits) throw Error(MOSHI_ERR_INVALID_ARGUMENT, "Tensor \"" + tensor.name + "\" has a shape that cannot be");
  if (tensor.name == "__metadata__" || !names.insert(tensor.name).second) {
    throw Error(MOSHI_ERR_INVALID_ARGUMENT, "Two tensors cannot have the name \"" + tensor.name + "\"");
  }
  return bytes;
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(const std::string& path, const std::vector<TensorHead>& tensors,
                                     const std::map<std::string, std::string>& metadata)
    : file_(path) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::set<std::string> names;
  size_t element = sizeof(double);
  for (const TensorHead& tensor : tensors) {
    if (dtype_bytes(tensor.dtype) > element) {
      throw Error(MOSHI_ERR_INVALID_ARGUMENT, "Tensor \"" + tensor.name + "\" comes behind one of smaller elements");
    }
    element = dtype_bytes(tensor.dtype);
    const uint64_t end = left_ + checked_bytes(tensor, names);
    header[tensor.name] = {
        {"dtype", dtype_name(tensor.dtype)}, {"shape", tensor.shape}, {"data_offsets", {left_, end}}};
    left_ = end;
  }
  std::string text = header.dump();
  // Blanks are allowed at the end; with them the data is aligned in a mapping.
  while (text.size() % 64 != 56) text += ' ';
  const uint64_t length = text.size();
  file_.write(std::as_bytes(std::span(&length, 1)));
  file_.write(std::as_bytes(std::span(text)));
}

void SafetensorsWriter::write(std::span<const std::byte> bytes) {
  if (bytes.size() > left_) {
    throw Error(MOSHI_ERR_INTERNAL, "A safetensors file was given more data than its header announces");
  }
  left_ -= bytes.size();
  file_.write(bytes);
}

void SafetensorsWriter::commit() {
  if (left_ != 0) {
    throw Error(MOSHI_ERR_INTERNAL, "A safetensors file was given less data than its header announces");
  }
  file_.commit();
}

void write_safetensors(const std::string& path, const std::vector<F32Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<TensorHead> heads;
  for (const F32Tensor& tensor : tensors) {
    uint64_t elements = 1;
    for (const int64_t size : tensor.shape) elements *= static_cast<uint64_t>(size);
    if (elements != tensor.data.size()) {
      throw Error(MOSHI_ERR_INVALID_ARGUMENT, "Tensor \"" + tensor.name + "\" has " +
                                                  std::to_string(tensor.data.size()) +
                                                  " values, which its shape does not hold");
    }
    heads.push_back({tensor.name, Dtype::kF32, tensor.shape});
  }
  SafetensorsWriter file(path, heads, metadata);
  for (const F32Tensor& tensor : tensors) file.write(std::as_bytes(std::span(tensor.data)));
  file.commit();
}

}  // namespace moshi::checkpoint

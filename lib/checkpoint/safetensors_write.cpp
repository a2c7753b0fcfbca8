// SPDX-License-Identifier: MIT
#include <nlohmann/json.hpp>
#include <set>

#include "checkpoint/atomic_file.h"
#include "checkpoint/safetensors.h"
#include "common/error.h"

namespace moshi::checkpoint {
namespace {

void check_tensor(const F32Tensor& tensor, std::set<std::string>& names) {
  uint64_t elements = 1;
  bool fits = true;
  for (const int64_t size : tensor.shape) {
    fits = fits && size >= 0 && !__builtin_mul_overflow(elements, static_cast<uint64_t>(size), &elements);
  }
  if (!fits || elements != tensor.data.size()) {
    throw Error(MOSHI_ERR_INVALID_ARGUMENT, "Tensor \"" + tensor.name + "\" has " + std::to_string(tensor.data.size()) +
                                                " values, which its shape does not hold");
  }
  if (tensor.name == "__metadata__" || !names.insert(tensor.name).second) {
    throw Error(MOSHI_ERR_INVALID_ARGUMENT, "Two tensors cannot have the name \"" + tensor.name + "\"");
  }
}

std::string header_text(const std::vector<F32Tensor>& tensors, const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::set<std::string> names;
  uint64_t at = 0;
  for (const F32Tensor& tensor : tensors) {
    check_tensor(tensor, names);
    const uint64_t end = at + tensor.data.size() * sizeof(float);
    header[tensor.name] = {{"dtype", "F32"}, {"shape", tensor.shape}, {"data_offsets", {at, end}}};
    at = end;
  }
  std::string text = header.dump();
  // Blanks are allowed at the end; with them the data is aligned in a mapping.
  while (text.size() % 64 != 56) text += ' ';
  return text;
}

}  // namespace

void write_safetensors(const std::string& path, const std::vector<F32Tensor>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  const std::string header = header_text(tensors, metadata);
  const uint64_t length = header.size();
  AtomicFile file(path);
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(std::as_bytes(std::span(header)));
  for (const F32Tensor& tensor : tensors) file.write(std::as_bytes(std::span(tensor.data)));
  file.commit();
}

}  // namespace moshi::checkpoint

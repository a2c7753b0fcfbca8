// SPDX-License-Identifier: MIT
// libFuzzer target: any bytes as a safetensors file. Opening must give an Error or tensors that can all be read.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

#include "checkpoint/safetensors.h"
#include "common/error.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const int fd = memfd_create("fuzz", 0);
  static const std::string path = "/proc/self/fd/" + std::to_string(fd);
  if (ftruncate(fd, static_cast<off_t>(size)) != 0 || pwrite(fd, data, size, 0) != static_cast<ssize_t>(size)) abort();
  try {
    const auto file = moshi::checkpoint::SafetensorsFile::open(path);
    float sum = 0.0f;
    for (const auto& [name, tensor] : file->tensors()) {
      if (static_cast<size_t>(tensor.elements()) * dtype_bytes(tensor.dtype) != tensor.data.size()) abort();
      try {
        for (const float value : tensor.to_f32()) sum += value;
      } catch (const moshi::Error& e) {
        if (e.status() != MOSHI_ERR_NOT_SUPPORTED) abort();
      }
    }
    static volatile float keep;
    keep = sum;
  } catch (const moshi::Error& e) {
    if (e.status() != MOSHI_ERR_FORMAT && e.status() != MOSHI_ERR_NOT_SUPPORTED) abort();
  }
  return 0;
}

// SPDX-License-Identifier: MIT
#include "engine/device.h"

#include <charconv>
#include <filesystem>

#include "common/log.h"
#include "engine/codec_factory.h"
#include "engine/errors.h"

namespace moshi::engine {
namespace {

/// GPUs that the NVIDIA driver shows, found without loading any of CUDA.
int cuda_devices() {
  std::error_code ignored;
  int count = 0;
  for (std::filesystem::directory_iterator at("/proc/driver/nvidia/gpus", ignored), end; !ignored && at != end;
       at.increment(ignored)) {
    ++count;
  }
  return count;
}

std::string resolve_cuda(const std::string& name) {
  int index = 0;
  if (name != "cuda") {
    const char* first = name.data() + 5;
    const char* last = name.data() + name.size();
    const auto [end, status] = std::from_chars(first, last, index);
    if (status != std::errc() || end != last || index < 0) {
      invalid("device=" + name + ": what follows \"cuda:\" must be the number of a device, from 0 on");
    }
  }
  const int there = cuda_devices();
  if (index >= there) {
    throw Error(MOSHI_ERR_NO_DEVICE, "device=" + name + ": this machine has " +
                                         (there ? std::to_string(there) + " CUDA device(s)" : "no CUDA device") +
                                         "; use device=cpu or device=auto");
  }
  if (!has_backend(Backend::kTorch)) {
    throw Error(MOSHI_ERR_NO_DEVICE, "device=" + name + ": this core was built without LibTorch, which CUDA needs");
  }
  return "cuda:" + std::to_string(index);
}

}  // namespace

std::string resolve_device(const std::string& name) {
  if (name == "cpu") return "cpu";
  if (name.empty() || name == "auto") {
    if (cuda_devices() > 0) log(MOSHI_LOG_INFO, "engine", "device=auto: using the CPU; device=cuda asks for the GPU");
    return "cpu";
  }
  if (name == "cuda" || name.rfind("cuda:", 0) == 0) return resolve_cuda(name);
  invalid("device=" + name + " is not a device: it is one of auto, cpu, cuda, cuda:N");
}

}  // namespace moshi::engine

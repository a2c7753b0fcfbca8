// SPDX-License-Identifier: MIT
#include "mimi/torch_device.h"

#include <ATen/detail/CUDAHooksInterface.h>
#include <dlfcn.h>

#include <charconv>
#include <filesystem>
#include <mutex>
#include <string_view>
#include <typeinfo>

#include "common/error.h"
#include "common/log.h"

namespace moshi::mimi {
namespace {

/// The folder of the LibTorch that this process uses.
std::filesystem::path torch_folder() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&at::globalContext), &info) == 0 || info.dli_fname == nullptr) return {};
  return std::filesystem::path(info.dli_fname).parent_path();
}

/// Opens libtorch_cuda.so, whose initializers register its operators and its hooks. Never closed: LibTorch keeps
/// pointers into it.
void open_cuda_library() {
  static std::mutex mutex;
  static bool opened = false;
  const std::lock_guard lock(mutex);
  if (opened) return;
  const std::string path = (torch_folder() / "libtorch_cuda.so").string();
  if (!std::filesystem::exists(path)) {
    throw Error(MOSHI_ERR_NO_DEVICE,
                "device cuda needs a LibTorch with CUDA: there is no " + path + "; install one, or use device cpu");
  }
  if (dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr) {
    const char* reason = dlerror();
    throw Error(
        MOSHI_ERR_NO_DEVICE,
        "device cuda needs CUDA's libraries, and " + path + " cannot be opened; install them, or use device cpu",
        reason != nullptr ? reason : "");
  }
  opened = true;
}

/// LibTorch settles for good whether there is CUDA when an operator first asks, and a convolution on the CPU asks. So
/// where a GPU may be, CUDA is opened before any operator runs, even if only the CPU is wanted so far.
void open_cuda_library_in_time() {
  static std::once_flag once;
  std::call_once(once, [] {
    if (!std::filesystem::exists("/dev/nvidiactl") && !std::filesystem::exists("/dev/dxg")) return;
    try {
      open_cuda_library();
    } catch (const Error& error) {
      log(MOSHI_LOG_INFO, "torch", error.what());
    }
  });
}

/// Whether the question was settled, with no, before CUDA was opened.
bool settled_without_cuda() { return typeid(at::detail::getCUDAHooks()) == typeid(at::CUDAHooksInterface); }

int cuda_index(const std::string& name) {
  constexpr std::string_view kPrefix = "cuda:";
  if (name == "cuda") return 0;
  int index = -1;
  const char* first = name.data() + kPrefix.size();
  const char* last = name.data() + name.size();
  if (name.starts_with(kPrefix) && first != last) {
    const auto [end, failure] = std::from_chars(first, last, index);
    if (failure == std::errc() && end == last && index >= 0 && index < 128) return index;
  }
  throw Error(MOSHI_ERR_NO_DEVICE, "there is no device '" + name + "'; the devices are cpu, cuda and cuda:N");
}

}  // namespace

at::Device open_torch_device(const std::string& name) {
  if (name == "cpu") {
    open_cuda_library_in_time();
    return at::Device(at::kCPU);
  }
  const int index = cuda_index(name);
  open_cuda_library();
  if (settled_without_cuda()) {
    throw Error(MOSHI_ERR_NO_DEVICE,
                "LibTorch already works without CUDA in this process, for there was no GPU when it "
                "first computed on the CPU; open device " +
                    name + " first, in a new process");
  }
  const int count = static_cast<int>(at::detail::getCUDAHooks().deviceCount());
  if (index >= count) {
    throw Error(MOSHI_ERR_NO_DEVICE, "there is no device " + name + ": LibTorch sees " + std::to_string(count) +
                                         " CUDA devices; check the driver, or use device cpu");
  }
  // f32 means f32: no matrix product in TF32.
  at::globalContext().setAllowTF32CuDNN(false);
  at::globalContext().setAllowTF32CuBLAS(false);
  return at::Device(at::kCUDA, static_cast<at::DeviceIndex>(index));
}

}  // namespace moshi::mimi

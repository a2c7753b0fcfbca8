// SPDX-License-Identifier: MIT
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "common/error.h"
#include "kernels/kernels.h"

namespace moshi::kernels {
#if defined(__x86_64__)
namespace avx512 {
extern const Kernels kernels;
}
namespace avx2 {
extern const Kernels kernels;
}
#endif
namespace portable {
extern const Kernels kernels;
}

namespace {

struct Path {
  const Kernels* kernels;
  bool runs_here;
};

/// All paths of this build, the fastest first.
std::vector<Path> paths() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  return {{&avx512::kernels, avx512}, {&avx2::kernels, avx2}, {&portable::kernels, true}};
#else
  return {{&portable::kernels, true}};
#endif
}

const Kernels& choose() {
  const char* wanted = std::getenv("MOSHI_KERNELS");
  if (wanted && *wanted) {
    if (const Kernels* kernels = find_kernels(wanted)) return *kernels;
    throw Error(MOSHI_ERR_NOT_SUPPORTED, std::string("MOSHI_KERNELS=") + wanted +
                                             " is not one of avx512, avx2, portable that this processor runs");
  }
  for (const Path& path : paths()) {
    if (path.runs_here) return *path.kernels;
  }
  return portable::kernels;
}

}  // namespace

const Kernels& select_kernels() {
  static const Kernels& kernels = choose();
  return kernels;
}

const Kernels* find_kernels(const char* name) {
  for (const Path& path : paths()) {
    if (path.runs_here && std::strcmp(path.kernels->name, name) == 0) return path.kernels;
  }
  return nullptr;
}

}  // namespace moshi::kernels

// SPDX-License-Identifier: MIT
// What the benchmarks of the core share: opening it, clocks, and giving up.
#pragma once

#include <dlfcn.h>
#include <errno.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "moshi/core.h"

namespace bench {

using Clock = std::chrono::steady_clock;

[[noreturn]] inline void die(const std::string& what) {
  fprintf(stderr, "%s: %s\n", program_invocation_short_name, what.c_str());
  exit(1);
}

inline void check(MoshiStatus status, const MoshiError& error) {
  if (status != MOSHI_OK) die(error.message);
}

inline double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

inline const MoshiCoreApi* open_core(const char* path) {
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) die(dlerror());
  auto get_api = reinterpret_cast<MoshiCoreGetApiFn>(dlsym(library, MOSHI_CORE_GET_API_SYMBOL));
  const MoshiCoreApi* api = get_api ? get_api(MOSHI_CORE_ABI) : nullptr;
  if (!api) die(std::string(path) + " is not a core of this ABI");
  return api;
}

/// Opens a model and waits until it is loaded.
inline MoshiEngine* open_engine(const MoshiCoreApi* api, const MoshiEngineConfig& config) {
  MoshiError error = MOSHI_INIT(MoshiError);
  MoshiEngine* engine = nullptr;
  check(api->engine_open(&config, &engine, &error), error);
  check(api->engine_wait(engine, MOSHI_FOREVER, &error), error);
  return engine;
}

/// The lines that bench.py describes.
inline void say_ready(double load_ms, const char* version, const char* kernels) {
  printf("{\"event\":\"ready\",\"load_ms\":%.1f,\"what\":\"%s, %s\"}\n", load_ms, version, kernels);
  fflush(stdout);
}

inline void say_times(const std::string& job, const std::vector<double>& times) {
  printf("{\"job\":\"%s\",\"ms\":[", job.c_str());
  for (size_t i = 0; i < times.size(); i++) printf("%s%.4f", i ? "," : "", times[i]);
  printf("]}\n");
  fflush(stdout);
}

inline void say_end() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  printf("{\"event\":\"end\",\"peak_kb\":%ld}\n", usage.ru_maxrss);
}

/// Calls `call` once for each of `times` and keeps how many milliseconds it took.
template <class Call>
void measure(std::vector<double>& times, const Call& call) {
  for (double& ms : times) {
    const auto start = Clock::now();
    call();
    ms = ms_since(start);
  }
}

}  // namespace bench

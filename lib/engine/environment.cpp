// SPDX-License-Identifier: MIT
#include "engine/environment.h"

#include <chrono>
#include <utility>

#include "engine/memory.h"

namespace moshi::engine {
namespace {

// Never destroyed: a thread that still loads while the process exits must find it.
Environment& current() {
  static auto* environment = new Environment(default_environment());
  return *environment;
}

}  // namespace

const Environment& environment() { return current(); }

void set_environment(Environment replacement) { current() = std::move(replacement); }

Environment default_environment() {
  Environment result;
  result.default_model = default_model;
  result.open_source = open_model_source;
  result.make_codec = make_codec;
  result.open_lm_source = open_lm_source;
  result.make_language_model = lm::make_language_model;
  result.lm_packed_bytes = lm::packed_bytes;
  result.lm_row_bytes = lm::row_bytes;
  result.fetch_model = checkpoint::fetch_model;
  result.free_bytes = [] { return free_memory(); };
  result.now_ns = [] {
    using namespace std::chrono;
    return static_cast<int64_t>(duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count());
  };
  return result;
}

}  // namespace moshi::engine

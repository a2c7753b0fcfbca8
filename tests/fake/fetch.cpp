// SPDX-License-Identifier: MIT
#include "fetch.h"

#include <chrono>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "fault.h"
#include "knobs.h"

namespace moshi_fake {
namespace {

constexpr uint64_t kTotalBytes = 340'000'000;
constexpr int64_t kReportMs = 10;

struct Fetched {
  std::mutex mutex;
  std::set<std::string, std::less<>> models;
};

Fetched& TheFetched() {
  static Fetched fetched;
  return fetched;
}

}  // namespace

bool IsHubId(std::string_view model) { return model.starts_with("hub/"); }

bool IsFetched(std::string_view model) {
  Fetched& fetched = TheFetched();
  std::lock_guard lock(fetched.mutex);
  return fetched.models.contains(model);
}

void ForgetFetched() {
  Fetched& fetched = TheFetched();
  std::lock_guard lock(fetched.mutex);
  fetched.models.clear();
}

MoshiStatus Fetch(const MoshiEngineConfig* config, MoshiFetchFn progress, void* user, MoshiError* error) {
  if (config == nullptr) return Fault(error, MOSHI_ERR_INVALID_ARGUMENT, "fetch() needs a configuration.");
  if (config->model == nullptr || !IsHubId(config->model) || IsFetched(config->model)) return Fine(error);
  ++Count().fetches;
  const Counted running(Count().fetches_running);
  const auto total_ms = static_cast<int64_t>(Knob("FETCH_MS", 0));
  for (int64_t ms = 0; ms <= total_ms || Knob("FETCH_HOLD", 0) != 0; ms += kReportMs) {
    const auto done = static_cast<uint64_t>(kTotalBytes * std::min(1.0, static_cast<double>(ms) / (total_ms + 1)));
    if (progress != nullptr && progress(user, "model.safetensors", done, kTotalBytes) == 0)
      return Fault(error, MOSHI_ERR_CANCELLED, std::string("Fetching ") + config->model + " was cancelled.");
    if (ms < total_ms || Knob("FETCH_HOLD", 0) != 0) std::this_thread::sleep_for(std::chrono::milliseconds(kReportMs));
  }
  if (const auto failure = static_cast<MoshiStatus>(Knob("FETCH_FAIL", 0)); failure != MOSHI_OK)
    return KnobFault(error, failure, config->model);
  Fetched& fetched = TheFetched();
  std::lock_guard lock(fetched.mutex);
  fetched.models.emplace(config->model);
  return Fine(error);
}

}  // namespace moshi_fake

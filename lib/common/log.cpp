// SPDX-License-Identifier: MIT
#include "common/log.h"

#include <mutex>

namespace moshi {
namespace {
std::mutex mutex;
MoshiLogFn sink = nullptr;
void* sink_user = nullptr;
}  // namespace

void set_log(MoshiLogFn fn, void* user) {
  std::lock_guard lock(mutex);
  sink = fn;
  sink_user = user;
}

void log(MoshiLogLevel level, const char* part, const std::string& message) {
  std::lock_guard lock(mutex);
  if (sink) sink(sink_user, level, part, message.c_str());
}

}  // namespace moshi

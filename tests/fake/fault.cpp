// SPDX-License-Identifier: MIT
#include "fault.h"

#include <cstring>
#include <mutex>

namespace moshi_fake {
namespace {

template <size_t N>
void Copy(char (&to)[N], const std::string& text) {
  const size_t length = std::min(text.size(), N - 1);
  std::memcpy(to, text.data(), length);
  to[length] = '\0';
}

struct LogSink {
  std::mutex mutex;  ///< held during the call: set_log(NULL) means that no more calls come
  MoshiLogFn fn = nullptr;
  void* user = nullptr;
};

LogSink& TheLog() {
  static LogSink sink;
  return sink;
}

}  // namespace

MoshiStatus Fault(MoshiError* error, MoshiStatus status, const std::string& message, const std::string& detail) {
  if (error != nullptr) {
    error->status = status;
    Copy(error->message, message);
    Copy(error->detail, detail);
  }
  return status;
}

MoshiStatus Fine(MoshiError* error) { return Fault(error, MOSHI_OK, ""); }

MoshiStatus KnobFault(MoshiError* error, MoshiStatus status, const std::string& what) {
  std::string message;
  switch (status) {
    case MOSHI_ERR_NOT_FOUND:
      message = what + " does not exist; check the path.";
      break;
    case MOSHI_ERR_READ:
      message = what + " cannot be read; check its permissions.";
      break;
    case MOSHI_ERR_FORMAT:
      message = what + " is damaged or not a safetensors file; fetch it again.";
      break;
    case MOSHI_ERR_MISMATCH:
      message = what + " does not fit its config.json: a tensor has another shape; use files of one model.";
      break;
    case MOSHI_ERR_NO_MEMORY:
      message = what + " needs 300 MB and 20 MB are free; close other programs or use a smaller model.";
      break;
    case MOSHI_ERR_NO_DEVICE:
      message = "No such device for " + what + "; use device=cpu.";
      break;
    case MOSHI_ERR_BUSY:
      message = "No room for another session of " + what + "; close one first.";
      break;
    case MOSHI_ERR_DATA:
      message = "The stream for " + what + " holds data that cannot be.";
      break;
    default:
      message = "The fake core was asked to fail on " + what + ".";
      break;
  }
  return Fault(error, status, message, "asked for by a MOSHI_FAKE_ knob");
}

void Log(MoshiLogLevel level, const std::string& message) {
  LogSink& sink = TheLog();
  std::lock_guard lock(sink.mutex);
  if (sink.fn != nullptr) sink.fn(sink.user, level, "fake", message.c_str());
}

void SetLog(MoshiLogFn fn, void* user) {
  LogSink& sink = TheLog();
  std::lock_guard lock(sink.mutex);
  sink.fn = fn;
  sink.user = user;
}

}  // namespace moshi_fake

// SPDX-License-Identifier: MIT
#include "batch_timer.h"

namespace gstmoshi {
namespace {

/** Half a frame of Mimi: whoever delivers faster than in real time is never that slow. */
constexpr std::chrono::milliseconds kPatience{40};

}  // namespace

bool BatchTimer::Start() {
  if (thread_ != nullptr) return true;
  stop_ = armed_ = false;
  thread_ = g_thread_try_new("moshi-batch", &BatchTimer::Run, this, nullptr);
  return thread_ != nullptr;
}

void BatchTimer::Stop() {
  if (thread_ == nullptr) return;
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
    changed_.notify_all();
  }
  g_thread_join(thread_);
  thread_ = nullptr;
}

void BatchTimer::Arm() {
  std::lock_guard lock(mutex_);
  due_ = Clock::now() + kPatience;
  // A thread that waits already finds the later time by itself.
  if (!armed_) changed_.notify_all();
  armed_ = true;
}

void BatchTimer::Disarm() {
  std::lock_guard lock(mutex_);
  armed_ = false;
}

bool BatchTimer::WaitUntilDue() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    if (!armed_) {
      changed_.wait(lock);
    } else if (Clock::now() < due_) {
      const Clock::time_point due = due_;
      changed_.wait_until(lock, due);
    } else {
      armed_ = false;
      return true;
    }
  }
  return false;
}

gpointer BatchTimer::Run(gpointer user) {
  auto* self = static_cast<BatchTimer*>(user);
  while (self->WaitUntilDue()) {
    GST_PAD_STREAM_LOCK(self->sinkpad_);
    self->fire_();
    GST_PAD_STREAM_UNLOCK(self->sinkpad_);
  }
  return nullptr;
}

}  // namespace gstmoshi

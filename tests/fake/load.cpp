// SPDX-License-Identifier: MIT
// References to a model and its loading.
#include <algorithm>
#include <cstring>
#include <utility>

#include "engine.h"
#include "fault.h"
#include "threads.h"

namespace moshi_fake {

std::optional<Clock::time_point> Until(int64_t timeout_ns) {
  constexpr int64_t kYear = int64_t{365} * 86400 * 1000000000;
  if (timeout_ns > kYear) return std::nullopt;
  return Clock::now() + std::chrono::nanoseconds(std::max<int64_t>(timeout_ns, 0));
}

void Model::Start() {
  ++Count().loads_started;
  Lock lock(mutex_);
  thread_ = StartThread([self = shared_from_this()] { self->Run(); },
                        [weak = weak_from_this()] {
                          if (auto self = weak.lock()) self->Stop();
                        });
}

bool Model::Join(MoshiEngine* engine) {
  Lock lock(mutex_);
  if (stop_ || abandoned_ || phase_ == Phase::kFailed) return false;
  engines_.push_back(engine);
  return true;
}

void Model::Leave(MoshiEngine* engine) {
  int join = 0;
  {
    std::lock_guard calling(progress_mutex_);
    Lock lock(mutex_);
    std::erase(engines_, engine);
    if (!engines_.empty()) {
      abandoned_ = std::all_of(engines_.begin(), engines_.end(), [](MoshiEngine* e) { return e->cancelled; });
      work_.notify_all();
      return;
    }
    stop_ = true;
    work_.notify_all();
    if (phase_ == Phase::kLoading)
      AbandonThread(thread_);
    else
      join = thread_;
  }
  if (join != 0) JoinThread(join);
}

void Model::Stop() {
  Lock lock(mutex_);
  stop_ = true;
  work_.notify_all();
}

void Model::Cancel(MoshiEngine* engine) {
  Lock lock(mutex_);
  engine->cancelled = true;
  if (phase_ == Phase::kLoading)
    abandoned_ = std::all_of(engines_.begin(), engines_.end(), [](MoshiEngine* e) { return e->cancelled; });
  work_.notify_all();
  ended_.notify_all();
}

MoshiStatus Model::WaitLoaded(MoshiEngine* engine, int64_t timeout_ns, MoshiError* error) {
  const Counted waiting(Count().engine_waits);
  Lock lock(mutex_);
  const bool ended =
      WaitUntil(ended_, lock, timeout_ns, [&] { return engine->cancelled || phase_ != Phase::kLoading; });
  if (engine->cancelled) return Fault(error, MOSHI_ERR_CANCELLED, "Loading " + facts_.file + " was cancelled.");
  if (!ended) return Fault(error, MOSHI_ERR_TIMEOUT, facts_.file + " is not loaded yet.");
  if (phase_ == Phase::kFailed) return Fault(error, load_error_.status, load_error_.message, load_error_.detail);
  return Fine(error);
}

bool Model::Loaded() {
  Lock lock(mutex_);
  return phase_ == Phase::kReady;
}

void Model::Run() {
  Load();
  Lock lock(mutex_);
  while (phase_ == Phase::kReady && !stop_) {
    work_.wait(lock, [this] {
      return stop_ ||
             std::any_of(sessions_.begin(), sessions_.end(), [](MoshiSession* s) { return !s->queue.empty(); });
    });
    EndCancelled(lock);
    if (!stop_) Tick(lock);
  }
  // Only a session that outlives its engine still has jobs now.
  for (MoshiSession* session : sessions_) session->cancelled = session->queue.size();
  EndCancelled(lock);
}

void Model::Load() {
  const Counted running(Count().loads_running);
  Log(MOSHI_LOG_INFO, "loading " + facts_.file);
  const int steps = std::max(1, static_cast<int>(Knob("LOAD_STEPS", 4)));
  const auto total_ms = static_cast<int64_t>(Knob("LOAD_MS", 0));
  bool wanted = true;
  Report(0, "reading");
  for (int step = 1; step <= steps && wanted; ++step) {
    wanted = PauseLoading(total_ms / steps);
    if (wanted) Report(static_cast<double>(step) / (steps + 1), step * 2 > steps ? "packing" : "reading");
  }
  while (wanted && Knob("LOAD_HOLD", 0) != 0) wanted = PauseLoading(1);

  MoshiError error = Sized<MoshiError>();
  const auto failure = static_cast<MoshiStatus>(Knob("LOAD_FAIL", 0));
  if (!wanted || !PauseLoading(0)) {
    ++Count().loads_cancelled;
    Fault(&error, MOSHI_ERR_CANCELLED, "Loading " + facts_.file + " was cancelled.");
    EndLoad(Phase::kFailed, error);
  } else if (failure != MOSHI_OK) {
    ++Count().loads_failed;
    KnobFault(&error, failure, facts_.file);
    EndLoad(Phase::kFailed, error);
  } else {
    ++Count().loads_completed;
    Report(1, "ready");
    EndLoad(Phase::kReady, error);
  }
}

void Model::EndLoad(Phase phase, const MoshiError& error) {
  Lock lock(mutex_);
  load_error_ = error;
  phase_ = phase;
  ended_.notify_all();
}

bool Model::PauseLoading(int64_t ms) {
  Lock lock(mutex_);
  return !work_.wait_for(lock, std::chrono::milliseconds(ms), [this] { return stop_ || abandoned_; });
}

void Model::Report(double fraction, const char* stage) {
  std::lock_guard calling(progress_mutex_);
  std::vector<MoshiEngine*> engines;
  {
    Lock lock(mutex_);
    engines = engines_;
  }
  for (MoshiEngine* engine : engines) {
    {
      Lock lock(mutex_);
      if (std::find(engines_.begin(), engines_.end(), engine) == engines_.end()) continue;
    }
    if (engine->progress != nullptr) engine->progress(engine->progress_user, fraction, stage);
  }
}

}  // namespace moshi_fake

// SPDX-License-Identifier: MIT
// The one thread that computes on a device, for every engine and session of the process. It owns the compute pool;
// nobody else runs a model. It never waits to fill a batch, and holds no lock while it computes or calls back.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "engine/scheduler.h"
#include "engine/session.h"
#include "kernels/pool.h"

namespace moshi::engine {

class Executor {
 public:
  /// The executor of a device: the one that is there, or a new one with `threads` threads (0: all cores). It lives as
  /// long as somebody holds it; until then its number of threads stays, and a different wish is logged.
  static std::shared_ptr<Executor> acquire(const std::string& device, int threads);

  explicit Executor(int threads);
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  kernels::Pool& pool() { return pool_; }
  int threads() const { return pool_.threads(); }
  /// Whether the calling thread is the executor's own: what waits for the executor would wait for ever there.
  bool on_own_thread() const { return std::this_thread::get_id() == thread_.get_id(); }

  void open(Session& session);
  /// Ends the session's jobs and returns when none is left and no callback of one runs.
  void close(Session& session);
  void set_class(Session& session, MoshiClass work_class);
  /// A language model session's settings, which hold from its next batch on. Never waits for the one that runs.
  void set_settings(Session& session, const LmSettings& settings);
  LmSettings settings(Session& session);

  /// Hands over a job that check_job() has passed. Throws Error: BUSY, or INVALID_ARGUMENT if it is in flight already.
  void submit(Session& session, MoshiJob& job);
  /// Waits for a job of the session; false when the time is over. Throws Error(INVALID_ARGUMENT) for another's job.
  bool wait(Session& session, const MoshiJob& job, int64_t timeout_ns);
  void cancel(Session& session);
  /// Whether the session has no job in flight.
  bool idle(Session& session);

  /// Runs `fn` on the executor's thread as soon as no live job is ready, and returns when it has; throws what it
  /// throws.
  void run(const std::function<void()>& fn);

  LaneStats stats(const Lane& lane);

 private:
  struct Task {
    const std::function<void()>* fn;
    std::exception_ptr error;
    bool done = false;
    Task* next = nullptr;
  };
  using Lock = std::unique_lock<std::mutex>;

  void loop();
  void run_task(Lock& lock);
  void run_batch(Lock& lock);
  void start(int64_t now_ns);
  void compute();
  void settle(int64_t began_ns, int64_t ended_ns);
  void call_back(Lock& lock);
  void end_job(Session& session, MoshiJob& job);
  void cancel_locked(Session& session);

  kernels::Pool pool_;
  std::function<int64_t()> now_ns_;
  std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable task_done_;
  Scheduler scheduler_;
  Task* tasks_ = nullptr;       // oldest first
  MoshiJob* ending_ = nullptr;  // their callbacks are to be called, oldest first
  MoshiJob* ending_last_ = nullptr;
  const MoshiJob* in_callback_ = nullptr;
  bool stopping_ = false;
  Batch batch_;  // the executor thread's
  std::thread thread_;
};

/// Waits on `changed` until `done()` or for `timeout_ns` (MOSHI_FOREVER: for ever; 0 or less: not at all).
template <class Done>
bool wait_until(std::condition_variable& changed, std::unique_lock<std::mutex>& lock, int64_t timeout_ns, Done done) {
  constexpr int64_t kYears = INT64_MAX / 4;  // beyond this, adding to the clock could overflow
  if (timeout_ns >= kYears) {
    changed.wait(lock, done);
    return true;
  }
  return changed.wait_for(lock, std::chrono::nanoseconds(timeout_ns > 0 ? timeout_ns : 0), done);
}

}  // namespace moshi::engine

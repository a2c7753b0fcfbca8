// SPDX-License-Identifier: MIT
#include "engine/executor.h"

#include <pthread.h>

#include <algorithm>
#include <map>
#include <utility>

#include "common/log.h"
#include "engine/cores.h"
#include "engine/environment.h"
#include "engine/errors.h"
#include "engine/job.h"
#include "engine/lm_session.h"

namespace moshi::engine {

std::shared_ptr<Executor> Executor::acquire(const std::string& device, int threads) {
  struct Known {
    std::mutex mutex;
    std::map<std::string, std::weak_ptr<Executor>> executors;
  };
  static auto* known = new Known;  // never destroyed: a load may end while the process exits
  std::lock_guard lock(known->mutex);
  std::weak_ptr<Executor>& slot = known->executors[device];
  if (auto executor = slot.lock()) {
    if (threads > 0 && threads != executor->threads()) {
      log(MOSHI_LOG_WARNING, "engine",
          "threads=" + std::to_string(threads) + " is ignored: the number of compute threads is one for the process, " +
              "and is " + std::to_string(executor->threads()) + " since the first model was opened");
    }
    return executor;
  }
  auto executor = std::make_shared<Executor>(threads > 0 ? threads : available_cores());
  slot = executor;
  return executor;
}

Executor::Executor(int threads) : pool_(threads), now_ns_(environment().now_ns) {
  thread_ = std::thread([this] { loop(); });
  pthread_setname_np(thread_.native_handle(), "moshi-compute");
}

Executor::~Executor() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  work_.notify_one();
  thread_.join();
}

void Executor::open(Session& session) {
  std::lock_guard lock(mutex_);
  scheduler_.open_session(session.work_class);
}

void Executor::close(Session& session) {
  std::unique_lock lock(mutex_);
  cancel_locked(session);
  session.changed.wait(lock, [&] { return session.jobs == 0 && session.callbacks == 0; });
  scheduler_.close_session(session.work_class);
}

void Executor::set_class(Session& session, MoshiClass work_class) {
  std::lock_guard lock(mutex_);
  scheduler_.change_class(session, work_class);
}

void Executor::set_settings(Session& session, const LmSettings& settings) {
  std::lock_guard lock(mutex_);
  session.settings = settings;
  session.new_settings = true;
}

LmSettings Executor::settings(Session& session) {
  std::lock_guard lock(mutex_);
  return session.settings;
}

void Executor::submit(Session& session, MoshiJob& job) {
  {
    std::lock_guard lock(mutex_);
    if (in_flight(job_state(job))) invalid("the job is in flight already: wait for its end before submitting it again");
    if (session.jobs >= kMaxJobsInFlight) {
      throw Error(MOSHI_ERR_BUSY, "the session has " + std::to_string(session.jobs) +
                                      " jobs in flight, which is the most: wait for one of them");
    }
    enter_job(job, &session, now_ns_());
    ++session.jobs;
    if (session.head) {
      set_job_next(*session.tail, &job);
      session.tail = &job;
      return;
    }
    session.head = session.tail = &job;
    if (!session.running) scheduler_.add(session);
  }
  work_.notify_one();
}

bool Executor::wait(Session& session, const MoshiJob& job, int64_t timeout_ns) {
  std::unique_lock lock(mutex_);
  if (job_state(job) == JobState::kUnknown || job_session(job) != &session) {
    invalid("the job was not submitted to this session");
  }
  auto ended = [&] { return job_state(job) == JobState::kEnded && in_callback_ != &job; };
  if (on_own_thread() && !ended()) invalid("a completion callback must not wait for a job");
  return wait_until(session.changed, lock, timeout_ns, ended);
}

void Executor::cancel(Session& session) {
  std::lock_guard lock(mutex_);
  cancel_locked(session);
}

void Executor::cancel_locked(Session& session) {
  MoshiJob* job = session.head;
  if (!job) return;
  if (session.running) {
    // Its buffers are in use: it ends after the batch.
    session.cancelling = true;
    session.tail = job;
    job = job_next(*job);
    set_job_next(*session.tail, nullptr);
  } else {
    scheduler_.remove(session);
    session.head = session.tail = nullptr;
  }
  while (job) {
    MoshiJob* next = job_next(*job);
    if (job_state(*job) == JobState::kQueued) job->wait_ns = now_ns_() - job->wait_ns;
    job->status = MOSHI_ERR_CANCELLED;
    end_job(session, *job);
    job = next;
  }
  if (ending_) work_.notify_one();
}

bool Executor::idle(Session& session) {
  std::lock_guard lock(mutex_);
  return session.jobs == 0;
}

void Executor::run(const std::function<void()>& fn) {
  Task task{&fn, nullptr};
  std::unique_lock lock(mutex_);
  Task** last = &tasks_;
  while (*last) last = &(*last)->next;
  *last = &task;
  work_.notify_one();
  task_done_.wait(lock, [&] { return task.done; });
  if (task.error) std::rethrow_exception(task.error);
}

LaneStats Executor::stats(const Lane& lane) {
  std::lock_guard lock(mutex_);
  return lane.stats;
}

void Executor::loop() {
  Lock lock(mutex_);
  while (true) {
    call_back(lock);
    if (tasks_ && !scheduler_.live_ready()) {
      run_task(lock);
    } else if (scheduler_.plan(batch_)) {
      run_batch(lock);
    } else if (stopping_) {
      return;
    } else {
      work_.wait(lock);
    }
  }
}

void Executor::run_task(Lock& lock) {
  Task* task = tasks_;
  tasks_ = task->next;
  lock.unlock();
  std::exception_ptr error;
  try {
    (*task->fn)();
  } catch (...) {
    error = std::current_exception();
  }
  lock.lock();
  task->error = error;
  task->done = true;
  task_done_.notify_all();
}

void Executor::run_batch(Lock& lock) {
  const int64_t began = now_ns_();
  start(began);
  lock.unlock();
  compute();
  const int64_t ended = now_ns_();
  lock.lock();
  settle(began, ended);
}

void Executor::start(int64_t now_ns) {
  for (int i = 0; i < batch_.count; ++i) {
    const BatchEntry& entry = batch_.entries[static_cast<size_t>(i)];
    entry.session->running = true;
    if (std::exchange(entry.session->new_settings, false)) apply_settings(*entry.session);
    if (job_state(*entry.job) != JobState::kQueued) continue;
    entry.job->wait_ns = now_ns - entry.job->wait_ns;
    set_job_state(*entry.job, JobState::kRunning);
  }
}

void Executor::settle(int64_t began_ns, int64_t ended_ns) {
  Lane& lane = *batch_.lane;
  int frames = 0;
  int longest = 0;
  int rows = 0;
  for (int i = 0; i < batch_.count; ++i) {
    BatchEntry& entry = batch_.entries[static_cast<size_t>(i)];
    Session& session = *entry.session;
    MoshiJob& job = *entry.job;
    frames += entry.good;
    longest = std::max(longest, entry.good);
    rows += entry.good > 0;
    job.frames_done += entry.good;
    job.run_ns += ended_ns - began_ns;
    session.running = false;
    if (entry.failed || session.cancelling || job.frames_done == job.frames) {
      if (session.cancelling) job.status = MOSHI_ERR_CANCELLED;
      const bool late = has_deadline(job) && ended_ns > job.deadline_ns;
      if (job.status == MOSHI_OK && session.work_class == MOSHI_CLASS_LIVE && late) ++lane.stats.deadline_miss;
      session.head = job_next(job);
      if (!session.head) session.tail = nullptr;
      end_job(session, job);
    }
    session.cancelling = false;
    if (session.head) scheduler_.add(session);
  }
  if (frames == 0) return;
  lane.cost.observe(lane.lockstep() ? longest : frames, ended_ns - began_ns);
  ++lane.stats.calls;
  lane.stats.frames += static_cast<uint64_t>(frames);
  lane.stats.batched_rows += static_cast<uint64_t>(rows);
  lane.stats.busy_ns += ended_ns - began_ns;
}

void Executor::end_job(Session& session, MoshiJob& job) {
  if (job.status == MOSHI_ERR_CANCELLED) {
    set_error(&job.error, MOSHI_ERR_CANCELLED, "the session's jobs were cancelled");
  }
  set_job_next(job, nullptr);
  if (!job.done) {
    set_job_state(job, JobState::kEnded);
    --session.jobs;
    session.changed.notify_all();
    return;
  }
  set_job_state(job, JobState::kEnding);
  ++session.callbacks;
  if (ending_) {
    set_job_next(*ending_last_, &job);
  } else {
    ending_ = &job;
  }
  ending_last_ = &job;
}

void Executor::call_back(Lock& lock) {
  while (ending_) {
    MoshiJob* job = ending_;
    ending_ = job_next(*job);
    Session& session = *job_session(*job);
    // From here on the job is the caller's: the callback, or whoever it wakes, may free it or use it again.
    const MoshiJobDone done = job->done;
    void* user = job->done_user;
    set_job_state(*job, JobState::kEnded);
    --session.jobs;
    in_callback_ = job;
    lock.unlock();
    done(user, job);
    lock.lock();
    in_callback_ = nullptr;
    --session.callbacks;
    session.changed.notify_all();
  }
}

}  // namespace moshi::engine

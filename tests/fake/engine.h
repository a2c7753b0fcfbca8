// SPDX-License-Identifier: MIT
// A model of the fake core: loading, references, sessions and the thread that runs their jobs.
#pragma once

#include <moshi/core.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "fault.h"
#include "knobs.h"
#include "lm.h"
#include "model.h"

namespace moshi_fake {

using Clock = std::chrono::steady_clock;
using Lock = std::unique_lock<std::mutex>;

/** What is known of a model once its "headers" have been read. */
struct Facts {
  std::string key;  ///< weight file, device and precision: what makes two users share one model
  std::string path;
  std::string file;
  bool embedded = false;  ///< no model was named
  std::string sha256;
  std::string device;
  MoshiPrecision precision = MOSHI_PRECISION_F32;
  int32_t rate = kRate;
  int32_t frame_samples = kFrameSamples;
  int32_t codebooks = kCodebooks;
  int32_t cardinality = kCardinality;
  int32_t threads = 1;

  bool lm = false;  ///< the rest is of the language model
  LmShape shape;
  bool hibiki = false, tokenizer = true, knows_silence = true;
  std::vector<int32_t> silence, delays;
};

class Model : public std::enable_shared_from_this<Model> {
 public:
  explicit Model(Facts facts) : facts_(std::move(facts)) {}

  const Facts& facts() const { return facts_; }

  /** Starts the thread, which first loads and then serves. Once, right after making. */
  void Start();
  /** Adds a reference; false if this model is going away or has failed, so that another must be made. */
  bool Join(MoshiEngine* engine);
  /** Takes a reference away; the last one stops the thread. */
  void Leave(MoshiEngine* engine);
  void Cancel(MoshiEngine* engine);
  MoshiStatus WaitLoaded(MoshiEngine* engine, int64_t timeout_ns, MoshiError* error);
  bool Loaded();
  void Stop();

  /** `most` 0: any number. */
  MoshiStatus AddSession(MoshiSession* session, int most, MoshiError* error);
  void RemoveSession(MoshiSession* session);
  int Sessions();
  /** Runs `change` on a session that has no job in flight, else MOSHI_ERR_BUSY. */
  MoshiStatus WhenIdle(MoshiSession* session, MoshiError* error, const std::function<MoshiStatus()>& change);
  MoshiStatus Submit(MoshiSession* session, MoshiJob* job, MoshiError* error);
  MoshiStatus WaitJob(MoshiSession* session, MoshiJob* job, int64_t timeout_ns, MoshiError* error);
  void CancelJobs(MoshiSession* session);
  MoshiEngineStats Stats();

 private:
  enum class Phase { kLoading, kReady, kFailed };

  void Run();
  void Load();
  void Report(double fraction, const char* stage);
  bool PauseLoading(int64_t ms);
  void EndLoad(Phase phase, const MoshiError& error);

  // With the mutex held; they may let go of it.
  void Tick(Lock& lock);
  bool HoldTick(Lock& lock);
  void EndCancelled(Lock& lock);
  void Finish(Lock& lock, MoshiSession* session, MoshiStatus status);
  MoshiSession* AnyCancelled() const;
  std::vector<MoshiSession*> TakeRows();

  const Facts facts_;
  const Counted counted_{Count().models};

  /** Held during progress callbacks, before mutex_: who leaves waits for the callback that it is in. Recursive, as
   *  whoever is called may close. */
  std::recursive_mutex progress_mutex_;

  std::mutex mutex_;  ///< guards all that follows, and the queues of the sessions
  std::condition_variable work_;
  std::condition_variable ended_;
  Phase phase_ = Phase::kLoading;
  MoshiError load_error_ = Sized<MoshiError>();
  bool stop_ = false;       ///< the thread is to end
  bool abandoned_ = false;  ///< all who wanted the load have cancelled
  int thread_ = 0;
  std::vector<MoshiEngine*> engines_;
  std::vector<MoshiSession*> sessions_;
  MoshiEngineStats stats_ = Sized<MoshiEngineStats>();
};

/** Runs one frame of the job on the session's state. */
MoshiStatus RunFrame(const Facts& facts, MoshiSession* session, MoshiJob* job, MoshiError* error);

/** `timeout_ns` as a point in time, nothing if it never comes. */
std::optional<Clock::time_point> Until(int64_t timeout_ns);

/** Waits on `changed` until `done()`; false if the time was up first. */
template <typename Done>
bool WaitUntil(std::condition_variable& changed, Lock& lock, int64_t timeout_ns, Done done) {
  const auto until = Until(timeout_ns);
  if (until) return changed.wait_until(lock, *until, done);
  changed.wait(lock, done);
  return true;
}

}  // namespace moshi_fake

struct MoshiEngine {
  std::shared_ptr<moshi_fake::Model> model;
  uint32_t roles = 0;
  MoshiProgressFn progress = nullptr;
  void* progress_user = nullptr;
  bool cancelled = false;  ///< guarded by the model's mutex
  /// Open sessions; shared with them, as one may wrongly outlive the engine.
  const std::shared_ptr<std::atomic<int>> sessions = std::make_shared<std::atomic<int>>(0);
  const moshi_fake::Counted counted{moshi_fake::Count().engines};
};

struct MoshiSession {
  std::shared_ptr<moshi_fake::Model> model;
  MoshiEngine* engine = nullptr;
  std::shared_ptr<std::atomic<int>> siblings;
  uint32_t roles = 0;
  MoshiClass work_class = MOSHI_CLASS_LIVE;

  // Touched by the model's thread while a job runs, else by the session's user.
  moshi_fake::State encode, decode;
  moshi_fake::LmState lm;
  int64_t seed = 0;
  bool sampling = true;
  double cfg_coef = 1;
  int64_t frames_run = 0;

  // Guarded by the model's mutex.
  std::deque<MoshiJob*> queue;  ///< in flight, the first one perhaps running
  size_t cancelled = 0;         ///< so many of the first are to end
  bool in_batch = false;

  std::atomic<int> users{0};  ///< threads inside functions that only one may be in
  const moshi_fake::Counted counted{moshi_fake::Count().sessions};
};

// SPDX-License-Identifier: MIT
// Sessions and their jobs.
#include <algorithm>
#include <cmath>
#include <string>

#include "engine.h"
#include "fault.h"
#include "lm_api.h"

namespace moshi_fake {
namespace {

constexpr int64_t kWeightsMb = 300, kSessionMb = 10;

int64_t Now() { return Clock::now().time_since_epoch().count(); }

}  // namespace

MoshiStatus Model::AddSession(MoshiSession* session, int most, MoshiError* error) {
  Lock lock(mutex_);
  if (const int limit = static_cast<int>(Knob("SESSIONS_MAX", 0)); limit > 0) most = limit;
  if (most > 0 && static_cast<int>(sessions_.size()) >= most)
    return Fault(error, MOSHI_ERR_BUSY,
                 "All " + std::to_string(most) + " sessions of " + facts_.file + " are taken; close one first.");
  const int64_t needed = (static_cast<int64_t>(sessions_.size()) + 1) * kSessionMb + kWeightsMb;
  const auto free = static_cast<int64_t>(Knob("FREE_MB", 100000));
  if (needed > free)
    return Fault(error, MOSHI_ERR_NO_MEMORY,
                 "A session needs " + std::to_string(kSessionMb) + " MB and " +
                     std::to_string(std::max<int64_t>(0, free - needed + kSessionMb)) +
                     " MB are free; close another session.");
  sessions_.push_back(session);
  return Fine(error);
}

int Model::Sessions() {
  Lock lock(mutex_);
  return static_cast<int>(sessions_.size());
}

void Model::RemoveSession(MoshiSession* session) {
  Lock lock(mutex_);
  session->cancelled = session->queue.size();
  work_.notify_all();
  ended_.wait(lock, [&] { return session->queue.empty(); });
  std::erase(sessions_, session);
}

MoshiStatus Model::WhenIdle(MoshiSession* session, MoshiError* error, const std::function<MoshiStatus()>& change) {
  Lock lock(mutex_);
  if (!session->queue.empty())
    return Fault(error, MOSHI_ERR_BUSY, "The session has jobs in flight; wait for them or cancel them first.");
  return change();
}

MoshiStatus Model::Submit(MoshiSession* session, MoshiJob* job, MoshiError* error) {
  Lock lock(mutex_);
  if (static_cast<int>(session->queue.size()) >= static_cast<int>(Knob("JOBS_MAX", 64)))
    return Fault(error, MOSHI_ERR_BUSY, "Too many jobs of the session are in flight; wait for one first.");
  job->status = MOSHI_OK;
  job->frames_done = 0;
  job->run_ns = 0;
  job->wait_ns = -Now();
  job->reserved[0] = session;
  Fine(&job->error);
  session->queue.push_back(job);
  ++Count().jobs_in_flight;
  ++Count().jobs_submitted;
  ++(session->work_class == MOSHI_CLASS_LIVE ? Count().live_jobs : Count().file_jobs);
  Count().job_frames_max = std::max<int64_t>(Count().job_frames_max, job->frames);
  work_.notify_all();
  return Fine(error);
}

MoshiStatus Model::WaitJob(MoshiSession* session, MoshiJob* job, int64_t timeout_ns, MoshiError* error) {
  Lock lock(mutex_);
  const bool ended = WaitUntil(ended_, lock, timeout_ns, [&] {
    return std::find(session->queue.begin(), session->queue.end(), job) == session->queue.end();
  });
  if (!ended) return Fault(error, MOSHI_ERR_TIMEOUT, "The job has not ended yet.");
  if (job->reserved[0] != session)
    return Fault(error, MOSHI_ERR_INVALID_ARGUMENT, "The job was not submitted to this session.");
  return Fault(error, job->status, job->error.message, job->error.detail);
}

void Model::CancelJobs(MoshiSession* session) {
  Lock lock(mutex_);
  session->cancelled = session->queue.size();
  work_.notify_all();
}

MoshiEngineStats Model::Stats() {
  Lock lock(mutex_);
  return stats_;
}

MoshiSession* Model::AnyCancelled() const {
  for (MoshiSession* session : sessions_)
    if (session->cancelled > 0) return session;
  return nullptr;
}

void Model::EndCancelled(Lock& lock) {
  while (MoshiSession* session = AnyCancelled()) {
    ++Count().jobs_cancelled;
    Fault(&session->queue.front()->error, MOSHI_ERR_CANCELLED, "The job was cancelled.");
    Finish(lock, session, MOSHI_ERR_CANCELLED);
  }
}

void Model::Finish(Lock& lock, MoshiSession* session, MoshiStatus status) {
  MoshiJob* job = session->queue.front();
  job->status = status;
  if (job->wait_ns < 0) job->wait_ns += Now();
  if (session->work_class == MOSHI_CLASS_LIVE && Now() > job->deadline_ns) ++stats_.deadline_miss;
  // The callback comes while the job still counts as in flight: whoever waits for it gets it afterwards, and nothing
  // touches a job that its callback has freed.
  if (job->done != nullptr) {
    lock.unlock();
    job->done(job->done_user, job);
    lock.lock();
  }
  session->queue.pop_front();
  if (session->cancelled > 0) --session->cancelled;
  --Count().jobs_in_flight;
  ended_.notify_all();
}

std::vector<MoshiSession*> Model::TakeRows() {
  std::vector<MoshiSession*> rows;
  for (MoshiClass work_class : {MOSHI_CLASS_LIVE, MOSHI_CLASS_FILE}) {
    for (MoshiSession* session : sessions_)
      if (session->work_class == work_class && !session->queue.empty()) rows.push_back(session);
    if (!rows.empty()) break;
  }
  std::stable_sort(rows.begin(), rows.end(), [](MoshiSession* a, MoshiSession* b) {
    return a->queue.front()->deadline_ns < b->queue.front()->deadline_ns;
  });
  for (MoshiSession* session : rows) {
    session->in_batch = true;
    MoshiJob* job = session->queue.front();
    if (job->wait_ns < 0) job->wait_ns += Now();
  }
  return rows;
}

// The duration of a batch. Cancelled jobs end during it; false if none is left or the model stops.
bool Model::HoldTick(Lock& lock) {
  const Counted running(Count().batch_running);
  const auto end = Clock::now() + std::chrono::microseconds(static_cast<int64_t>(Knob("STEP_MS", 0) * 1000));
  auto in_batch = [this] {
    return std::any_of(sessions_.begin(), sessions_.end(), [](MoshiSession* s) { return s->in_batch; });
  };
  while (in_batch() && !stop_ && (Clock::now() < end || Knob("STEP_HOLD", 0) != 0)) {
    work_.wait_for(lock, std::chrono::milliseconds(1), [this] { return stop_ || AnyCancelled() != nullptr; });
    for (MoshiSession* session : sessions_)
      if (session->cancelled > 0) session->in_batch = false;
    EndCancelled(lock);
  }
  return in_batch() && !stop_;
}

void Model::Tick(Lock& lock) {
  const int64_t start = Now();
  if (TakeRows().empty()) return;
  const bool go_on = HoldTick(lock);
  std::vector<MoshiSession*> rows;
  for (MoshiSession* session : sessions_) {
    if (session->in_batch && go_on) rows.push_back(session);
    session->in_batch = false;
  }
  if (!go_on) return;
  ++stats_.calls;
  stats_.batched_rows += rows.size();
  stats_.frames += rows.size();

  std::vector<MoshiStatus> results;
  std::vector<MoshiJob*> jobs;
  for (MoshiSession* session : rows) jobs.push_back(session->queue.front());
  // A session with a job in its queue cannot be closed, and its user leaves the state alone.
  lock.unlock();
  for (size_t i = 0; i < rows.size(); ++i) results.push_back(RunFrame(facts_, rows[i], jobs[i], &jobs[i]->error));
  lock.lock();

  const int64_t spent = Now() - start;
  stats_.busy_ns += spent;
  for (size_t i = 0; i < rows.size(); ++i) {
    jobs[i]->run_ns += spent;
    if (results[i] == MOSHI_OK && ++jobs[i]->frames_done < jobs[i]->frames) continue;
    Finish(lock, rows[i], results[i]);
  }
}

MoshiStatus RunFrame(const Facts& facts, MoshiSession* session, MoshiJob* job, MoshiError* error) {
  const int64_t frame = job->frames_done;
  if (static_cast<int64_t>(Knob("FAIL_FRAME", -1)) == session->frames_run++)
    return KnobFault(error, static_cast<MoshiStatus>(Knob("FAIL_STATUS", MOSHI_ERR_INTERNAL)), facts.file);
  if (job->kind == MOSHI_JOB_STEP) return RunStep(facts, session, job, error);
  const bool reset = frame == 0 && (job->flags & MOSHI_JOB_RESET) != 0;
  if (job->kind == MOSHI_JOB_ENCODE) {
    if (reset) {
      session->encode = State{};
      ++Count().encode_resets;
    }
    const float* pcm = job->pcm_in + frame * facts.frame_samples;
    for (int i = 0; i < facts.frame_samples; ++i)
      if (!std::isfinite(pcm[i]))
        return Fault(error, MOSHI_ERR_DATA, "Sample " + std::to_string(i) + " of the frame is not a finite number.");
    EncodeFrame(session->encode, pcm, facts.frame_samples, job->codebooks, facts.cardinality,
                job->codes_out + frame * job->codebooks);
    ++Count().frames_encoded;
  } else {
    if (reset) {
      session->decode = State{};
      ++Count().decode_resets;
    }
    const uint16_t* codes = job->codes_in + frame * job->codebooks;
    for (int k = 0; k < job->codebooks; ++k)
      if (codes[k] >= facts.cardinality)
        return Fault(error, MOSHI_ERR_DATA,
                     "Code " + std::to_string(codes[k]) + " of codebook " + std::to_string(k) + " is not below " +
                         std::to_string(facts.cardinality) + ".");
    DecodeFrame(session->decode, codes, job->codebooks, facts.frame_samples, static_cast<float>(Knob("GAIN", 1)),
                job->pcm_out + frame * facts.frame_samples);
    ++Count().frames_decoded;
  }
  return MOSHI_OK;
}

}  // namespace moshi_fake

// SPDX-License-Identifier: MIT
#include "session.h"

#include "errors.h"

namespace gstmoshi {
namespace {

uint32_t RoleOf(MoshiJobKind kind) {
  switch (kind) {
    case MOSHI_JOB_ENCODE:
      return MOSHI_ROLE_ENCODE;
    case MOSHI_JOB_DECODE:
      return MOSHI_ROLE_DECODE;
    default:
      return MOSHI_ROLE_LM;
  }
}

Activity ActivityOf(MoshiJobKind kind) {
  switch (kind) {
    case MOSHI_JOB_ENCODE:
      return Activity::kEncode;
    case MOSHI_JOB_DECODE:
      return Activity::kDecode;
    default:
      return Activity::kStep;
  }
}

}  // namespace

void Session::Reset() {
  if (!used_) return;
  used_ = false;
  reset_ = true;
}

GstFlowReturn Session::Ready() {
  const GstFlowReturn flow = model_.WaitLoaded();
  return flow == GST_FLOW_OK && session_ == nullptr ? Open() : flow;
}

GstFlowReturn Session::Restart() {
  MoshiError error = EmptyError();
  const GstFlowReturn flow = Check(model_.api()->session_reset(session_, &error), error);
  if (flow != GST_FLOW_OK) return flow;
  std::lock_guard lock(mutex_);
  ++counters_.resets;
  return flow;
}

GstFlowReturn Session::Run(MoshiJob& job) {
  GstFlowReturn flow = Ready();
  if (flow != GST_FLOW_OK) return flow;

  job.size = sizeof job;
  job.kind = kind_;
  job.flags = reset_ ? MOSHI_JOB_RESET : 0;
  job.error.size = sizeof job.error;
  if (!live_) {
    job.deadline_ns = MOSHI_NO_DEADLINE;
  } else if (job.deadline_ns == 0) {
    const ModelFacts facts = model_.facts();
    const GstClockTime wanted =
        gst_util_uint64_scale(job.frames, GST_SECOND * facts.framerate_den, facts.framerate_num);
    job.deadline_ns = static_cast<int64_t>(gst_util_get_timestamp() + wanted);
  }
  flow = Submit(job);
  if (flow != GST_FLOW_OK) return flow;

  MoshiError error = EmptyError();
  const MoshiStatus status = model_.api()->wait(session_, &job, MOSHI_FOREVER, &error);
  used_ = true;
  if (status == MOSHI_OK || job.frames_done > 0) reset_ = false;
  Count(job);
  return status == MOSHI_OK ? GST_FLOW_OK : Fail(error);
}

GstFlowReturn Session::Open() {
  MoshiSessionConfig config{};
  config.size = sizeof config;
  config.roles = RoleOf(kind_);
  config.work_class = live_ ? MOSHI_CLASS_LIVE : MOSHI_CLASS_FILE;
  config.seed = plan_.seed;
  config.max_sessions = plan_.max_sessions;
  MoshiSession* opened = nullptr;
  MoshiError error = EmptyError();
  if (model_.api()->session_open(model_.engine(), &config, &opened, &error) != MOSHI_OK) return Fail(error);
  used_ = reset_ = false;
  std::lock_guard lock(mutex_);
  session_ = opened;
  return GST_FLOW_OK;
}

GstFlowReturn Session::Submit(MoshiJob& job) {
  MoshiError error = EmptyError();
  MoshiStatus status;
  {
    // An interruption comes either before, and is seen here, or after, and then cancels the job.
    std::lock_guard lock(mutex_);
    if (interrupted_ != 0) return GST_FLOW_FLUSHING;
    if (job.flags & MOSHI_JOB_RESET) ++counters_.resets;
    status = model_.api()->submit(session_, &job, &error);
  }
  return status == MOSHI_OK ? GST_FLOW_OK : Fail(error);
}

GstFlowReturn Session::Fail(const MoshiError& error) {
  if (error.status == MOSHI_ERR_CANCELLED) return GST_FLOW_FLUSHING;
  PostCoreError(element_, error, ActivityOf(kind_), model_.Context());
  return GST_FLOW_ERROR;
}

void Session::Count(const MoshiJob& job) {
  std::lock_guard lock(mutex_);
  ++counters_.jobs;
  counters_.frames += job.frames_done;
  counters_.wait += job.wait_ns;
  counters_.run += job.run_ns;
  counters_.run_max = MAX(counters_.run_max, static_cast<GstClockTime>(job.run_ns));
}

void Session::Close() {
  MoshiSession* closing;
  {
    std::lock_guard lock(mutex_);
    closing = session_;
    session_ = nullptr;
  }
  if (closing != nullptr) model_.api()->session_close(closing);
}

void Session::Interrupt(Interruption reason) {
  model_.Interrupt(reason);
  std::lock_guard lock(mutex_);
  interrupted_ |= reason;
  if (session_ != nullptr) model_.api()->session_cancel(session_);
}

void Session::Resume(Interruption reason) {
  model_.Resume(reason);
  std::lock_guard lock(mutex_);
  interrupted_ &= ~reason;
}

SessionCounters Session::counters() {
  std::lock_guard lock(mutex_);
  return counters_;
}

}  // namespace gstmoshi

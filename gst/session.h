// SPDX-License-Identifier: MIT
// One stream's session with the core, and the jobs of an element's streaming thread.
#pragma once

#include <gst/gst.h>

#include <mutex>

#include "model.h"
#include "moshi/core.h"

namespace gstmoshi {

/** What the session has done since the element left NULL. */
struct SessionCounters {
  guint64 frames = 0, jobs = 0, resets = 0;
  GstClockTime wait = 0, run = 0, run_max = 0;  ///< before a job's first batch; in batches; the longest job's
};

/** With what a language model's session is opened. */
struct SessionPlan {
  gint64 seed = -1;       ///< -1: the core draws one
  gint max_sessions = 0;  ///< of the model in this process; 0: any number
};

/**
 * Run and Close are for the streaming thread, or for state changes while it rests. Interrupt may come from any thread:
 * it ends waits for the model and for jobs, and does not block.
 */
class Session {
 public:
  Session(GstElement* element, Model& model, MoshiJobKind kind) : element_(element), model_(model), kind_(kind) {}
  ~Session() { Close(); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /** Sets what the next session that is opened will be for. */
  void SetLive(bool live) { live_ = live; }
  void SetPlan(const SessionPlan& plan) { plan_ = plan; }
  /** Waits for the model and opens the session, if that is not done. What it returns is as of Run. */
  GstFlowReturn Ready();
  /** The next frame starts from the state of a new session. Free if none has been run since. */
  void Reset();
  /**
   * Waits for the model, runs the job and waits for it. GST_FLOW_FLUSHING if it was interrupted; an error has been
   * posted when it returns GST_FLOW_ERROR. The caller fills in buffers, frames and codebooks, and may fill in a
   * deadline.
   */
  GstFlowReturn Run(MoshiJob& job);
  /** Makes the session as good as new at once. */
  GstFlowReturn Restart();
  /** Posts what a call of the core on handle() says, if it is an error. */
  GstFlowReturn Check(MoshiStatus status, const MoshiError& error) {
    return status == MOSHI_OK ? GST_FLOW_OK : Fail(error);
  }
  void Close();

  /** The open session, for calls that do not wait; null if there is none. */
  MoshiSession* handle() const { return session_; }

  void Interrupt(Interruption reason);
  void Resume(Interruption reason);

  SessionCounters counters();

 private:
  GstFlowReturn Open();
  GstFlowReturn Submit(MoshiJob& job);
  GstFlowReturn Fail(const MoshiError& error);
  void Count(const MoshiJob& job);

  GstElement* const element_;
  Model& model_;
  const MoshiJobKind kind_;
  SessionPlan plan_;
  bool live_ = false;
  bool used_ = false;   ///< frames were run since the last reset
  bool reset_ = false;  ///< the next job resets

  std::mutex mutex_;  ///< guards what follows; held over submit() but never over a wait
  MoshiSession* session_ = nullptr;
  unsigned interrupted_ = 0;  ///< Interruption bits
  SessionCounters counters_;
};

}  // namespace gstmoshi

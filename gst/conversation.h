// SPDX-License-Identifier: MIT
// The steps of a conversation and their time.
#pragma once

#include <gst/gst.h>

#include <atomic>
#include <deque>
#include <mutex>
#include <optional>
#include <vector>

#include "generation.h"
#include "input_queue.h"
#include "lm_output.h"
#include "model.h"
#include "session.h"
#include "step_times.h"

namespace gstmoshi {

/** What to do with user frames whose step begins too late. */
enum class LatePolicy {
  kAuto,  ///< drop when live, else wait
  kWait,  ///< let upstream wait
  kDrop,  ///< leave them out, so that what follows is in time
  kShift  ///< step them all and let the output's time slip
};

/**
 * Takes what waits in the input queue, on a thread of its own, and steps the model: once on its initial tokens alone,
 * then once for each user frame. The output of the step of user frame k is frame k - lag; output frame j has the time
 * of the jth stepped user frame.
 */
class Conversation {
 public:
  Conversation(GstElement* element, Model& model, Session& session, InputQueue& input, LmOutput& output)
      : element_(element), model_(model), session_(session), input_(input), output_(output) {}
  ~Conversation() { Stop(); }
  Conversation(const Conversation&) = delete;
  Conversation& operator=(const Conversation&) = delete;

  /** False if there can be no thread. */
  bool Start(const SessionPlan& plan);
  /** Waits for the thread to end: the input queue must be stopped and the session interrupted before. */
  void Stop();
  /** After a flush, while the thread is idle. */
  void Flush();

  // Any thread.
  GenerationSettings& generation() { return generation_; }
  void SetLive(bool live) { live_ = live; }
  bool live() const { return live_; }
  void SetLatePolicy(LatePolicy policy) { policy_ = policy; }
  LatePolicy late_policy() const { return policy_; }
  /** The policy in force: not kAuto. */
  LatePolicy policy_now() const;
  /** Whether input is left out when there is no room for it: upstream cannot wait. */
  bool drops() const { return live_ && policy_now() == LatePolicy::kDrop; }
  void SetEosMaxDuration(GstClockTime duration) { eos_max_duration_ = duration; }
  GstClockTime eos_max_duration() const { return eos_max_duration_; }
  /** Of the whole pipeline; GST_CLOCK_TIME_NONE: nobody has said. */
  void SetPipelineLatency(GstClockTime latency) { pipeline_latency_ = latency; }
  /** The next user frame begins a new conversation. */
  void RequestReset();
  /** These are said instead of what the model would say, one a frame from the next on. */
  void ForceText(const std::vector<int32_t>& tokens);
  /** Adds its part to `stats`. */
  void AddStats(GstStructure* stats);

 private:
  /** What is to be sent once the output has come so far. */
  struct Pending {
    EventPtr event;  ///< null: a frame
    GstClockTime pts = GST_CLOCK_TIME_NONE;
    bool stepped = true;  ///< an output frame will come for it; else it is a gap
    bool gap = false;     ///< its output is not wanted
    bool jump = false;
    bool beyond = false;  ///< after the end of the input
  };

  static gpointer Run(gpointer self);
  void Loop();
  GstFlowReturn Handle(Input& input);
  GstFlowReturn HandleEvent(EventPtr event);
  GstFlowReturn HandleCaps(GstEvent* event);
  void HandleAfterError(Input& input);
  GstFlowReturn HandleEnd(EventPtr event);
  void Fail(GstFlowReturn flow);

  GstFlowReturn Listen(Input& input);
  GstFlowReturn StepOver(GstClockTime pts, guint64 frames);
  GstFlowReturn Begin();
  GstFlowReturn Apply();
  GstFlowReturn ApplyConditions();
  GstFlowReturn Step(const int32_t* tokens, Pending entry);
  GstFlowReturn RunStep(const int32_t* tokens, GstClockTime pts);
  GstFlowReturn DrainLag();
  GstFlowReturn Translate();
  bool Translates();
  Pending BeyondEnd();
  void Abandon();

  GstFlowReturn Add(Pending entry);
  GstFlowReturn Settle();
  GstFlowReturn Deliver();

  std::optional<GstClockTimeDiff> Lateness(GstClockTime pts);
  void Slip(GstClockTimeDiff late);
  void CountInput(guint64 frames);
  void CountStep(GstClockTime time);
  int32_t NextForced();

  GstElement* const element_;
  Model& model_;
  Session& session_;
  InputQueue& input_;
  LmOutput& output_;
  GenerationSettings generation_;
  GThread* thread_ = nullptr;

  std::atomic<bool> live_{false}, reset_wanted_{false};
  std::atomic<LatePolicy> policy_{LatePolicy::kAuto};
  std::atomic<GstClockTime> eos_max_duration_{60 * GST_SECOND};
  std::atomic<GstClockTime> pipeline_latency_{GST_CLOCK_TIME_NONE};

  // The thread's own, or anyone's while it is idle.
  LmFacts lm_;
  GstClockTime frame_ = 80 * GST_MSECOND;  ///< duration of a frame
  GstSegment segment_{};
  std::optional<CodesFormat> format_;
  bool begun_ = false;   ///< the initial step is done
  bool used_ = false;    ///< the session has done steps
  bool failed_ = false;  ///< an error has been told: all input is thrown away
  bool conditioned_ = false;
  guint64 skip_ = 0;                         ///< outputs that come before the first frame's
  GstClockTime next_ = GST_CLOCK_TIME_NONE;  ///< end of the last user frame
  bool jump_ = false;                        ///< the next frame follows dropped ones
  Generation applied_;
  std::deque<Pending> pending_;
  std::vector<int32_t> tokens_;  ///< of the last step
  std::vector<float> heads_;
  bool warned_ = false;

  std::mutex mutex_;  ///< guards what follows
  std::deque<int32_t> forced_;
  StepTimes times_;
  guint64 steps_ = 0, frames_in_ = 0, dropped_ = 0, misses_ = 0;
  GstClockTime slip_ = 0, slip_told_ = 0;
  gint64 seed_ = -1;
};

}  // namespace gstmoshi

// SPDX-License-Identifier: MIT
// What moshilm has been given and has not stepped yet.
#pragma once

#include <gst/gst.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <vector>

#include "glib_ptr.h"

namespace gstmoshi {

/** Frames of user codes that wait to be stepped, at most. */
constexpr guint kInputFrames = 4;

/** One thing to handle, in the order in which it came. */
struct Input {
  enum class Kind {
    kEvent,
    kCodes,    ///< one frame of user tokens
    kSilence,  ///< one frame in which upstream has nothing
    kDropped   ///< `frames` frames one after another whose codes came too late
  };
  Kind kind = Kind::kEvent;
  EventPtr event;
  GstClockTime pts = GST_CLOCK_TIME_NONE;  ///< of the first frame
  guint64 frames = 1;
  bool jump = false;  ///< its time does not follow that of the frame before
  std::vector<int32_t> tokens;
};

/** Between the streaming thread, which fills it, and the conversation's, which empties it. */
class InputQueue {
 public:
  /** Allows input again; what is left of an earlier time is forgotten. */
  void Start();
  /** Ends all waits, for good. Never blocks. */
  void Stop();

  /**
   * Adds an event, or a frame if there is room: else waits for it or, if `drop` is set, turns the oldest frame of codes
   * into a dropped one. Returns what Refuse was told, GST_FLOW_FLUSHING between SetFlushing and its end.
   */
  GstFlowReturn Push(Input input, bool drop);
  /**
   * Push returns `flow` from now on, GST_FLOW_OK to end it. False if the end of the stream has been pushed, so that
   * upstream will not learn of it.
   */
  bool Refuse(GstFlowReturn flow);
  /** What Refuse was told, unless a Push has returned it. */
  GstFlowReturn Untold();

  /** Waits for input; nothing when stopped. While flushing, it waits for that to end. */
  std::optional<Input> Pop();
  /** Takes a frame of codes off the front if it begins before `time`. */
  bool TakeBefore(GstClockTime time);
  /** Puts back what could not be handled. */
  void PutBack(Input input);

  /** Drops all but sticky events, and all that comes while it is set. Never blocks. */
  void SetFlushing(bool flushing);
  /** Waits until the conversation's thread is in Pop. */
  void WaitIdle();

  guint frames();

 private:
  void DropOldest();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Input> inputs_;
  guint frames_ = 0;  ///< those that take room: codes and silence
  bool stopped_ = true, flushing_ = false, idle_ = true;
  GstFlowReturn refusal_ = GST_FLOW_OK;
  bool told_ = false;   ///< upstream knows of the refusal
  bool ended_ = false;  ///< the end of the stream has been pushed
};

}  // namespace gstmoshi

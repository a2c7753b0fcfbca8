// SPDX-License-Identifier: MIT
// A source pad with a queue and a task of its own.
#pragma once

#include <gst/gst.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>

#include "glib_ptr.h"

namespace gstmoshi {

/** Frames (buffers and gaps) that wait to be taken by downstream, at most. */
constexpr guint kOutputFrames = 16;

/**
 * Two of these let two sinks preroll that wait for one another. What nobody is linked to take is thrown away. Push is
 * for one thread; Flush, Unflush and Activate are for pad functions; all else is for any.
 */
class SourcePad {
 public:
  /** Told on the pad's task how a frame went, e.g. GST_FLOW_NOT_LINKED. */
  using FlowFn = std::function<void(GstPad*, GstFlowReturn)>;

  SourcePad(GstPad* pad, FlowFn told) : pad_(pad), told_(std::move(told)) {}
  SourcePad(const SourcePad&) = delete;
  SourcePad& operator=(const SourcePad&) = delete;

  GstPad* pad() const { return pad_; }

  /** Waits for room. False while flushing, or when the pad is not active. */
  bool Push(BufferPtr buffer);
  /** Events need no room, but a GAP counts as a frame. False as above; sticky events are kept all the same. */
  bool Push(EventPtr event);

  /**
   * Between the time when downstream asks for other caps and the time when they reach it, what it refuses is dropped.
   * True if it asks for them: either new caps are pushed now, or KeepCaps is called.
   */
  bool ReconfigureBegins();
  void KeepCaps() { stale_ = false; }

  /** The pad's activation in push mode. */
  bool Activate(bool active);
  /** Ends Push, which fails from now on. Never blocks. */
  void StartFlush();
  /** Between the two, FLUSH_STOP can be sent. The first waits for the task to rest. */
  void EmptyForFlush();
  void StopFlush();

  guint frames();

 private:
  struct Item {
    GstMiniObject* object;
    bool frame;
  };

  static void Loop(gpointer self);
  bool Enqueue(GstMiniObject* object, bool frame);
  void Send(GstMiniObject* object);
  void Empty();

  GstPad* const pad_;
  const FlowFn told_;
  std::atomic<bool> stale_{false};  ///< what is queued may be in a format that downstream does not take any more

  std::mutex task_mutex_;  ///< the task is started only while the pad is active; messages are posted under it
  bool active_ = false;

  std::mutex mutex_;  ///< guards what follows
  std::condition_variable changed_;
  std::deque<Item> items_;
  guint frames_ = 0;
  bool flushing_ = true;
};

}  // namespace gstmoshi

// SPDX-License-Identifier: MIT
// Ends the wait for a batch that does not fill up.
#pragma once

#include <gst/gst.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>

namespace gstmoshi {

/**
 * Frames wait for a batch only while more of them keep coming. Otherwise a `tee` whose other branch has a queue of less
 * than a batch would block for ever: the frames that complete the batch come only once that queue is let go, and who is
 * to let it go waits for the batch.
 */
class BatchTimer {
 public:
  /** `fire` runs on a thread of its own, with the stream lock of `sinkpad` held, as if on the streaming thread. */
  BatchTimer(GstPad* sinkpad, std::function<void()> fire) : sinkpad_(sinkpad), fire_(std::move(fire)) {}
  ~BatchTimer() { Stop(); }
  BatchTimer(const BatchTimer&) = delete;
  BatchTimer& operator=(const BatchTimer&) = delete;

  /** False if there can be no thread. */
  bool Start();
  /** Waits for the thread to end; without the stream lock. */
  void Stop();
  /** Lets it fire unless this or Disarm is called again within the time that a frame may wait. */
  void Arm();
  void Disarm();

 private:
  using Clock = std::chrono::steady_clock;

  static gpointer Run(gpointer self);
  bool WaitUntilDue();

  GstPad* const sinkpad_;
  const std::function<void()> fire_;
  GThread* thread_ = nullptr;

  std::mutex mutex_;  ///< guards what follows
  std::condition_variable changed_;
  bool stop_ = false;
  bool armed_ = false;
  Clock::time_point due_;
};

}  // namespace gstmoshi

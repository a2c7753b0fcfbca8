// SPDX-License-Identifier: MIT
// What mimienc does with its stream; mimienc.cpp is the GObject around it.
#pragma once

#include <gst/audio/audio.h>

#include <atomic>
#include <mutex>
#include <optional>
#include <vector>

#include "batch_timer.h"
#include "caps.h"
#include "model.h"
#include "notices.h"
#include "session.h"
#include "timeline.h"

namespace gstmoshi {

/**
 * Methods are called on the streaming thread, or in state changes while it rests, except where they say otherwise. The
 * base class cuts the input into frames and stamps the output; this class keeps the input's time, so that what the base
 * class sees has no holes, and gathers frames for the core.
 */
class Encoder {
 public:
  using EventFn = gboolean (*)(GstAudioEncoder*, GstEvent*);

  /** `base_event`: the base class's handler of sink events. */
  Encoder(GstAudioEncoder* element, EventFn base_event);

  Model& model() { return model_; }
  Session& session() { return session_; }

  /** Any thread: properties. A number of codebooks that cannot be had now is a WARNING and changes nothing. */
  void SetCodebooks(int wanted);
  int codebooks() const { return codebooks_; }
  void SetBatch(int wanted) { batch_wanted_ = wanted; }
  int batch() const { return batch_wanted_; }
  GstStructure* Stats();
  void UpdateLatency();
  /** Posts an error and returns false if the number of codebooks cannot be. */
  bool CheckCodebooks();

  void Start();
  void Stop();
  bool SetFormat(const GstAudioInfo& info);
  GstFlowReturn Chain(GstBuffer* buffer);
  GstFlowReturn HandleFrame(GstBuffer* buffer);
  gboolean SinkEvent(GstEvent* event);

 private:
  bool RefuseSegment(GstEvent* event);
  bool SkipWhileLoading(GstClockTime time, GstClockTime duration);
  GstFlowReturn MoveTo(GstClockTime time, bool discont);
  GstFlowReturn FeedSilence(guint64 samples);
  void Gap(GstEvent* event);
  void ForwardNow(GstEvent* event);
  void Drain();
  void StartAfresh();
  void ForgetStream();
  bool Collect(GstBuffer* buffer);
  GstFlowReturn Choose();
  GstFlowReturn EncodeBatch();
  void EndWait();
  BufferPtr FrameBuffer(const uint16_t* codes, int samples);

  GstAudioEncoder* const element_;
  GstPad* const sinkpad_;
  GstPad* const srcpad_;
  const GstPadChainFunction base_chain_;
  const EventFn base_event_;
  Model model_;
  Session session_;

  std::atomic<int> codebooks_{0};
  std::atomic<int> batch_wanted_{0};
  std::atomic<int> batch_{0};  ///< in use; 0 until the format is known
  std::atomic<bool> started_{false};
  std::atomic<bool> renegotiate_{false};

  GstAudioInfo input_{};  ///< of the caps that came last; the base class takes them with the next buffer
  Timeline timeline_;
  std::optional<bool> live_;
  bool discont_ = false;  ///< the next buffer is marked
  bool refused_ = false;  ///< the segment is not in TIME
  SkippedInput skipped_;
  bool warned_nonfinite_ = false;
  std::optional<CodesFormat> format_;  ///< what goes out

  std::vector<float> pcm_;    ///< frames that wait to be encoded
  std::vector<int> lengths_;  ///< their samples before padding
  std::vector<uint16_t> codes_;
  GstFlowReturn late_flow_ = GST_FLOW_OK;  ///< of a batch that the timer has sent

  std::mutex stats_mutex_;
  guint64 filled_samples_ = 0, padded_samples_ = 0, nonfinite_samples_ = 0, restarts_ = 0;

  BatchTimer timer_;  ///< last: its thread touches the others
};

}  // namespace gstmoshi

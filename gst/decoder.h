// SPDX-License-Identifier: MIT
// What mimidec does with its stream; mimidec.cpp is the GObject around it.
#pragma once

#include <gst/audio/audio.h>

#include <atomic>
#include <deque>
#include <mutex>
#include <optional>
#include <vector>

#include "batch_timer.h"
#include "caps.h"
#include "fade.h"
#include "model.h"
#include "notices.h"
#include "session.h"

namespace gstmoshi {

/**
 * Methods are called on the streaming thread, or in state changes while it rests, except where they say otherwise.
 * Input buffers wait in a queue until there are frames enough for a batch; each then gives one output buffer (or, if it
 * is long, several), less what its GstAudioClippingMeta cuts off.
 */
class Decoder {
 public:
  using EventFn = gboolean (*)(GstAudioDecoder*, GstEvent*);

  /** `base_event`: the base class's handler of sink events. */
  Decoder(GstAudioDecoder* element, EventFn base_event);

  Model& model() { return model_; }
  Session& session() { return session_; }

  /** Any thread. */
  void SetBatch(int wanted) { batch_wanted_ = wanted; }
  int batch() const { return batch_wanted_; }
  GstStructure* Stats();
  void UpdateLatency();

  void Start();
  void Stop();
  bool SetFormat(GstCaps* caps);
  GstFlowReturn HandleFrame(GstBuffer* buffer);
  gboolean SinkEvent(GstEvent* event);

 private:
  /** One input buffer. Samples count from the start of its first frame. */
  struct Input {
    guint64 frames = 0;   ///< in codes_
    guint64 samples = 0;  ///< of output before clipping; beyond the frames they are silence
    guint64 begin = 0, end = 0;
    guint64 decoded = 0;  ///< frames that have gone out
    bool split = false;   ///< a part of it has gone out
  };

  GstFlowReturn Queue(GstBuffer* buffer);
  GstFlowReturn QueueConcealment(GstBuffer* buffer);
  GstFlowReturn AddFrames(const guint8* bytes, gsize frames);
  GstFlowReturn AddConcealed(guint64 frames);
  GstFlowReturn BadData(const char* problem);
  bool SkipWhileLoading();
  GstFlowReturn CheckModel();
  GstFlowReturn DecodeQueue();
  void EndWait();
  GstFlowReturn DecodeSome(guint64 frames);
  GstFlowReturn SendDecoded(const float* pcm, guint64 frames);
  GstFlowReturn Send(Input& input, const float* pcm, guint64 from, guint64 to);
  BufferPtr AudioBuffer(const float* pcm, guint64 samples);
  bool RefuseSegment(GstEvent* event);
  GstFlowReturn FollowDownstream();
  bool ChooseOutput();
  void ForgetQueue();

  GstAudioDecoder* const element_;
  GstPad* const sinkpad_;
  GstPad* const srcpad_;
  const EventFn base_event_;
  Model model_;
  Session session_;
  std::atomic<int> batch_wanted_{0};
  std::atomic<int> batch_{0};  ///< in use; 0 until the format is known

  CodesFormat format_;
  GstAudioInfo output_{};
  int frame_samples_ = 0;
  bool model_checked_ = false;
  bool live_ = false;
  SkippedInput skipped_;
  bool discont_ = false;  ///< the next output is marked
  bool refused_ = false;  ///< the segment is not in TIME
  int errors_in_row_ = 0;

  std::deque<Input> inputs_;
  std::vector<uint16_t> codes_;    ///< of all frames in the queue
  std::vector<Fade::Kind> kinds_;  ///< of the same frames
  std::vector<uint16_t> last_;     ///< codes of the last good frame; empty: none yet
  Fade fade_;
  std::vector<float> pcm_;

  std::mutex stats_mutex_;
  guint64 errors_ = 0, concealed_frames_ = 0;

  GstFlowReturn late_flow_ = GST_FLOW_OK;  ///< of a batch that the timer has sent
  BatchTimer timer_;                       ///< last: its thread touches the others
};

}  // namespace gstmoshi

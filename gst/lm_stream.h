// SPDX-License-Identifier: MIT
// What moshilm does with its pads; moshilm.cpp is the GObject around it.
#pragma once

#include <gst/base/gstflowcombiner.h>
#include <gst/gst.h>

#include <atomic>
#include <mutex>
#include <optional>
#include <string>

#include "caps.h"
#include "conversation.h"
#include "input_queue.h"
#include "lm_output.h"
#include "model.h"
#include "notices.h"
#include "session.h"
#include "source_pad.h"

namespace gstmoshi {

/** Pad functions call it on their threads, state changes on theirs; the rest is for any thread. */
class LmStream {
 public:
  LmStream(GstElement* element, GstPad* sink, GstPad* audio, GstPad* text);
  ~LmStream();
  LmStream(const LmStream&) = delete;
  LmStream& operator=(const LmStream&) = delete;

  Model& model() { return model_; }
  Conversation& conversation() { return conversation_; }

  // State changes.
  bool Start();
  /** Before the pads are deactivated: ends all waits. */
  void Interrupt();
  void Stop();
  bool ActivateSource(GstPad* pad, bool active) { return SourceOf(pad).Activate(active); }

  // Pad functions.
  GstFlowReturn Chain(GstBuffer* buffer);
  gboolean SinkEvent(GstEvent* event);
  gboolean SinkQuery(GstQuery* query);
  gboolean SourceEvent(GstPad* pad, GstEvent* event);
  gboolean SourceQuery(GstPad* pad, GstQuery* query);

  void SetMaxSessions(gint most) { max_sessions_ = most; }
  gint max_sessions() const { return max_sessions_; }
  GstStructure* Stats();
  /** The model has been loaded, or the processing latency was set. */
  void UpdateLatency();
  /** Token ids with spaces or commas between them. False, with a WARNING in the log, if they are not. */
  bool ForceText(const char* ids);

 private:
  SourcePad& SourceOf(GstPad* pad) { return pad == audio_.pad() ? audio_ : text_; }
  void OnFlow(GstPad* pad, GstFlowReturn flow);
  void PostFlowError(GstFlowReturn flow);
  bool SetCaps(GstCaps* caps);
  std::string Mismatch(const CodesFormat& format);
  bool RefuseSegment(GstEvent* event);
  gboolean StartFlush(GstEvent* event);
  gboolean StopFlush(GstEvent* event);
  gboolean Gap(GstEvent* event);
  bool SkipWhileLoading(GstClockTime pts);
  GstFlowReturn CheckFormat();
  GstFlowReturn PushFrames(GstBuffer* buffer);
  GstFlowReturn PushCodes(std::vector<uint16_t> codes, GstClockTime pts);
  GstFlowReturn FillUntil(GstClockTime time);
  GstFlowReturn BadData(const std::string& problem);
  CapsPtr SinkCaps();
  CapsPtr SourceCaps(GstPad* pad);
  bool AddLatency(GstQuery* query);
  GstClockTime OwnLatency();

  GstElement* const element_;
  GstPad* const sink_;
  SourcePad audio_, text_;
  Model model_;
  Session session_;
  InputQueue input_;
  LmOutput output_;
  Conversation conversation_;
  CapsGate gate_;
  std::atomic<gint> max_sessions_{0};

  // The streaming thread's.
  std::optional<CodesFormat> format_;
  bool format_checked_ = false;  ///< against the model's facts
  GstSegment segment_{};
  GstClockTime expected_ = GST_CLOCK_TIME_NONE;  ///< time of the next frame
  bool jump_ = false;                            ///< the next frame follows a hole
  bool refused_ = false;                         ///< the segment is not in TIME
  SkippedInput skipped_;

  std::atomic<guint32> seek_seqnum_{GST_SEQNUM_INVALID};
  std::atomic<GstClockTime> own_latency_{0};

  std::mutex flow_mutex_;  ///< guards what follows
  GstFlowCombiner* combiner_;
  bool flow_error_posted_ = false;
};

}  // namespace gstmoshi

// SPDX-License-Identifier: MIT
// What mimiparse does with its stream; mimiparse.cpp is the GObject around it.
#pragma once

#include <gst/base/gstbaseparse.h>

#include <atomic>
#include <optional>

#include "caps.h"

namespace gstmoshi {

/**
 * Two kinds of input. A byte stream is cut into frames, whose times and places follow from their number. Framed and
 * time-stamped input goes through buffer by buffer and keeps its metas; only the layout of the codes may change.
 * Methods are called on the streaming thread, except where they say otherwise.
 */
class Parser {
 public:
  explicit Parser(GstBaseParse* element);

  /** Any thread. */
  void SetLeadIn(int frames) { lead_in_ = frames; }
  int lead_in() const { return lead_in_; }
  CapsPtr SinkCaps();
  bool Convert(GstFormat from, gint64 value, GstFormat to, gint64& result);
  /** Duration in time of a byte stream whose length upstream knows. */
  std::optional<gint64> ByteDuration();
  /** Answers for a byte stream that upstream can seek in. */
  bool AnswerSeeking(GstQuery* query);
  /** Prepares the base class for a seek; gives the event that it is to handle. */
  GstEvent* PrepareSeek(GstEvent* event);

  void Start();
  bool SetFormat(const GstCaps* caps);
  void SetSegment(const GstSegment& segment);
  /** The pad's chain function: framed input is converted here, and then only passes through the base class. */
  GstFlowReturn Chain(GstBuffer* buffer);
  /** Makes sure of output caps; what comes next needs them. */
  void BeforeGap();
  GstFlowReturn HandleFrame(GstBaseParseFrame* frame, int& skip);
  GstFlowReturn BeforePush(GstBaseParseFrame* frame);

 private:
  void ChooseWay();
  bool FindFormat();
  CapsPtr Completed(const GstCaps* caps);
  bool IsHead(GstBuffer* buffer);
  GstFlowReturn FollowDownstream();
  bool ChooseOutput();
  GstFlowReturn FinishOne(GstBaseParseFrame* frame);
  BufferPtr Relaid(const guint8* bytes, gsize frames);
  BufferPtr Converted(BufferPtr buffer);
  GstFlowReturn PostLeftOver(gsize bytes);

  GstBaseParse* const element_;
  GstPad* const sinkpad_;
  GstPad* const srcpad_;
  const GstPadChainFunction base_chain_;
  std::atomic<int> lead_in_{25};

  // Written on the streaming thread with the object lock held, as queries read it from other threads.
  std::optional<CodesFormat> input_;
  std::optional<CodesFormat> output_;
  BufferPtr head_;        ///< the input caps' streamheader: the base class hands it over as if it were data
  bool through_ = false;  ///< framed and time-stamped input only passes through the base class
  bool timed_ = false;    ///< the segment is in TIME
  GstClockTime next_time_ = GST_CLOCK_TIME_NONE;  ///< of a byte stream in a TIME segment
  bool warned_left_over_ = false;
};

}  // namespace gstmoshi

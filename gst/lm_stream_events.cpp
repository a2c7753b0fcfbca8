// SPDX-License-Identifier: MIT
// moshilm's events and queries.
#include <utility>

#include "lm_stream.h"
#include "moshilm.h"

#define GST_CAT_DEFAULT moshilm_debug

namespace gstmoshi {

gboolean LmStream::SinkEvent(GstEvent* event) {
  switch (GST_EVENT_TYPE(event)) {
    case GST_EVENT_FLUSH_START:
      return StartFlush(event);
    case GST_EVENT_FLUSH_STOP:
      return StopFlush(event);
    case GST_EVENT_GAP:
      return Gap(event);
    case GST_EVENT_STREAM_START:
      expected_ = GST_CLOCK_TIME_NONE;
      break;
    case GST_EVENT_CAPS: {
      GstCaps* caps;
      gst_event_parse_caps(event, &caps);
      if (!SetCaps(caps)) {
        gst_event_unref(event);
        return FALSE;
      }
      break;
    }
    case GST_EVENT_SEGMENT:
      if (RefuseSegment(event)) return TRUE;  // or it would come again with every buffer
      break;
    default:
      if (IsSerialized(event)) break;
      gst_pad_push_event(text_.pad(), gst_event_ref(event));
      return gst_pad_push_event(audio_.pad(), event);
  }
  const bool end = GST_EVENT_TYPE(event) == GST_EVENT_EOS;
  Input input;
  input.event.reset(event);
  const GstFlowReturn flow = input_.Push(std::move(input), false);
  // An error was told by whoever it happened to.
  const GstFlowReturn untold = end ? input_.Untold() : GST_FLOW_OK;
  if (untold != GST_FLOW_ERROR) PostFlowError(untold);
  return flow == GST_FLOW_OK;
}

bool LmStream::RefuseSegment(GstEvent* event) {
  const GstSegment* segment;
  gst_event_parse_segment(event, &segment);
  refused_ = segment->format != GST_FORMAT_TIME;
  if (!refused_) {
    gst_event_copy_segment(event, &segment_);
    expected_ = GST_CLOCK_TIME_NONE;
    return false;
  }
  const char* format = gst_format_get_name(segment->format);
  gst_event_unref(event);
  GST_ELEMENT_ERROR(element_, STREAM, FORMAT,
                    ("The codes have no time: their segment is in %s. Add mimiparse before this element.", format),
                    (nullptr));
  return true;
}

gboolean LmStream::StartFlush(GstEvent* event) {
  input_.SetFlushing(true);
  session_.Interrupt(kFlushing);
  audio_.StartFlush();
  text_.StartFlush();
  gst_pad_push_event(text_.pad(), gst_event_ref(event));
  return gst_pad_push_event(audio_.pad(), event);
}

gboolean LmStream::StopFlush(GstEvent* event) {
  // In case that nobody has sent the start.
  input_.SetFlushing(true);
  session_.Interrupt(kFlushing);
  audio_.StartFlush();
  text_.StartFlush();
  input_.WaitIdle();
  audio_.EmptyForFlush();
  text_.EmptyForFlush();
  conversation_.Flush();
  gst_pad_push_event(text_.pad(), gst_event_ref(event));
  const gboolean taken = gst_pad_push_event(audio_.pad(), event);
  refused_ = false;
  expected_ = GST_CLOCK_TIME_NONE;
  {
    std::lock_guard lock(flow_mutex_);
    gst_flow_combiner_reset(combiner_);
    flow_error_posted_ = false;
  }
  input_.Refuse(GST_FLOW_OK);
  session_.Resume(kFlushing);
  audio_.StopFlush();
  text_.StopFlush();
  input_.SetFlushing(false);
  return taken;
}

gboolean LmStream::SourceEvent(GstPad* pad, GstEvent* event) {
  if (GST_EVENT_TYPE(event) == GST_EVENT_LATENCY) {
    GstClockTime latency;
    gst_event_parse_latency(event, &latency);
    conversation_.SetPipelineLatency(latency);
  }
  // A pipeline seeks on every sink, and upstream needs it once.
  if (GST_EVENT_TYPE(event) == GST_EVENT_SEEK) {
    const guint32 seqnum = gst_event_get_seqnum(event);
    if (seek_seqnum_.exchange(seqnum) == seqnum) {
      gst_event_unref(event);
      return TRUE;
    }
  }
  return gst_pad_event_default(pad, GST_OBJECT(element_), event);
}

CapsPtr LmStream::SinkCaps() {
  ModelFacts facts = model_.facts();
  facts.codebooks = kMaxCodebooks;  // its Mimi's, which may have fewer or be missing, do not matter
  CapsPtr caps = CodesCapsOf(facts, 0);
  const gint least = MAX(facts.lm.user_streams, 1);
  if (facts.open() && least < kMaxCodebooks)
    gst_caps_set_simple(caps.get(), "codebooks", GST_TYPE_INT_RANGE, least, kMaxCodebooks, nullptr);
  else if (facts.open())
    gst_caps_set_simple(caps.get(), "codebooks", G_TYPE_INT, least, nullptr);
  return caps;
}

CapsPtr LmStream::SourceCaps(GstPad* pad) {
  ModelFacts facts = model_.facts();
  facts.codebooks = kMaxCodebooks;
  if (!facts.open()) return CapsPtr(gst_pad_get_pad_template_caps(pad));
  if (pad == text_.pad())
    return CapsPtr(
        gst_caps_from_string(facts.lm.tokenizer.empty() ? MOSHI_CAPS_TOKENS : MOSHI_CAPS_TEXT "; " MOSHI_CAPS_TOKENS));
  return CodesCapsOf(facts, facts.lm.own_streams);
}

gboolean LmStream::SinkQuery(GstQuery* query) {
  if (GST_QUERY_TYPE(query) == GST_QUERY_CAPS) {
    GstCaps* filter;
    gst_query_parse_caps(query, &filter);
    CapsPtr caps = SinkCaps();
    if (filter != nullptr) caps.reset(gst_caps_intersect_full(filter, caps.get(), GST_CAPS_INTERSECT_FIRST));
    gst_query_set_caps_result(query, caps.get());
    return TRUE;
  }
  if (GST_QUERY_TYPE(query) == GST_QUERY_ACCEPT_CAPS) {
    GstCaps* caps;
    gst_query_parse_accept_caps(query, &caps);
    const std::optional<CodesFormat> format = ParseCodesCaps(caps);
    const std::string mismatch = format ? Mismatch(*format) : std::string();
    const bool accepted =
        gate_.Accept(element_, caps, SinkCaps().get(),
                     mismatch.empty() ? "Put mimienc before it, or filesrc ! mimiparse." : mismatch.c_str());
    gst_query_set_accept_caps_result(query, accepted);
    return TRUE;
  }
  return gst_pad_query_default(sink_, GST_OBJECT(element_), query);
}

gboolean LmStream::SourceQuery(GstPad* pad, GstQuery* query) {
  switch (GST_QUERY_TYPE(query)) {
    case GST_QUERY_CAPS: {
      GstCaps* filter;
      gst_query_parse_caps(query, &filter);
      CapsPtr caps = SourceCaps(pad);
      if (filter != nullptr) caps.reset(gst_caps_intersect_full(filter, caps.get(), GST_CAPS_INTERSECT_FIRST));
      gst_query_set_caps_result(query, caps.get());
      return TRUE;
    }
    case GST_QUERY_LATENCY:
      return AddLatency(query);
    default:
      return gst_pad_query_default(pad, GST_OBJECT(element_), query);
  }
}

GstClockTime LmStream::OwnLatency() {
  const ModelFacts facts = model_.facts();
  const GstClockTime lag = facts.open() ? facts.lm.lag() * facts.frame_duration() : 0;
  return lag + model_.ProcessingLatency(1);
}

bool LmStream::AddLatency(GstQuery* query) {
  if (!gst_pad_peer_query(sink_, query)) return false;
  gboolean live;
  GstClockTime min, max;
  gst_query_parse_latency(query, &live, &min, &max);
  const GstClockTime own = OwnLatency();
  if (GST_CLOCK_TIME_IS_VALID(max)) max += own;
  gst_query_set_latency(query, live, min + own, max);
  return true;
}

void LmStream::UpdateLatency() {
  const GstClockTime own = OwnLatency();
  if (own_latency_.exchange(own) != own)
    gst_element_post_message(element_, gst_message_new_latency(GST_OBJECT(element_)));
}

}  // namespace gstmoshi

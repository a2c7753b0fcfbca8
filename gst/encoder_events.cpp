// SPDX-License-Identifier: MIT
// The events of mimienc's stream, and what the application asks of it.
#include <algorithm>

#include "encoder.h"
#include "mimienc.h"

#define GST_CAT_DEFAULT mimienc_debug

namespace gstmoshi {

gboolean Encoder::SinkEvent(GstEvent* event) {
  const GstEventType type = GST_EVENT_TYPE(event);
  if (type == GST_EVENT_FLUSH_START) {
    session_.Interrupt(kFlushing);
    return base_event_(element_, event);
  }
  // What was gathered goes out before any event that came after it.
  if (IsSerialized(event) && type != GST_EVENT_FLUSH_STOP && type != GST_EVENT_GAP) EncodeBatch();
  switch (type) {
    case GST_EVENT_FLUSH_STOP:
      ForgetStream();
      refused_ = false;
      session_.Resume(kFlushing);
      break;
    case GST_EVENT_STREAM_START:
      Drain();
      ForgetStream();
      break;
    case GST_EVENT_CAPS: {
      GstCaps* caps;
      gst_event_parse_caps(event, &caps);
      if (!gst_audio_info_from_caps(&input_, caps)) gst_audio_info_init(&input_);
      if (GST_AUDIO_INFO_IS_VALID(&input_)) timeline_.SetRate(GST_AUDIO_INFO_RATE(&input_));
      break;
    }
    case GST_EVENT_SEGMENT:
      if (RefuseSegment(event)) return TRUE;  // or it would come again with every buffer
      break;
    case GST_EVENT_GAP:
      if (!GST_AUDIO_INFO_IS_VALID(&input_)) break;
      Gap(event);
      return TRUE;
    case GST_EVENT_SEGMENT_DONE:
      Drain();
      ForwardNow(event);
      return TRUE;
    default:
      break;
  }
  return base_event_(element_, event);
}

bool Encoder::RefuseSegment(GstEvent* event) {
  const GstSegment* segment;
  gst_event_parse_segment(event, &segment);
  refused_ = segment->format != GST_FORMAT_TIME;
  if (!refused_) {
    timeline_.EnterSegment(element_->input_segment, *segment);
    return false;
  }
  const char* format = gst_format_get_name(segment->format);
  gst_event_unref(event);
  GST_ELEMENT_ERROR(element_, STREAM, FORMAT,
                    ("The input has no time: its segment is in %s. For a file of raw samples, add rawaudioparse before "
                     "this element.",
                     format),
                    ("rawaudioparse use-sink-caps=true, or with format, sample-rate and num-channels set"));
  return true;
}

void Encoder::Gap(GstEvent* event) {
  GstClockTime time, duration;
  gst_event_parse_gap(event, &time, &duration);
  if (refused_ || !GST_CLOCK_TIME_IS_VALID(time) || !GST_CLOCK_TIME_IS_VALID(duration)) return ForwardNow(event);
  if (SkipWhileLoading(time, duration) || MoveTo(time, false) != GST_FLOW_OK) return gst_event_unref(event);
  if (duration <= kLongestHole) {
    gst_event_unref(event);
    FeedSilence(timeline_.SamplesUntil(time + duration));
    return;
  }
  Drain();
  StartAfresh();
  timeline_.Anchor(time + duration);
  ForwardNow(event);
}

// At once where downstream has all that comes before it: the base class would keep it until the next frame, and sinks
// would wait for as long.
void Encoder::ForwardNow(GstEvent* event) {
  EventPtr mine(gst_pad_get_sticky_event(sinkpad_, GST_EVENT_SEGMENT, 0));
  EventPtr theirs(gst_pad_get_sticky_event(srcpad_, GST_EVENT_SEGMENT, 0));
  if (mine && mine == theirs && lengths_.empty())
    gst_pad_push_event(srcpad_, event);
  else
    base_event_(element_, event);
}

bool Encoder::CheckCodebooks() {
  const int wanted = codebooks_;
  const ModelFacts facts = model_.facts();
  const int most = facts.open() ? std::min(facts.codebooks, kMaxCodebooks) : kMaxCodebooks;
  if (wanted >= 0 && wanted <= most) return true;
  GST_ELEMENT_ERROR(element_, LIBRARY, SETTINGS,
                    ("Property codebooks is %d; set it to 1 to %d, or to 0 for what downstream wants.", wanted, most),
                    ("%s", facts.open() ? facts.mimi_file.c_str() : "no model is open yet"));
  return false;
}

void Encoder::SetCodebooks(int wanted) {
  if (!started_) {
    codebooks_ = wanted;
    return;
  }
  const ModelFacts facts = model_.facts();
  const int most = std::min(facts.codebooks, kMaxCodebooks);
  if (wanted < 0 || wanted > most) {
    GST_ELEMENT_WARNING(element_, LIBRARY, SETTINGS,
                        ("codebooks=%d is out of range; it stays %d. Set it to 1 to %d, or to 0 for what downstream "
                         "wants.",
                         wanted, codebooks_.load(), most),
                        (nullptr));
    return;
  }
  CapsPtr offer = CodesCapsOf(facts, wanted);
  CapsPtr taken(gst_pad_peer_query_caps(srcpad_, offer.get()));
  if (!gst_caps_can_intersect(taken.get(), offer.get())) {
    CapsPtr all(gst_pad_peer_query_caps(srcpad_, nullptr));
    StringPtr text(gst_caps_to_string(all.get()));
    GST_ELEMENT_WARNING(element_, CORE, NEGOTIATION,
                        ("Downstream refuses codebooks=%d; it stays %d. Change the caps that follow this element.",
                         wanted, codebooks_.load()),
                        ("downstream takes %s", text.get()));
    return;
  }
  codebooks_ = wanted;
  renegotiate_ = true;
}

GstStructure* Encoder::Stats() {
  const SessionCounters counters = session_.counters();
  std::lock_guard lock(stats_mutex_);
  return gst_structure_new(
      "application/x-mimienc-stats", "frames", G_TYPE_UINT64, counters.frames, "jobs", G_TYPE_UINT64, counters.jobs,
      "resets", G_TYPE_UINT64, counters.resets, "restarts", G_TYPE_UINT64, restarts_, "dropped-buffers", G_TYPE_UINT64,
      skipped_.count(), "filled-samples", G_TYPE_UINT64, filled_samples_, "padded-samples", G_TYPE_UINT64,
      padded_samples_, "non-finite-samples", G_TYPE_UINT64, nonfinite_samples_, "wait-time", G_TYPE_UINT64,
      counters.wait, "run-time", G_TYPE_UINT64, counters.run, "max-run-time", G_TYPE_UINT64, counters.run_max, nullptr);
}

}  // namespace gstmoshi

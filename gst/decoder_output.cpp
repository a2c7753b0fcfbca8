// SPDX-License-Identifier: MIT
// Decoded samples as buffers, mimidec's events, and its statistics.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "decoder.h"
#include "mimidec.h"

#define GST_CAT_DEFAULT mimidec_debug

namespace gstmoshi {
namespace {

/** Longest buffer of mere silence. */
constexpr guint64 kSilenceSamples = 48000;

gint16 ToS16(float sample) {
  const float scaled = std::rint(sample * 32768.0f);
  return static_cast<gint16>(std::isnan(scaled) ? 0.0f : std::clamp(scaled, -32768.0f, 32767.0f));
}

}  // namespace

// Gives the inputs their samples, in order; an input that is complete leaves the queue.
GstFlowReturn Decoder::SendDecoded(const float* pcm, guint64 frames) {
  GstFlowReturn flow = GST_FLOW_OK;
  while (flow == GST_FLOW_OK && !inputs_.empty()) {
    Input& input = inputs_.front();
    const guint64 now = MIN(frames, input.frames - input.decoded);
    if (now == 0 && input.decoded < input.frames) break;
    guint64 from = input.decoded * frame_samples_;
    guint64 to = MIN(from + now * frame_samples_, input.samples);
    if (now > 0) flow = Send(input, pcm, from, to);
    input.decoded += now;
    frames -= now;
    if (pcm != nullptr) pcm += now * frame_samples_;
    if (input.decoded < input.frames) break;
    // A gap that is longer than its frames ends with silence.
    for (; flow == GST_FLOW_OK && to < input.samples; to = from) {
      from = MIN(to + kSilenceSamples, input.samples);
      flow = Send(input, nullptr, to, from);
    }
    inputs_.pop_front();
  }
  return flow;
}

// Sends the samples `from` to `to` of the input, less what is clipped. The base class wants to know which part of an
// input is its last.
GstFlowReturn Decoder::Send(Input& input, const float* pcm, guint64 from, guint64 to) {
  const guint64 begin = CLAMP(input.begin, from, to), end = CLAMP(input.end, from, to);
  BufferPtr buffer;
  if (begin < end) buffer = AudioBuffer(pcm != nullptr ? pcm + (begin - from) : nullptr, end - begin);
  const bool last = to == input.samples;
  if (last && !input.split) return gst_audio_decoder_finish_frame(element_, buffer.release(), 1);
  input.split = true;
  GstFlowReturn flow = buffer ? gst_audio_decoder_finish_subframe(element_, buffer.release()) : GST_FLOW_OK;
  if (last && flow == GST_FLOW_OK) flow = gst_audio_decoder_finish_subframe(element_, nullptr);
  return flow;
}

BufferPtr Decoder::AudioBuffer(const float* pcm, guint64 samples) {
  BufferPtr buffer(gst_audio_decoder_allocate_output_buffer(element_, samples * GST_AUDIO_INFO_BPF(&output_)));
  BufferMap map(buffer.get(), GST_MAP_WRITE);
  if (pcm == nullptr) {
    std::memset(map.data(), 0, map.size());
  } else if (GST_AUDIO_INFO_FORMAT(&output_) == GST_AUDIO_FORMAT_S16LE) {
    std::transform(pcm, pcm + samples, reinterpret_cast<gint16*>(map.data()), ToS16);
  } else {
    std::memcpy(map.data(), pcm, samples * sizeof(float));
  }
  if (discont_) GST_BUFFER_FLAG_SET(buffer.get(), GST_BUFFER_FLAG_DISCONT);
  discont_ = false;
  return buffer;
}

gboolean Decoder::SinkEvent(GstEvent* event) {
  const GstEventType type = GST_EVENT_TYPE(event);
  if (type == GST_EVENT_FLUSH_START) {
    session_.Interrupt(kFlushing);
    return base_event_(element_, event);
  }
  // What waits for a batch goes out before any event that came after it.
  if (IsSerialized(event) && type != GST_EVENT_FLUSH_STOP) DecodeQueue();
  switch (type) {
    case GST_EVENT_FLUSH_STOP:
      ForgetQueue();
      session_.Reset();
      refused_ = false;
      session_.Resume(kFlushing);
      break;
    case GST_EVENT_STREAM_START:
      ForgetQueue();
      session_.Reset();
      break;
    case GST_EVENT_SEGMENT:
      if (RefuseSegment(event)) return TRUE;  // or it would come again with every buffer
      break;
    default:
      break;
  }
  return base_event_(element_, event);
}

bool Decoder::RefuseSegment(GstEvent* event) {
  const GstSegment* segment;
  gst_event_parse_segment(event, &segment);
  refused_ = segment->format != GST_FORMAT_TIME;
  if (!refused_) return false;
  const char* format = gst_format_get_name(segment->format);
  gst_event_unref(event);
  GST_ELEMENT_ERROR(element_, STREAM, FORMAT,
                    ("The codes have no time: their segment is in %s. Add mimiparse before this element.", format),
                    (nullptr));
  return true;
}

GstStructure* Decoder::Stats() {
  const SessionCounters counters = session_.counters();
  std::lock_guard lock(stats_mutex_);
  return gst_structure_new("application/x-mimidec-stats", "frames", G_TYPE_UINT64, counters.frames, "jobs",
                           G_TYPE_UINT64, counters.jobs, "resets", G_TYPE_UINT64, counters.resets, "dropped-buffers",
                           G_TYPE_UINT64, skipped_.count(), "errors", G_TYPE_UINT64, errors_, "concealed-frames",
                           G_TYPE_UINT64, concealed_frames_, "wait-time", G_TYPE_UINT64, counters.wait, "run-time",
                           G_TYPE_UINT64, counters.run, "max-run-time", G_TYPE_UINT64, counters.run_max, nullptr);
}

}  // namespace gstmoshi

// SPDX-License-Identifier: MIT
#include "silence.h"

#include <gst/audio/audio.h>

#include <utility>

#include "app.h"

namespace app {
namespace {

/// Of the streaming thread; the probe frees it.
struct Surroundings {
  GstClockTime before, after;
  GstClockTime end = 0;  ///< of what has passed
  bool begun = false;
  bool own = false;  ///< what passes now is this file's silence
};

void send_silence(GstPad* pad, Surroundings* state, GstClockTime start, GstClockTime duration) {
  const Caps caps(gst_pad_get_current_caps(pad));
  GstAudioInfo info;
  if (duration == 0 || !caps || !gst_audio_info_from_caps(&info, caps.get())) return;
  const guint64 samples = gst_util_uint64_scale(duration, GST_AUDIO_INFO_RATE(&info), GST_SECOND);
  GstBuffer* buffer = gst_buffer_new_allocate(nullptr, samples * GST_AUDIO_INFO_BPF(&info), nullptr);
  gst_buffer_memset(buffer, 0, 0, gst_buffer_get_size(buffer));  // silence in signed and float formats
  GST_BUFFER_PTS(buffer) = start;
  GST_BUFFER_DURATION(buffer) = duration;
  state->own = true;
  gst_pad_chain(pad, buffer);  // an error comes back with what follows
  state->own = false;
}

// A recording's segment ends with it, and what is behind would be cut off.
GstEvent* without_end(GstEvent* event) {
  GstSegment segment;
  gst_event_copy_segment(event, &segment);
  segment.stop = GST_CLOCK_TIME_NONE;
  GstEvent* open = gst_event_new_segment(&segment);
  gst_event_set_seqnum(open, gst_event_get_seqnum(event));
  gst_event_unref(event);
  return open;
}

GstBuffer* moved(GstPad* pad, GstBuffer* buffer, Surroundings* state) {
  GstClockTime start = GST_BUFFER_PTS(buffer);
  if (!GST_CLOCK_TIME_IS_VALID(start)) return buffer;
  if (!std::exchange(state->begun, true)) send_silence(pad, state, start, state->before);
  start += state->before;
  buffer = gst_buffer_make_writable(buffer);
  GST_BUFFER_PTS(buffer) = start;
  state->end = start + (GST_BUFFER_DURATION_IS_VALID(buffer) ? GST_BUFFER_DURATION(buffer) : 0);
  return buffer;
}

GstPadProbeReturn on_data(GstPad* pad, GstPadProbeInfo* info, gpointer user) {
  auto* state = static_cast<Surroundings*>(user);
  if (state->own) return GST_PAD_PROBE_OK;
  if (GST_PAD_PROBE_INFO_TYPE(info) & GST_PAD_PROBE_TYPE_BUFFER) {
    info->data = moved(pad, GST_PAD_PROBE_INFO_BUFFER(info), state);
    return GST_PAD_PROBE_OK;
  }
  GstEvent* event = GST_PAD_PROBE_INFO_EVENT(info);
  if (GST_EVENT_TYPE(event) == GST_EVENT_SEGMENT) info->data = without_end(event);
  if (GST_EVENT_TYPE(event) == GST_EVENT_EOS && state->begun) send_silence(pad, state, state->end, state->after);
  return GST_PAD_PROBE_OK;
}

}  // namespace

void surround_with_silence(GstPad* pad, GstClockTime before, GstClockTime after) {
  constexpr auto kinds = static_cast<GstPadProbeType>(GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM);
  gst_pad_add_probe(pad, kinds, on_data, new Surroundings{before, after},
                    [](gpointer user) { delete static_cast<Surroundings*>(user); });
}

}  // namespace app

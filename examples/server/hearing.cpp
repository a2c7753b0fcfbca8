// SPDX-License-Identifier: MIT
#include "hearing.h"

#include <algorithm>

#include "../wire/ogg_opus.h"

namespace server {
namespace {

constexpr uint64_t kFrame = wire::kFrameSamples;
constexpr gsize kSampleBytes = sizeof(gint16);
/// More than that is left out of time rather than filled with silence.
constexpr uint64_t kMostSilence = wire::kSampleRate;

GstClockTime time_of(uint64_t samples) { return gst_util_uint64_scale(samples, GST_SECOND, wire::kSampleRate); }

GstBuffer* silence(uint64_t samples) {
  GstBuffer* buffer = gst_buffer_new_allocate(nullptr, samples * kSampleBytes, nullptr);
  gst_buffer_memset(buffer, 0, 0, samples * kSampleBytes);
  return buffer;
}

}  // namespace

void Hearing::watch(GstPad* packets, GstPad* samples) {
  gst_pad_add_probe(packets, GST_PAD_PROBE_TYPE_BUFFER, &Hearing::on_packet, this, nullptr);
  gst_pad_add_probe(samples, GST_PAD_PROBE_TYPE_BUFFER, &Hearing::on_samples, this, nullptr);
}

void Hearing::mark(GstBuffer* packet, int64_t arrival, int samples) {
  GST_BUFFER_OFFSET(packet) = static_cast<guint64>(arrival);
  GST_BUFFER_OFFSET_END(packet) = static_cast<guint64>(samples);
}

GstPadProbeReturn Hearing::on_packet(GstPad*, GstPadProbeInfo* info, gpointer user) {
  auto* self = static_cast<Hearing*>(user);
  const GstBuffer* packet = GST_PAD_PROBE_INFO_BUFFER(info);
  // The one before has been through the decoder.
  if (self->awaited_ > 0) {
    self->missing_ = std::min(self->missing_ + static_cast<uint64_t>(self->awaited_), kMostSilence);
    ++self->undecodable_;
  }
  self->arrival_ = static_cast<int64_t>(GST_BUFFER_OFFSET(packet));
  self->awaited_ = static_cast<int>(GST_BUFFER_OFFSET_END(packet));
  self->taken_ += static_cast<uint64_t>(self->awaited_);
  return GST_PAD_PROBE_OK;
}

GstPadProbeReturn Hearing::on_samples(GstPad*, GstPadProbeInfo* info, gpointer user) {
  auto* self = static_cast<Hearing*>(user);
  self->awaited_ = 0;
  GstBuffer* sound = self->place(GST_PAD_PROBE_INFO_BUFFER(info));
  GST_PAD_PROBE_INFO_DATA(info) = sound;
  return sound ? GST_PAD_PROBE_OK : GST_PAD_PROBE_HANDLED;
}

// Time is counted here, so that it has no holes and no jumps whatever the decoder makes of damaged packets. Takes the
// buffer; null when nothing of it is heard.
GstBuffer* Hearing::place(GstBuffer* sound) {
  if (missing_ > 0) {
    sound = gst_buffer_append(silence(missing_), sound);
    missing_ = 0;
  }
  const uint64_t samples = gst_buffer_get_size(sound) / kSampleBytes;
  const uint64_t begin = position_;
  position_ += samples;
  if (position_ <= kFrame) {
    gst_buffer_unref(sound);
    return nullptr;
  }
  sound = gst_buffer_make_writable(sound);
  const uint64_t unheard = kFrame - std::min(begin, kFrame);
  if (unheard > 0) gst_buffer_resize(sound, static_cast<gssize>(unheard * kSampleBytes), -1);
  GST_BUFFER_PTS(sound) = time_of(begin + unheard - kFrame);
  GST_BUFFER_DURATION(sound) = time_of(position_ - kFrame) - GST_BUFFER_PTS(sound);
  GST_BUFFER_FLAG_UNSET(sound, GST_BUFFER_FLAG_DISCONT);
  note_frames(position_ - kFrame);
  return sound;
}

void Hearing::note_frames(uint64_t heard) {
  const std::lock_guard lock(mutex_);
  for (uint64_t frame = heard_ / kFrame; frame < heard / kFrame; ++frame) arrivals_.push_back(arrival_);
  heard_ = heard;
}

std::optional<int64_t> Hearing::arrival(uint64_t frame) {
  const std::lock_guard lock(mutex_);
  while (!arrivals_.empty() && first_ < frame) {
    arrivals_.pop_front();
    ++first_;
  }
  if (arrivals_.empty() || first_ != frame) return std::nullopt;
  const int64_t arrival = arrivals_.front();
  arrivals_.pop_front();
  ++first_;
  return arrival;
}

}  // namespace server

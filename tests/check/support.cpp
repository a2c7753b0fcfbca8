// SPDX-License-Identifier: MIT
#include "support.h"

#include <gst/audio/audio.h>

#include <algorithm>
#include <cmath>
#include <cstring>

namespace check {

std::string CodesCaps(int codebooks, const char* format, bool framed) {
  return "audio/x-mimi,rate=24000,channels=1,framerate=25/2,codebooks=" + std::to_string(codebooks) +
         ",cardinality=2048,stream-format=" + format + ",framed=" + (framed ? "true" : "false");
}

Element Launch(const std::string& line) {
  GError* raw = nullptr;
  Element element(gst_parse_launch(line.c_str(), &raw));
  Error error(raw);
  fail_unless(element != nullptr && error == nullptr, "%s: %s", line.c_str(), error ? error->message : "");
  gst_object_ref_sink(element.get());
  return element;
}

Element New(const char* factory, const char* properties) { return Launch(std::string(factory) + " " + properties); }

Bus BusOf(const Element& pipeline) { return Bus(gst_element_get_bus(pipeline.get())); }

Rig::Rig(const char* factory, const char* properties, const char* in_caps, const char* out_caps)
    : Rig(New(factory, properties), in_caps, out_caps) {}

Rig::Rig(Element element, const char* in_caps, const char* out_caps) : bus(gst_bus_new()) {
  gst_element_set_bus(element.get(), bus.get());
  harness.reset(gst_harness_new_with_element(element.get(), "sink", "src"));
  // The harness has a reference of its own, and takes the element down.
  gst_object_unref(element.release());
  gst_harness_set_live(harness.get(), FALSE);
  if (out_caps != nullptr) gst_harness_set_sink_caps_str(harness.get(), out_caps);
  if (in_caps != nullptr) gst_harness_set_src_caps_str(harness.get(), in_caps);
}

bool Rig::SendSegment(GstClockTime start, GstClockTime stop, double rate) {
  GstSegment segment;
  gst_segment_init(&segment, GST_FORMAT_TIME);
  segment.start = segment.time = segment.position = start;
  segment.stop = stop;
  segment.rate = rate;
  return Send(gst_event_new_segment(&segment));
}

void Rig::Flush() {
  fail_unless(Send(gst_event_new_flush_start()));
  fail_unless(Send(gst_event_new_flush_stop(TRUE)));
  fail_unless(SendSegment());
}

std::vector<Buffer> Rig::Take() {
  std::vector<Buffer> buffers;
  while (GstBuffer* buffer = gst_harness_try_pull(harness.get())) buffers.emplace_back(buffer);
  return buffers;
}

std::vector<Buffer> Rig::Finish() {
  fail_unless(End());
  return Take();
}

Caps Rig::OutCaps() const { return Caps(gst_pad_get_current_caps(harness->sinkpad)); }

Buffer Bytes(const void* data, size_t size, GstClockTime pts) {
  Buffer buffer(gst_buffer_new_allocate(nullptr, size, nullptr));
  gst_buffer_fill(buffer.get(), 0, data, size);
  GST_BUFFER_PTS(buffer.get()) = pts;
  return buffer;
}

namespace {

void SetDuration(const Buffer& buffer, size_t samples) {
  GST_BUFFER_DURATION(buffer.get()) = gst_util_uint64_scale_int(samples, GST_SECOND, moshi_fake::kRate);
}

template <typename T>
void Append(std::vector<T>& to, const Buffer& buffer) {
  GstMapInfo map;
  fail_unless(gst_buffer_map(buffer.get(), &map, GST_MAP_READ));
  const size_t before = to.size();
  to.resize(before + map.size / sizeof(T));
  if (map.size > 0) std::memcpy(to.data() + before, map.data, map.size / sizeof(T) * sizeof(T));
  gst_buffer_unmap(buffer.get(), &map);
}

template <typename T>
std::vector<T> All(const std::vector<Buffer>& buffers) {
  std::vector<T> all;
  for (const Buffer& buffer : buffers) Append(all, buffer);
  return all;
}

}  // namespace

Buffer F32(const Samples& samples, GstClockTime pts) {
  Buffer buffer = Bytes(samples.data(), samples.size() * sizeof(float), pts);
  SetDuration(buffer, samples.size());
  return buffer;
}

Buffer S16(const Samples& samples, GstClockTime pts) {
  std::vector<int16_t> shorts(samples.size());
  for (size_t i = 0; i < samples.size(); ++i) shorts[i] = static_cast<int16_t>(std::lrintf(samples[i] * 32768.0f));
  Buffer buffer = Bytes(shorts.data(), shorts.size() * sizeof(int16_t), pts);
  SetDuration(buffer, samples.size());
  return buffer;
}

Buffer Frames(const Codes& codes, int codebooks, GstClockTime pts) {
  Buffer buffer = Bytes(codes.data(), codes.size() * sizeof(uint16_t), pts);
  GST_BUFFER_DURATION(buffer.get()) = codes.size() / codebooks * kFrame;
  return buffer;
}

std::vector<uint8_t> Packed(const Codes& codes, int codebooks, int bits) {
  const size_t frame_bytes = (static_cast<size_t>(codebooks) * bits + 7) / 8;
  const size_t frames = codes.size() / codebooks;
  std::vector<uint8_t> bytes(frames * frame_bytes);
  for (size_t f = 0; f < frames; ++f)
    for (int k = 0; k < codebooks; ++k)
      for (int b = 0; b < bits; ++b) {
        const size_t at = static_cast<size_t>(k) * bits + b;
        if ((codes[f * codebooks + k] >> (bits - 1 - b)) & 1) bytes[f * frame_bytes + at / 8] |= 0x80 >> (at % 8);
      }
  return bytes;
}

Codes CodesOf(const Buffer& buffer) {
  Codes codes;
  Append(codes, buffer);
  return codes;
}

Codes CodesOf(const std::vector<Buffer>& buffers) { return All<uint16_t>(buffers); }

Samples SamplesOf(const Buffer& buffer) {
  Samples samples;
  Append(samples, buffer);
  return samples;
}

Samples SamplesOf(const std::vector<Buffer>& buffers) { return All<float>(buffers); }

std::vector<int16_t> ShortsOf(const std::vector<Buffer>& buffers) { return All<int16_t>(buffers); }

std::vector<uint8_t> BytesOf(const std::vector<Buffer>& buffers) { return All<uint8_t>(buffers); }

uint64_t ClippedEnd(const Buffer& buffer) {
  const GstAudioClippingMeta* meta = gst_buffer_get_audio_clipping_meta(buffer.get());
  if (meta == nullptr) return 0;
  fail_unless_equals_int(meta->format, GST_FORMAT_DEFAULT);
  return meta->end;
}

GstClockTime FrameTime(int64_t frame, GstClockTime base) { return base + frame * kFrame; }

uint64_t StatOf(const Rig& rig, const char* word) {
  GstStructure* raw = nullptr;
  g_object_get(rig.element(), "stats", &raw, nullptr);
  Structure stats(raw);
  for (int i = 0; i < gst_structure_n_fields(stats.get()); ++i) {
    const char* field = gst_structure_nth_field_name(stats.get(), i);
    const GValue* value = gst_structure_get_value(stats.get(), field);
    if (g_str_has_prefix(field, word) && G_VALUE_HOLDS_UINT64(value)) return g_value_get_uint64(value);
  }
  return 0;
}

void CompareCodes(const Codes& got, const Codes& expected, const char* file, int line) {
  for (size_t i = 0; i < std::min(got.size(), expected.size()); ++i)
    if (got[i] != expected[i])
      fail_test("%s:%d: code %zu of %zu is %u and not %u", file, line, i, expected.size(), got[i], expected[i]);
  if (got.size() != expected.size()) fail_test("%s:%d: %zu codes and not %zu", file, line, got.size(), expected.size());
}

void CompareSamples(const Samples& got, const Samples& expected, const char* file, int line) {
  for (size_t i = 0; i < std::min(got.size(), expected.size()); ++i)
    if (got[i] != expected[i])
      fail_test("%s:%d: sample %zu of %zu is %f and not %f", file, line, i, expected.size(), got[i], expected[i]);
  if (got.size() != expected.size())
    fail_test("%s:%d: %zu samples and not %zu", file, line, got.size(), expected.size());
}

void CompareTimes(const std::vector<Buffer>& buffers, GstClockTime base, const char* file, int line) {
  for (size_t i = 0; i < buffers.size(); ++i) {
    const GstBuffer* buffer = buffers[i].get();
    fail_unless(GST_BUFFER_PTS(buffer) == FrameTime(i, base), "%s:%d: buffer %zu is at %" GST_TIME_FORMAT, file, line,
                i, GST_TIME_ARGS(GST_BUFFER_PTS(buffer)));
    const bool last = i + 1 == buffers.size();
    fail_unless(GST_BUFFER_DURATION(buffer) == kFrame || (last && GST_BUFFER_DURATION(buffer) < kFrame),
                "%s:%d: buffer %zu lasts %" GST_TIME_FORMAT, file, line, i, GST_TIME_ARGS(GST_BUFFER_DURATION(buffer)));
  }
}

}  // namespace check

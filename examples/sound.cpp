// SPDX-License-Identifier: MIT
#include "sound.h"

#include <gst/app/gstappsink.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "app.h"

namespace app {
namespace {

constexpr GstClockTime kLook = 50 * GST_MSECOND;  // between looks for an error while no sound comes

// False after saying why, if the pipeline has failed.
bool healthy(GstBus* bus, const std::string& input) {
  Message message(gst_bus_pop_filtered(bus, GstMessageType(GST_MESSAGE_ERROR | GST_MESSAGE_APPLICATION)));
  if (!message) return true;
  const std::string what = "cannot read " + input;
  if (GST_MESSAGE_TYPE(message.get()) == GST_MESSAGE_ERROR) return fail(what, message.get());
  return fail(what + ": " + gst_structure_get_string(gst_message_get_structure(message.get()), "text"));
}

bool append(GstSample* sample, std::vector<float>* pcm) {
  int channels = 0;
  const GstStructure* caps = gst_caps_get_structure(gst_sample_get_caps(sample), 0);
  GstMapInfo map;
  GstBuffer* buffer = gst_sample_get_buffer(sample);
  if (!gst_structure_get_int(caps, "channels", &channels) || channels < 1 ||
      !gst_buffer_map(buffer, &map, GST_MAP_READ))
    return false;
  const size_t stride = static_cast<size_t>(channels) * sizeof(float);
  for (size_t at = 0; at + stride <= map.size; at += stride) {
    float value;
    std::memcpy(&value, map.data + at, sizeof value);
    pcm->push_back(value);
  }
  gst_buffer_unmap(buffer, &map);
  return true;
}

void put(std::vector<uint8_t>* bytes, uint32_t value, int count) {
  for (int i = 0; i < count; ++i) bytes->push_back(static_cast<uint8_t>(value >> (8 * i)));
}

}  // namespace

std::optional<std::vector<float>> read_sound(const std::string& input, int rate) {
  const auto uri = uri_of(input);
  if (!uri) return std::nullopt;
  auto pipeline = Pipeline::parse(
      "uridecodebin name=source  audioconvert name=convert dithering=none ! audioresample ! "
      "audio/x-raw,format=F32LE,layout=interleaved,rate=" +
      std::to_string(rate) + " ! appsink name=sink sync=false max-buffers=64");
  if (!pipeline) return std::nullopt;
  read_from(*pipeline, *uri);
  const auto sink = pipeline->element("sink");
  const auto bus = pipeline->bus();
  auto* appsink = GST_APP_SINK(sink.get());
  gst_element_set_state(pipeline->get(), GST_STATE_PLAYING);

  std::vector<float> pcm;
  for (;;) {
    Sample sample(gst_app_sink_try_pull_sample(appsink, kLook));
    if (sample) {
      if (!append(sample.get(), &pcm)) return fail("cannot read " + input), std::nullopt;
    } else if (!healthy(bus.get(), input)) {
      return std::nullopt;
    } else if (gst_app_sink_is_eos(appsink)) {
      break;
    }
  }
  if (!healthy(bus.get(), input)) return std::nullopt;
  if (pcm.empty()) return fail(input + " holds no sound"), std::nullopt;
  return pcm;
}

bool write_wav(const std::string& path, std::span<const float> pcm, int rate, SampleFormat format) {
  const uint32_t width = format == SampleFormat::kFloat32 ? 4 : 2;
  const auto data_bytes = static_cast<uint32_t>(pcm.size() * width);
  std::vector<uint8_t> bytes;
  bytes.reserve(44 + data_bytes);
  const auto tag = [&](const char* name) { bytes.insert(bytes.end(), name, name + 4); };
  tag("RIFF");
  put(&bytes, 36 + data_bytes, 4);
  tag("WAVE");
  tag("fmt ");
  put(&bytes, 16, 4);
  put(&bytes, format == SampleFormat::kFloat32 ? 3 : 1, 2);
  put(&bytes, 1, 2);
  put(&bytes, static_cast<uint32_t>(rate), 4);
  put(&bytes, static_cast<uint32_t>(rate) * width, 4);
  put(&bytes, width, 2);
  put(&bytes, 8 * width, 2);
  tag("data");
  put(&bytes, data_bytes, 4);
  for (const float value : pcm) {
    uint32_t bits;
    if (format == SampleFormat::kFloat32) {
      std::memcpy(&bits, &value, sizeof bits);
    } else {
      bits = static_cast<uint32_t>(static_cast<int32_t>(std::clamp(value, -1.0f, 1.0f) * 32767.0f));
    }
    put(&bytes, bits, static_cast<int>(width));
  }

  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "wb"), &std::fclose);
  if (file && std::fwrite(bytes.data(), 1, bytes.size(), file.get()) == bytes.size() && std::fflush(file.get()) == 0)
    return true;
  return fail("cannot write " + path + ": " + std::strerror(errno));
}

}  // namespace app

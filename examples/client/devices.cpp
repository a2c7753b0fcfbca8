// SPDX-License-Identifier: MIT
#include "devices.h"

#include <utility>

#include "../silence.h"
#include "../wire/ogg_opus.h"

namespace client {
namespace {

constexpr size_t kBlockSamples = 240;           // 10 ms to the speaker
constexpr gint64 kSpeakerMicroseconds = 60000;  // that the speaker holds; more is lag, less stutters
constexpr GstClockTime kFrame = 80 * GST_MSECOND;
constexpr const char* kSound = "audio/x-raw,format=F32LE,rate=24000,channels=1,layout=interleaved";

/// Nothing: an error that has been said.
std::optional<bool> cancels_echo(const Options& options) {
  if (options.echo_cancel && !*options.echo_cancel) return false;
  if (app::has_echo_cancellation()) {
    app::fail("the model's voice is taken out of the microphone; --no-echo-cancel leaves it there");
    return true;
  }
  const std::string missing =
      "there is no echo cancellation: GStreamer's plugin webrtcdsp (of its bad plugins) is missing";
  if (options.echo_cancel) {
    app::fail(missing);
    return std::nullopt;
  }
  app::fail(missing + "; use headphones, or the model hears itself");
  return false;
}

std::string describe_input(const Options& options, bool cancel) {
  std::string line;
  if (options.live()) {
    line = options.source + " ! queue ! audioconvert ! audioresample ! ";
    if (cancel) line += app::echo_canceller() + " ! audioconvert ! audioresample ! ";
  } else {
    // In floating point: 16-bit samples would be resampled as such.
    line = "uridecodebin name=source  audioconvert name=convert dithering=none ! audioresample ! " +
           std::string(kSound) + " ! audioconvert dithering=none ! ";
  }
  line += "audio/x-raw,format=S16LE,rate=24000,channels=1 ! opusenc name=encoder frame-size=20 bitrate=48000 ! ";
  // Files are read as fast as they are answered, or as fast as they are listened to.
  line += "appsink name=packets async=false ";
  if (options.live()) return line + "sync=false max-buffers=50 drop=true ";
  return line + "max-buffers=16 sync=" + (options.to_speaker() ? "true " : "false ");
}

std::string describe_output(const Options& options, bool cancel) {
  if (!options.to_speaker()) return "";
  std::string line =
      " appsrc name=answer format=time caps=" + std::string(kSound) + " ! audioconvert ! audioresample ! ";
  if (cancel) line += app::echo_probe() + " ! audioconvert ! audioresample ! ";
  return line + options.sink;
}

std::string describe_decoder(const Options& options) {
  const std::string line =
      "appsrc name=received format=time caps=audio/x-opus,channel-mapping-family=0,channels=1,rate=24000 ! opusdec ! "
      "audio/x-raw,rate=24000,channels=1 ! audioconvert ! ";
  if (options.to_file()) return line + "audio/x-raw,format=S16LE ! wavenc ! filesink name=file async=false";
  return line + std::string(kSound) + " ! appsink name=heard sync=false async=false";
}

std::string name_of(GstMessage* message) { return GST_OBJECT_NAME(GST_MESSAGE_SRC(message)); }

std::string error_of(GstMessage* message) {
  GError* raw = nullptr;
  gst_message_parse_error(message, &raw, nullptr);
  const app::Error error(raw);
  return error->message;
}

bool is_auto(GstMessage* message) {
  const std::string type = G_OBJECT_TYPE_NAME(GST_MESSAGE_SRC(message));
  return type == "GstAutoAudioSrc" || type == "GstAutoAudioSink";
}

}  // namespace

// --- Devices ------------------------------------------------------------------------------------------------------

std::unique_ptr<Devices> Devices::make(const Options& options, Playout* playout, std::function<void()> ready,
                                       Failed failed) {
  std::optional<std::string> uri;
  if (!options.live() && !(uri = app::uri_of(options.input))) return nullptr;
  const auto cancel = options.live() && options.to_speaker() ? cancels_echo(options) : std::optional<bool>(false);
  if (!cancel) return nullptr;
  auto pipeline = app::Pipeline::parse(describe_input(options, *cancel) + describe_output(options, *cancel));
  if (!pipeline) return nullptr;
  if (uri) app::read_from(*pipeline, *uri);
  std::unique_ptr<Devices> made(new Devices(std::move(*pipeline), playout, std::move(ready), std::move(failed)));
  made->set_up(options);
  return made;
}

Devices::Devices(app::Pipeline pipeline, Playout* playout, std::function<void()> ready, Failed failed)
    : pipeline_(std::move(pipeline)),
      packets_(pipeline_.element("packets")),
      playout_(playout),
      ready_(std::move(ready)),
      failed_(std::move(failed)) {}

void Devices::set_up(const Options& options) {
  GstAppSinkCallbacks sink{};
  sink.new_sample = on_packet;
  sink.eos = on_end;
  gst_app_sink_set_callbacks(GST_APP_SINK(packets_.get()), &sink, this, nullptr);
  if (const auto answer = pipeline_.element("answer")) {
    GstAppSrcCallbacks source{};
    source.need_data = on_need;
    gst_app_src_set_callbacks(GST_APP_SRC(answer.get()), &source, this, nullptr);
  }
  if (!options.live()) {
    // The first frame is not heard, and of the last one nothing is to be missing.
    const auto encoder = pipeline_.element("encoder");
    const app::Object<GstPad> pad(gst_element_get_static_pad(encoder.get(), "sink"));
    const auto after = static_cast<GstClockTime>(options.after_seconds * GST_SECOND);
    app::surround_with_silence(pad.get(), kFrame, kFrame + after);
  }
  g_signal_connect(pipeline_.get(), "deep-element-added", G_CALLBACK(shorten), nullptr);
  watch_ = gst_bus_add_watch(pipeline_.bus().get(), on_message, this);
  gst_element_set_state(pipeline_.get(), GST_STATE_READY);
}

Devices::~Devices() {
  gst_app_sink_set_drop(GST_APP_SINK(packets_.get()), TRUE);  // it no longer waits for somebody to take packets
  gst_element_set_state(pipeline_.get(), GST_STATE_NULL);
  g_source_remove(watch_);
}

void Devices::shorten(GstBin*, GstBin*, GstElement* element, gpointer) {
  const bool sink = GST_OBJECT_FLAG_IS_SET(element, GST_ELEMENT_FLAG_SINK);
  if (!sink || !g_object_class_find_property(G_OBJECT_GET_CLASS(element), "buffer-time")) return;
  g_object_set(element, "buffer-time", kSpeakerMicroseconds, "latency-time", kSpeakerMicroseconds / 6, nullptr);
}

void Devices::play() { gst_element_set_state(pipeline_.get(), GST_STATE_PLAYING); }

void Devices::wake() {
  if (woken_.exchange(true)) return;
  const GSourceFunc call = [](gpointer user) -> gboolean {
    auto* self = static_cast<Devices*>(user);
    self->woken_ = false;
    self->ready_();
    return G_SOURCE_REMOVE;
  };
  g_idle_add_full(G_PRIORITY_DEFAULT, call, this, nullptr);
}

// Streaming thread.
GstFlowReturn Devices::on_packet(GstAppSink*, gpointer user) {
  auto* self = static_cast<Devices*>(user);
  ++self->arrived_;
  self->wake();
  return GST_FLOW_OK;
}

void Devices::on_end(GstAppSink*, gpointer user) { static_cast<Devices*>(user)->wake(); }

// Streaming thread.
void Devices::on_need(GstAppSrc* source, guint, gpointer user) {
  auto* self = static_cast<Devices*>(user);
  GstBuffer* buffer = gst_buffer_new_allocate(nullptr, kBlockSamples * sizeof(float), nullptr);
  GstMapInfo map;
  if (gst_buffer_map(buffer, &map, GST_MAP_WRITE)) {
    self->playout_->pull({reinterpret_cast<float*>(map.data), kBlockSamples});
    gst_buffer_unmap(buffer, &map);
  }
  GST_BUFFER_PTS(buffer) = gst_util_uint64_scale(self->played_, GST_SECOND, wire::kSampleRate);
  GST_BUFFER_DURATION(buffer) = gst_util_uint64_scale(kBlockSamples, GST_SECOND, wire::kSampleRate);
  self->played_ += kBlockSamples;
  gst_app_src_push_buffer(source, buffer);
}

gboolean Devices::on_message(GstBus*, GstMessage* message, gpointer user) {
  auto* self = static_cast<Devices*>(user);
  switch (GST_MESSAGE_TYPE(message)) {
    case GST_MESSAGE_ERROR:
      self->failed_("error in " + name_of(message) + ": " + error_of(message));
      break;
    case GST_MESSAGE_APPLICATION:
      self->failed_(std::string("cannot read the input: ") +
                    gst_structure_get_string(gst_message_get_structure(message), "text"));
      break;
    case GST_MESSAGE_WARNING:
      // Without a device, these go on with silence.
      if (is_auto(message))
        self->failed_("there is no " + std::string(name_of(message).find("src") != std::string::npos
                                                       ? "microphone; --input takes a file instead"
                                                       : "speaker; --output takes a file or \"none\" instead"));
      break;
    case GST_MESSAGE_LATENCY:
      // It may wait for a sink that changes its state, which may wait until this thread takes packets.
      gst_element_call_async(
          self->pipeline_.get(), [](GstElement* bin, gpointer) { gst_bin_recalculate_latency(GST_BIN(bin)); }, nullptr,
          nullptr);
      break;
    case GST_MESSAGE_CLOCK_LOST:
      gst_element_set_state(self->pipeline_.get(), GST_STATE_PAUSED);
      gst_element_set_state(self->pipeline_.get(), GST_STATE_PLAYING);
      break;
    default:
      break;
  }
  return G_SOURCE_CONTINUE;
}

std::optional<wire::Bytes> Devices::next() {
  const app::Sample sample(gst_app_sink_try_pull_sample(GST_APP_SINK(packets_.get()), 0));
  if (!sample) return std::nullopt;
  ++taken_;
  GstBuffer* buffer = gst_sample_get_buffer(sample.get());
  wire::Bytes bytes(gst_buffer_get_size(buffer));
  gst_buffer_extract(buffer, 0, bytes.data(), bytes.size());
  return bytes;
}

bool Devices::ended() const { return gst_app_sink_is_eos(GST_APP_SINK(packets_.get())); }

uint64_t Devices::dropped() {
  const uint64_t arrived = arrived_;  // first: what arrives meanwhile is not missing
  while (next()) {
  }
  return arrived > taken_ ? arrived - taken_ : 0;
}

// --- Decoder ------------------------------------------------------------------------------------------------------

std::unique_ptr<Decoder> Decoder::make(const Options& options, Playout* playout, Failed failed) {
  if (options.to_file() && !app::writable(options.output)) return nullptr;
  auto pipeline = app::Pipeline::parse(describe_decoder(options));
  if (!pipeline) return nullptr;
  if (options.to_file()) g_object_set(pipeline->element("file").get(), "location", options.output.c_str(), nullptr);
  return std::unique_ptr<Decoder>(new Decoder(std::move(*pipeline), playout, std::move(failed)));
}

Decoder::Decoder(app::Pipeline pipeline, Playout* playout, Failed failed)
    : pipeline_(std::move(pipeline)),
      received_(pipeline_.element("received")),
      playout_(playout),
      failed_(std::move(failed)) {
  if (const auto heard = pipeline_.element("heard")) {
    GstAppSinkCallbacks callbacks{};
    callbacks.new_sample = on_sound;
    gst_app_sink_set_callbacks(GST_APP_SINK(heard.get()), &callbacks, this, nullptr);
  }
  watch_ = gst_bus_add_watch(pipeline_.bus().get(), on_message, this);
}

Decoder::~Decoder() {
  gst_element_set_state(pipeline_.get(), GST_STATE_NULL);
  g_source_remove(watch_);
}

void Decoder::play() {
  if (!std::exchange(playing_, true)) gst_element_set_state(pipeline_.get(), GST_STATE_PLAYING);
}

void Decoder::push(wire::View packet, int samples) {
  GstBuffer* buffer = gst_buffer_new_memdup(packet.data(), packet.size());
  GST_BUFFER_PTS(buffer) = gst_util_uint64_scale(samples_, GST_SECOND, wire::kSampleRate);
  GST_BUFFER_DURATION(buffer) = gst_util_uint64_scale(static_cast<guint64>(samples), GST_SECOND, wire::kSampleRate);
  samples_ += static_cast<uint64_t>(samples);
  gst_app_src_push_buffer(GST_APP_SRC(received_.get()), buffer);
}

void Decoder::finish(std::function<void()> done) {
  done_ = std::move(done);
  if (broken_ || !playing_) {
    done_();
  } else {
    gst_app_src_end_of_stream(GST_APP_SRC(received_.get()));
  }
}

// Streaming thread.
GstFlowReturn Decoder::on_sound(GstAppSink* sink, gpointer user) {
  auto* self = static_cast<Decoder*>(user);
  const app::Sample sample(gst_app_sink_pull_sample(sink));
  if (!sample) return GST_FLOW_EOS;
  GstMapInfo map;
  if (!gst_buffer_map(gst_sample_get_buffer(sample.get()), &map, GST_MAP_READ)) return GST_FLOW_ERROR;
  self->playout_->push({reinterpret_cast<const float*>(map.data), map.size / sizeof(float)});
  gst_buffer_unmap(gst_sample_get_buffer(sample.get()), &map);
  return GST_FLOW_OK;
}

gboolean Decoder::on_message(GstBus*, GstMessage* message, gpointer user) {
  auto* self = static_cast<Decoder*>(user);
  const bool error = GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR;
  if (error) {
    self->broken_ = true;
    self->failed_("error in " + name_of(message) + ": " + error_of(message));
  }
  // After an error, the end of the stream may never come.
  const bool end = error || GST_MESSAGE_TYPE(message) == GST_MESSAGE_EOS;
  if (end && self->done_) self->done_();
  return G_SOURCE_CONTINUE;
}

}  // namespace client

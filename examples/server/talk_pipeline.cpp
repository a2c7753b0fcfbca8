// SPDX-License-Identifier: MIT
#include "talk_pipeline.h"

#include <gst/app/gstappsink.h>
#include <gst/app/gstappsrc.h>

#include <algorithm>
#include <utility>

#include "../wire/ogg_opus.h"
#include "elements.h"
#include "reaper.h"

namespace server {
namespace {

using app::Object;

constexpr const char *kSource = "source", *kVoice = "voice", *kText = "text";

std::string describe(const Settings& settings) {
  const std::string raw = "audio/x-raw,format=S16LE,rate=24000,channels=1,layout=interleaved";
  const std::string sink = "appsink sync=false async=false name=";
  const bool opus = settings.encoding == Encoding::kOpus;
  // A live source makes the model serve it before files. Its time is the number of samples, so nothing is ever late.
  std::string line = std::string("appsrc name=") + kSource + " is-live=true format=time max-bytes=0 caps=";
  line += opus ? "audio/x-opus,channel-mapping-family=0,channels=1,rate=24000 ! opusdec ! " + raw : raw;
  line += std::string(" ! mimienc batch-frames=1 name=") + kEncoder + " ! moshilm late-policy=wait name=" + kLm;
  if (settings.audio) {
    line += std::string(" ! mimidec batch-frames=1 name=") + kDecoder + " ! " + raw;
    // Complexity 5 sounds the same for speech, at half the cost.
    if (opus) line += " ! opusenc frame-size=40 audio-type=voice bitrate=40000 complexity=5";
    line += " ! " + sink + kVoice;
  }
  return line + " " + kLm + ".text_src ! " + sink + kText;
}

// Takes the decoder and all behind it out of a pipeline in READY.
void remove_voice(GstElement* pipeline) {
  auto element = element_of(pipeline, kDecoder);
  while (element) {
    const Object<GstPad> source(gst_element_get_static_pad(element.get(), "src"));
    const Object<GstPad> sink(source ? gst_pad_get_peer(source.get()) : nullptr);
    Object<GstElement> next(sink ? gst_pad_get_parent_element(sink.get()) : nullptr);
    gst_element_set_state(element.get(), GST_STATE_NULL);
    gst_bin_remove(GST_BIN(pipeline), element.get());
    element = std::move(next);
  }
}

}  // namespace

/// What streaming threads use: lives until they have ended.
struct TalkPipeline::Streams {
  Object<GstElement> pipeline;
  std::shared_ptr<Mailbox> mailbox;
  uint64_t run;
  Hearing hearing;
  std::atomic<bool> hungry = false;

  Streams(Object<GstElement> made, std::shared_ptr<Mailbox> box, uint64_t number)
      : pipeline(std::move(made)), mailbox(std::move(box)), run(number) {}

  void post(Mail mail) {
    mail.run = run;
    mailbox->post(std::move(mail));
  }

  void connect();
  void post_error(GstMessage* message);
  void post_text(GstMiniObject* object);
  static GstBusSyncReply on_message(GstBus*, GstMessage* message, gpointer self);
  static GstFlowReturn on_voice(GstAppSink* sink, gpointer self);
  static GstFlowReturn on_text(GstAppSink* sink, gpointer self);
  static gboolean on_text_event(GstAppSink* sink, gpointer self);
  static void on_need(GstAppSrc*, guint, gpointer self);
};

void TalkPipeline::Streams::connect() {
  const Object<GstBus> bus(gst_element_get_bus(pipeline.get()));
  gst_bus_set_sync_handler(bus.get(), on_message, this, nullptr);
  const auto source = element_of(pipeline.get(), kSource);
  const auto encoder = element_of(pipeline.get(), kEncoder);
  const auto text = element_of(pipeline.get(), kText);
  const Object<GstPad> packets(gst_element_get_static_pad(source.get(), "src"));
  const Object<GstPad> samples(gst_element_get_static_pad(encoder.get(), "sink"));
  hearing.watch(packets.get(), samples.get());
  GstAppSrcCallbacks feeding{};
  feeding.need_data = on_need;
  gst_app_src_set_callbacks(GST_APP_SRC(source.get()), &feeding, this, nullptr);
  GstAppSinkCallbacks writing{};
  writing.new_sample = on_text;
  writing.new_event = on_text_event;
  gst_app_sink_set_callbacks(GST_APP_SINK(text.get()), &writing, this, nullptr);
  const auto voice = element_of(pipeline.get(), kVoice);
  GstAppSinkCallbacks speaking{};
  speaking.new_sample = on_voice;
  if (voice) gst_app_sink_set_callbacks(GST_APP_SINK(voice.get()), &speaking, this, nullptr);
}

void TalkPipeline::Streams::post_error(GstMessage* message) {
  GError* raw = nullptr;
  gchar* raw_detail = nullptr;
  gst_message_parse_error(message, &raw, &raw_detail);
  const app::Error error(raw);
  const app::Text detail(raw_detail);
  const bool full = g_error_matches(error.get(), GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_BUSY) ||
                    g_error_matches(error.get(), GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NO_SPACE_LEFT);
  post({.kind = Mail::Kind::kError,
        .text = full ? "The server has no room for one more conversation now. Try again later."
                     : "The conversation failed on the server. Begin a new one.",
        .detail = std::string(GST_OBJECT_NAME(GST_MESSAGE_SRC(message))) + ": " + error->message +
                  (detail ? std::string(" (") + detail.get() + ")" : "")});
}

GstBusSyncReply TalkPipeline::Streams::on_message(GstBus*, GstMessage* message, gpointer user) {
  auto* self = static_cast<Streams*>(user);
  if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) self->post_error(message);
  if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_PROGRESS) {
    GstProgressType type;
    gst_message_parse_progress(message, &type, nullptr, nullptr);
    if (type == GST_PROGRESS_TYPE_COMPLETE)
      self->post({.kind = Mail::Kind::kLoaded, .text = GST_MESSAGE_SRC_NAME(message)});
  }
  gst_message_unref(message);
  return GST_BUS_DROP;
}

GstFlowReturn TalkPipeline::Streams::on_voice(GstAppSink* sink, gpointer self) {
  const app::Sample sample(gst_app_sink_pull_sample(sink));
  if (!sample) return GST_FLOW_EOS;
  Buffer packet(gst_buffer_ref(gst_sample_get_buffer(sample.get())));
  static_cast<Streams*>(self)->post({.kind = Mail::Kind::kAudio, .buffer = std::move(packet)});
  return GST_FLOW_OK;
}

GstFlowReturn TalkPipeline::Streams::on_text(GstAppSink* sink, gpointer self) {
  on_text_event(sink, self);
  return GST_FLOW_OK;
}

gboolean TalkPipeline::Streams::on_text_event(GstAppSink* sink, gpointer self) {
  GstMiniObject* object = gst_app_sink_try_pull_object(sink, 0);
  if (!object) return TRUE;
  static_cast<Streams*>(self)->post_text(object);
  gst_mini_object_unref(object);
  return TRUE;
}

// A buffer or a gap for each frame. A gap that lasts no time only lets sinks preroll.
void TalkPipeline::Streams::post_text(GstMiniObject* object) {
  Mail mail{.kind = Mail::Kind::kText};
  if (GST_IS_EVENT(object)) {
    GstClockTime duration = 0;
    if (GST_EVENT_TYPE(object) == GST_EVENT_GAP) gst_event_parse_gap(GST_EVENT(object), nullptr, &duration);
    if (duration > 0) post(std::move(mail));
    return;
  }
  GstSample* sample = GST_SAMPLE(object);
  GstMapInfo map;
  const GstStructure* caps = gst_caps_get_structure(gst_sample_get_caps(sample), 0);
  GstBuffer* buffer = gst_sample_get_buffer(sample);
  // Token ids, where the model has no tokenizer, only tell that a frame is there.
  if (gst_structure_has_name(caps, "text/x-raw") && gst_buffer_map(buffer, &map, GST_MAP_READ)) {
    mail.text.assign(reinterpret_cast<const char*>(map.data), map.size);
    gst_buffer_unmap(buffer, &map);
  }
  post(std::move(mail));
}

void TalkPipeline::Streams::on_need(GstAppSrc*, guint, gpointer user) {
  auto* self = static_cast<Streams*>(user);
  if (self->hungry.exchange(false)) self->post({.kind = Mail::Kind::kHungry});
}

std::unique_ptr<TalkPipeline> TalkPipeline::make(const Model& model, const Settings& settings,
                                                 std::shared_ptr<Mailbox> mailbox, uint64_t run, std::string* problem) {
  Object<GstElement> made = make_pipeline(describe(settings), problem);
  if (!made || !set_models(made.get(), model, problem)) return nullptr;
  set_sampling(made.get(), settings.sampling);
  auto streams = std::make_shared<Streams>(std::move(made), std::move(mailbox), run);
  streams->connect();
  auto self = std::unique_ptr<TalkPipeline>(new TalkPipeline(streams));
  self->speaks_ = settings.audio;
  self->awaited_ = {kEncoder, kLm};
  if (settings.audio) self->awaited_.insert(kDecoder);
  // A failure is mailed.
  gst_element_set_state(streams->pipeline.get(), GST_STATE_READY);
  return self;
}

TalkPipeline::~TalkPipeline() {
  reaper::run([streams = std::move(streams_)] {
    gst_element_set_state(streams->pipeline.get(), GST_STATE_NULL);
    streams->post({.kind = Mail::Kind::kStopped});
  });
}

bool TalkPipeline::note_loaded(const std::string& element) {
  if (awaited_.erase(element) == 0 || !awaited_.empty()) return false;
  begin();
  return true;
}

void TalkPipeline::begin() {
  GstElement* pipeline = streams_->pipeline.get();
  const LmInfo info(pipeline);
  answer_delay_ = std::max(info.number("max-delay"), 1) - 1;
  if (speaks_ && info.number("own-codebooks") == 0) {
    speaks_ = false;
    remove_voice(pipeline);
  }
  gst_element_set_state(pipeline, GST_STATE_PLAYING);
}

void TalkPipeline::feed(Packet packet) {
  GstBuffer* buffer = packet.buffer.release();
  Hearing::mark(buffer, packet.arrival, packet.samples);
  GST_BUFFER_PTS(buffer) = gst_util_uint64_scale(fed_, GST_SECOND, wire::kSampleRate);
  fed_ += static_cast<uint64_t>(packet.samples);
  const auto source = element_of(streams_->pipeline.get(), kSource);
  gst_app_src_push_buffer(GST_APP_SRC(source.get()), buffer);
}

int64_t TalkPipeline::fed_samples() const { return static_cast<int64_t>(fed_ - streams_->hearing.taken_samples()); }

void TalkPipeline::tell_when_hungry() { streams_->hungry = true; }

Hearing& TalkPipeline::hearing() { return streams_->hearing; }

}  // namespace server

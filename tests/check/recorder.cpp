// SPDX-License-Identifier: MIT
#include "recorder.h"

#include <gst/check/gsttestclock.h>

namespace check {
namespace {

Recorder* Of(GstPad* pad) { return static_cast<Recorder*>(gst_pad_get_element_private(pad)); }

gboolean AnswerQuery(GstPad* pad, GstObject* parent, GstQuery* query) {
  if (GST_QUERY_TYPE(query) != GST_QUERY_LATENCY) return gst_pad_query_default(pad, parent, query);
  const auto* rig = static_cast<const LmRig*>(gst_pad_get_element_private(pad));
  gst_query_set_latency(query, rig->live, 20 * GST_MSECOND, 100 * GST_MSECOND);
  return TRUE;
}

}  // namespace

Recorder::Recorder(GstElement* element, const char* name, const char* caps) {
  Caps allowed(caps != nullptr ? gst_caps_from_string(caps) : gst_caps_new_any());
  GstPadTemplate* pad_template = gst_pad_template_new("sink", GST_PAD_SINK, GST_PAD_ALWAYS, allowed.get());
  gst_object_ref_sink(pad_template);
  pad_.reset(gst_pad_new_from_template(pad_template, "sink"));
  gst_object_ref_sink(pad_.get());
  gst_object_unref(pad_template);
  gst_pad_set_element_private(pad_.get(), this);
  gst_pad_set_chain_function(pad_.get(), &Recorder::Chain);
  gst_pad_set_event_function(pad_.get(), &Recorder::OnEvent);
  gst_pad_set_active(pad_.get(), TRUE);
  peer_.reset(gst_element_get_static_pad(element, name));
  fail_unless_equals_int(gst_pad_link(peer_.get(), pad_.get()), GST_PAD_LINK_OK);
}

Recorder::~Recorder() {
  Hold(false);
  gst_pad_unlink(peer_.get(), pad_.get());
  gst_pad_set_active(pad_.get(), FALSE);
}

void Recorder::Answer(GstFlowReturn flow) {
  std::lock_guard lock(mutex_);
  answer_ = flow;
}

void Recorder::Hold(bool hold) {
  std::lock_guard lock(mutex_);
  hold_ = hold;
  changed_.notify_all();
}

void Recorder::Keep(Item item) {
  std::unique_lock lock(mutex_);
  items_.push_back(std::move(item));
  changed_.notify_all();
  changed_.wait(lock, [this] { return !hold_ || flushing_; });
}

GstFlowReturn Recorder::Chain(GstPad* pad, GstObject*, GstBuffer* buffer) {
  Recorder* self = Of(pad);
  self->Keep({Buffer(buffer), nullptr});
  std::lock_guard lock(self->mutex_);
  return self->flushing_ ? GST_FLOW_FLUSHING : self->answer_;
}

gboolean Recorder::OnEvent(GstPad* pad, GstObject*, GstEvent* event) {
  Recorder* self = Of(pad);
  const GstEventType type = GST_EVENT_TYPE(event);
  if (type == GST_EVENT_FLUSH_START || type == GST_EVENT_FLUSH_STOP) {
    std::lock_guard lock(self->mutex_);
    self->flushing_ = type == GST_EVENT_FLUSH_START;
    self->items_.push_back({nullptr, Event(event)});
    self->changed_.notify_all();
    return TRUE;
  }
  self->Keep({nullptr, Event(event)});
  return TRUE;
}

void Recorder::Wait(const std::function<bool(const std::vector<Item>&)>& enough) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return enough(items_); });
}

void Recorder::Look(const std::function<void(const std::vector<Item>&)>& look) {
  std::lock_guard lock(mutex_);
  look(items_);
}

void Recorder::Forget() {
  std::lock_guard lock(mutex_);
  items_.clear();
}

void Recorder::WaitBuffers(size_t count) {
  Wait([count](const auto& items) {
    size_t buffers = 0;
    for (const Item& item : items) buffers += item.buffer != nullptr;
    return buffers >= count;
  });
}

void Recorder::WaitEvent(GstEventType type) {
  Wait([type](const auto& items) {
    for (const Item& item : items)
      if (item.Is(type)) return true;
    return false;
  });
}

std::vector<Buffer> Recorder::Buffers() {
  std::vector<Buffer> buffers;
  Look([&](const auto& items) {
    for (const Item& item : items)
      if (item.buffer != nullptr) buffers.emplace_back(gst_buffer_ref(item.buffer.get()));
  });
  return buffers;
}

std::vector<GstClockTime> Recorder::Gaps() {
  std::vector<GstClockTime> gaps;
  Look([&](const auto& items) {
    for (const Item& item : items) {
      if (!item.Is(GST_EVENT_GAP)) continue;
      GstClockTime time;
      gst_event_parse_gap(item.event.get(), &time, nullptr);
      gaps.push_back(time);
    }
  });
  return gaps;
}

size_t Recorder::Count(GstEventType type) {
  size_t count = 0;
  Look([&](const auto& items) {
    for (const Item& item : items) count += item.Is(type);
  });
  return count;
}

std::string Recorder::Text() {
  const std::vector<uint8_t> bytes = BytesOf(Buffers());
  return {bytes.begin(), bytes.end()};
}

LmRig::LmRig(const Options& options) : bus(gst_bus_new()), live(options.live) {
  element = New("moshilm", options.properties.c_str());
  gst_element_set_bus(lm(), bus.get());
  source.reset(gst_pad_new("src", GST_PAD_SRC));
  gst_object_ref_sink(source.get());
  gst_pad_set_element_private(source.get(), this);
  gst_pad_set_query_function(source.get(), AnswerQuery);
  gst_pad_set_active(source.get(), TRUE);
  Pad sink(gst_element_get_static_pad(lm(), "sink"));
  fail_unless_equals_int(gst_pad_link(source.get(), sink.get()), GST_PAD_LINK_OK);
  audio = std::make_unique<Recorder>(lm(), "src", options.audio_caps);
  if (options.link_text) text = std::make_unique<Recorder>(lm(), "text_src", options.text_caps);
  if (options.latency > 0) {
    clock = gst_test_clock_new();
    gst_element_set_clock(lm(), clock);
    gst_element_set_base_time(lm(), 0);
  }
  fail_unless_equals_int(gst_element_set_state(lm(), GST_STATE_PLAYING), GST_STATE_CHANGE_SUCCESS);
  if (options.latency > 0) gst_pad_push_event(audio->pad(), gst_event_new_latency(options.latency));
  fail_unless(Send(gst_event_new_stream_start("test")));
  if (options.caps.empty()) return;
  fail_unless(SendCaps(options.caps));
  fail_unless(SendSegment());
}

LmRig::~LmRig() {
  if (audio) audio->Hold(false);
  if (text) text->Hold(false);
  element.reset();
  gst_bus_set_flushing(bus.get(), TRUE);
  audio.reset();
  text.reset();
  gst_pad_set_active(source.get(), FALSE);
  if (clock != nullptr) gst_object_unref(clock);
}

bool LmRig::SendSegment(GstClockTime start) {
  GstSegment segment;
  gst_segment_init(&segment, GST_FORMAT_TIME);
  segment.start = segment.time = segment.position = start;
  return Send(gst_event_new_segment(&segment));
}

bool LmRig::SendCaps(const std::string& caps) {
  Caps parsed(gst_caps_from_string(caps.c_str()));
  return Send(gst_event_new_caps(parsed.get()));
}

void LmRig::PushAll(const Codes& codes, int codebooks, GstClockTime from) {
  for (size_t frame = 0; frame * codebooks < codes.size(); ++frame) {
    const Codes one(codes.begin() + frame * codebooks, codes.begin() + (frame + 1) * codebooks);
    fail_unless_equals_int(Push(Frames(one, codebooks, FrameTime(frame, from))), GST_FLOW_OK);
  }
}

void LmRig::Flush() {
  fail_unless(Send(gst_event_new_flush_start()));
  fail_unless(Send(gst_event_new_flush_stop(TRUE)));
  fail_unless(SendSegment());
}

void LmRig::Finish() {
  fail_unless(Send(gst_event_new_eos()));
  audio->WaitEvent(GST_EVENT_EOS);
  if (text) text->WaitEvent(GST_EVENT_EOS);
}

int64_t LmRig::Stat(const char* name) const {
  GstStructure* raw = nullptr;
  g_object_get(lm(), "stats", &raw, nullptr);
  const Structure stats(raw);
  return FieldOf(stats.get(), name);
}

int64_t FieldOf(const GstStructure* structure, const char* name) {
  const GValue* value = gst_structure_get_value(structure, name);
  fail_unless(value != nullptr, "there is no %s", name);
  if (G_VALUE_HOLDS_UINT64(value)) return static_cast<int64_t>(g_value_get_uint64(value));
  if (G_VALUE_HOLDS_INT64(value)) return g_value_get_int64(value);
  return g_value_get_int(value);
}

Said Answer(const Codes& codes, const moshi_fake::LmShape& shape, uint64_t seed) {
  const int lag = std::max(1, shape.max_delay) - 1;
  std::vector<int32_t> user(codes.begin(), codes.end());
  for (int i = 0; i < lag; ++i)
    for (int k = 0; k < shape.user; ++k) user.push_back(moshi_fake::SilenceCode(k));
  moshi_fake::LmState state;
  std::vector<int32_t> tokens(1 + shape.own);
  Said said;
  moshi_fake::LmStep(shape, state, seed, nullptr, INT32_MIN, tokens.data());
  for (size_t frame = 0; frame * shape.user < user.size(); ++frame) {
    moshi_fake::LmStep(shape, state, seed, user.data() + frame * shape.user, INT32_MIN, tokens.data());
    if (frame < static_cast<size_t>(lag)) continue;
    said.text.push_back(tokens[0]);
    said.codes.insert(said.codes.end(), tokens.begin() + 1, tokens.end());
  }
  return said;
}

std::string TextOf(const std::vector<int32_t>& tokens) {
  std::string text;
  for (int32_t token : tokens) text += moshi_fake::PieceOf(token);
  return text;
}

Codes SilentCodes(int frames, int codebooks) {
  Codes codes;
  for (int frame = 0; frame < frames; ++frame)
    for (int k = 0; k < codebooks; ++k) codes.push_back(static_cast<uint16_t>(moshi_fake::SilenceCode(k)));
  return codes;
}

}  // namespace check

// SPDX-License-Identifier: MIT
#include "encoder.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "mimienc.h"

#define GST_CAT_DEFAULT mimienc_debug

namespace gstmoshi {
namespace {

constexpr char kEncoderTag[] = "gst-moshi mimienc " PACKAGE_VERSION;

// The input's bytes need not be aligned. Both return the number of samples that are no numbers, and make them silence.
gsize ReadS16(const guint8* bytes, gsize samples, float* out) {
  for (gsize i = 0; i < samples; ++i) {
    gint16 sample;
    std::memcpy(&sample, bytes + i * sizeof sample, sizeof sample);
    out[i] = sample / 32768.0f;
  }
  return 0;
}

gsize ReadF32(const guint8* bytes, gsize samples, float* out) {
  gsize nonfinite = 0;
  for (gsize i = 0; i < samples; ++i) {
    float sample;
    std::memcpy(&sample, bytes + i * sizeof sample, sizeof sample);
    const bool finite = std::isfinite(sample);
    out[i] = finite ? sample : 0.0f;
    nonfinite += !finite;
  }
  return nonfinite;
}

void OnLoaded(GstElement* element) { gst_mimi_enc_get_encoder(element)->UpdateLatency(); }

}  // namespace

Encoder::Encoder(GstAudioEncoder* element, EventFn base_event)
    : element_(element),
      sinkpad_(GST_AUDIO_ENCODER_SINK_PAD(element)),
      srcpad_(GST_AUDIO_ENCODER_SRC_PAD(element)),
      base_chain_(GST_PAD_CHAINFUNC(sinkpad_)),
      base_event_(base_event),
      model_(GST_ELEMENT(element), MOSHI_ROLE_ENCODE, OnLoaded),
      session_(GST_ELEMENT(element), model_, MOSHI_JOB_ENCODE),
      timer_(sinkpad_, [this] { EndWait(); }) {
  gst_audio_info_init(&input_);
}

void Encoder::Start() {
  ForgetStream();
  live_.reset();
  format_.reset();
  refused_ = warned_nonfinite_ = false;
  renegotiate_ = false;
  skipped_.Start();
  gst_audio_info_init(&input_);
  // What is known before the caps: the base class has forgotten it.
  batch_ = MAX(batch_wanted_.load(), 1);
  UpdateLatency();
  started_ = true;
}

void Encoder::Stop() {
  started_ = false;
  timer_.Stop();
  batch_ = 0;
  session_.Close();
  ForgetStream();
}

void Encoder::ForgetStream() {
  session_.Reset();
  timeline_.Forget();
  pcm_.clear();
  lengths_.clear();
  timer_.Disarm();
  late_flow_ = GST_FLOW_OK;
  discont_ = false;
}

bool Encoder::SetFormat(const GstAudioInfo& info) {
  // A model that is being fetched has no facts yet.
  if (!model_.facts().open() && model_.WaitLoaded() != GST_FLOW_OK) return false;
  const ModelFacts facts = model_.facts();
  if (GST_AUDIO_INFO_RATE(&info) != facts.rate || GST_AUDIO_INFO_CHANNELS(&info) != 1) return false;
  CodesFormat format;
  if (!ChooseCodes(srcpad_, facts, codebooks_, format)) {
    GST_WARNING_OBJECT(element_, "downstream takes no codes of this model with %d codebooks", codebooks_.load());
    return false;
  }
  gst_audio_encoder_set_frame_samples_min(element_, facts.frame_samples);
  gst_audio_encoder_set_frame_samples_max(element_, facts.frame_samples);
  gst_audio_encoder_set_frame_max(element_, 1);
  live_ = UpstreamIsLive(sinkpad_);
  session_.SetLive(*live_);
  batch_ = BatchFrames(batch_wanted_, sinkpad_, facts);
  if (batch_wanted_ == 0 && batch_ > 1 && !timer_.Start()) batch_ = 1;
  GST_INFO_OBJECT(element_, "%d frames at a time, %s input", batch_.load(), *live_ ? "live" : "not live");
  UpdateLatency();
  return true;
}

void Encoder::UpdateLatency() {
  const int frames = batch_;
  const ModelFacts facts = model_.facts();
  if (frames == 0 || !facts.open()) return;
  const GstClockTime latency = gst_util_uint64_scale(frames, GST_SECOND * facts.framerate_den, facts.framerate_num) +
                               model_.ProcessingLatency(frames);
  gst_audio_encoder_set_latency(element_, latency, latency);
}

GstFlowReturn Encoder::Chain(GstBuffer* buffer) {
  BufferPtr owned(buffer);
  if (refused_) return GST_FLOW_ERROR;
  GstObject* parent = GST_OBJECT(element_);
  if (!GST_AUDIO_INFO_IS_VALID(&input_)) return base_chain_(sinkpad_, parent, owned.release());
  if (SkipWhileLoading(GST_BUFFER_PTS(buffer), GST_BUFFER_DURATION(buffer))) return GST_FLOW_OK;

  GstClockTime time = GST_BUFFER_PTS(buffer);
  if (!GST_CLOCK_TIME_IS_VALID(time)) time = timeline_.fresh() ? element_->input_segment.start : timeline_.next();
  const GstFlowReturn flow = MoveTo(time, GST_BUFFER_FLAG_IS_SET(buffer, GST_BUFFER_FLAG_DISCONT));
  if (flow != GST_FLOW_OK) return flow;

  const GstClockTime exact = timeline_.next();
  timeline_.Advance(gst_buffer_get_size(buffer) / GST_AUDIO_INFO_BPF(&input_));
  if (GST_BUFFER_PTS(buffer) != exact || discont_) {
    owned.reset(gst_buffer_make_writable(owned.release()));
    GST_BUFFER_PTS(owned.get()) = exact;
    if (discont_) GST_BUFFER_FLAG_SET(owned.get(), GST_BUFFER_FLAG_DISCONT);
    discont_ = false;
  }
  return base_chain_(sinkpad_, parent, owned.release());
}

bool Encoder::SkipWhileLoading(GstClockTime time, GstClockTime duration) {
  const bool loading = model_.loading();
  if (loading && !live_) live_ = UpstreamIsLive(sinkpad_);
  const bool skip = loading && *live_;
  if (!skipped_.Note(GST_ELEMENT(element_), skip,
                     {element_->input_segment, time, duration, session_.counters().frames}))
    return false;
  timeline_.Forget();
  discont_ = true;
  return skip;
}

GstFlowReturn Encoder::MoveTo(GstClockTime time, bool discont) {
  // Without DISCONT, small differences are jitter. With it, whatever is missing is really missing.
  const GstClockTime sample = GST_SECOND / GST_AUDIO_INFO_RATE(&input_);
  const bool new_segment = timeline_.fresh();
  const GstClockTime tolerance =
      discont && !new_segment ? sample : static_cast<GstClockTime>(gst_audio_encoder_get_tolerance(element_));
  switch (timeline_.Locate(time, tolerance)) {
    case Timeline::Place::kHole:
      GST_INFO_OBJECT(element_, "filling a hole before %" GST_TIME_FORMAT, GST_TIME_ARGS(time));
      return FeedSilence(timeline_.SamplesUntil(time));
    case Timeline::Place::kJump:
      GST_INFO_OBJECT(element_, "starting afresh at %" GST_TIME_FORMAT, GST_TIME_ARGS(time));
      if (!new_segment) Drain();
      StartAfresh();
      return GST_FLOW_OK;
    default:
      return GST_FLOW_OK;
  }
}

GstFlowReturn Encoder::FeedSilence(guint64 samples) {
  const gsize sample_bytes = GST_AUDIO_INFO_BPF(&input_);
  const guint64 chunk = MAX(model_.facts().frame_samples, 1);
  {
    std::lock_guard lock(stats_mutex_);
    filled_samples_ += samples;
  }
  while (samples > 0) {
    const guint64 now = MIN(samples, chunk);
    GstBuffer* silence = gst_buffer_new_allocate(nullptr, now * sample_bytes, nullptr);
    gst_buffer_memset(silence, 0, 0, now * sample_bytes);
    GST_BUFFER_PTS(silence) = timeline_.next();
    if (discont_) GST_BUFFER_FLAG_SET(silence, GST_BUFFER_FLAG_DISCONT);
    discont_ = false;
    timeline_.Advance(now);
    const GstFlowReturn flow = base_chain_(sinkpad_, GST_OBJECT(element_), silence);
    if (flow != GST_FLOW_OK) return flow;
    samples -= now;
  }
  return GST_FLOW_OK;
}

// The base class drains and forgets its time when it gets a segment. It gets the current one once more: being the very
// event that downstream has, it is not sent there again.
void Encoder::Drain() {
  GstEvent* segment = gst_pad_get_sticky_event(sinkpad_, GST_EVENT_SEGMENT, 0);
  if (segment != nullptr) base_event_(element_, segment);
}

void Encoder::StartAfresh() {
  session_.Reset();
  discont_ = true;
  std::lock_guard lock(stats_mutex_);
  ++restarts_;
}

GstFlowReturn Encoder::HandleFrame(GstBuffer* buffer) {
  if (late_flow_ != GST_FLOW_OK) return std::exchange(late_flow_, GST_FLOW_OK);
  if (buffer == nullptr) return EncodeBatch();
  if (!Collect(buffer)) {
    GST_ELEMENT_ERROR(element_, STREAM, ENCODE, ("A buffer of the input cannot be read."), (nullptr));
    return GST_FLOW_ERROR;
  }
  // In a segment seek, upstream tells of the end at once: nothing is kept back.
  const bool alone = (element_->input_segment.flags & GST_SEGMENT_FLAG_SEGMENT) != 0;
  if (alone || static_cast<int>(lengths_.size()) >= batch_) return EncodeBatch();
  if (batch_wanted_ == 0) timer_.Arm();
  return GST_FLOW_OK;
}

bool Encoder::Collect(GstBuffer* buffer) {
  BufferMap map(buffer, GST_MAP_READ);
  if (!map) return false;
  // Not input_: while the base class drains for new caps, the old ones still hold.
  const GstAudioInfo* info = gst_audio_encoder_get_audio_info(element_);
  const gsize samples = map.size() / GST_AUDIO_INFO_BPF(info);
  const gsize begin = pcm_.size();
  const gsize frame = model_.facts().frame_samples;
  pcm_.resize(begin + MAX(frame, samples), 0.0f);
  const bool s16 = GST_AUDIO_INFO_FORMAT(info) == GST_AUDIO_FORMAT_S16LE;
  const gsize nonfinite = s16 ? ReadS16(map.data(), samples, &pcm_[begin]) : ReadF32(map.data(), samples, &pcm_[begin]);
  lengths_.push_back(static_cast<int>(samples));
  {
    std::lock_guard lock(stats_mutex_);
    nonfinite_samples_ += nonfinite;
    padded_samples_ += frame - MIN(frame, samples);
  }
  if (nonfinite > 0 && !warned_nonfinite_) {
    warned_nonfinite_ = true;
    GST_ELEMENT_WARNING(element_, STREAM, ENCODE,
                        ("The input holds samples that are no numbers (NaN or infinite); they are encoded as silence. "
                         "Look at the element that makes them."),
                        ("%" G_GSIZE_FORMAT " in this frame", nonfinite));
  }
  return true;
}

GstFlowReturn Encoder::Choose() {
  const bool changed = renegotiate_.exchange(false) || gst_pad_needs_reconfigure(srcpad_);
  if (format_ && !changed) return GST_FLOW_OK;
  CodesFormat format;
  if (!ChooseCodes(srcpad_, model_.facts(), codebooks_, format))
    return GST_PAD_IS_FLUSHING(srcpad_) ? GST_FLOW_FLUSHING : GST_FLOW_NOT_NEGOTIATED;
  if (format_ == format) return GST_FLOW_OK;
  CapsPtr caps = MakeCodesCaps(format);
  if (!gst_audio_encoder_set_output_format(element_, caps.get())) return GST_FLOW_NOT_NEGOTIATED;
  gst_audio_encoder_merge_tags(element_, MakeTags(format, kEncoderTag).get(), GST_TAG_MERGE_REPLACE);
  format_ = format;
  return GST_FLOW_OK;
}

void Encoder::EndWait() {
  const GstFlowReturn flow = EncodeBatch();
  if (flow != GST_FLOW_OK) late_flow_ = flow;
}

GstFlowReturn Encoder::EncodeBatch() {
  if (lengths_.empty()) return GST_FLOW_OK;
  timer_.Disarm();
  const std::vector<int> lengths = std::move(lengths_);
  lengths_.clear();
  // The caps name the model's hash, which is known once it is loaded.
  GstFlowReturn flow = model_.WaitLoaded();
  if (flow == GST_FLOW_OK) flow = Choose();
  if (flow == GST_FLOW_OK) {
    codes_.resize(lengths.size() * format_->codebooks);
    MoshiJob job{};
    job.frames = static_cast<int32_t>(lengths.size());
    job.codebooks = format_->codebooks;
    job.pcm_in = pcm_.data();
    job.codes_out = codes_.data();
    flow = session_.Run(job);
  }
  pcm_.clear();
  for (gsize i = 0; i < lengths.size() && flow == GST_FLOW_OK; ++i) {
    BufferPtr frame = FrameBuffer(codes_.data() + i * format_->codebooks, lengths[i]);
    flow = gst_audio_encoder_finish_frame(element_, frame.release(), lengths[i]);
  }
  return flow;
}

BufferPtr Encoder::FrameBuffer(const uint16_t* codes, int samples) {
  BufferPtr buffer(gst_buffer_new_allocate(nullptr, format_->frame_bytes(), nullptr));
  {
    BufferMap map(buffer.get(), GST_MAP_WRITE);
    WriteFrames(format_->layout, format_->cardinality, format_->codebooks,
                {codes, static_cast<size_t>(format_->codebooks)}, {map.data(), map.size()});
  }
  const int padding = format_->frame_samples() - samples;
  if (padding > 0) gst_buffer_add_audio_clipping_meta(buffer.get(), GST_FORMAT_DEFAULT, 0, padding);
  return buffer;
}

}  // namespace gstmoshi

// SPDX-License-Identifier: MIT
#include "decoder.h"

#include <algorithm>
#include <utility>

#include "mimidec.h"

#define GST_CAT_DEFAULT mimidec_debug

namespace gstmoshi {
namespace {

/** Frames of one job at most, 2 s of Mimi: an interruption need not wait for more, and memory stays small. */
constexpr guint64 kJobFrames = 25;
/** Longest stretch of a gap for which the model's state goes on; beyond it there is silence only. */
constexpr guint64 kConcealFrames = 250;

void OnLoaded(GstElement* element) { gst_mimi_dec_get_decoder(element)->UpdateLatency(); }

guint64 ClipSamples(GstFormat format, guint64 amount, int rate) {
  return format == GST_FORMAT_TIME ? gst_util_uint64_scale_round(amount, rate, GST_SECOND) : amount;
}

}  // namespace

Decoder::Decoder(GstAudioDecoder* element, EventFn base_event)
    : element_(element),
      sinkpad_(GST_AUDIO_DECODER_SINK_PAD(element)),
      srcpad_(GST_AUDIO_DECODER_SRC_PAD(element)),
      base_event_(base_event),
      model_(GST_ELEMENT(element), MOSHI_ROLE_DECODE, OnLoaded),
      session_(GST_ELEMENT(element), model_, MOSHI_JOB_DECODE),
      timer_(sinkpad_, [this] { EndWait(); }) {
  gst_audio_info_init(&output_);
}

void Decoder::Start() {
  ForgetQueue();
  gst_audio_info_init(&output_);
  model_checked_ = refused_ = false;
  skipped_.Start();
  // The base class forgets these settings before every start.
  gst_audio_decoder_set_plc_aware(element_, TRUE);
  batch_ = MAX(batch_wanted_.load(), 1);
  UpdateLatency();
}

void Decoder::Stop() {
  timer_.Stop();
  batch_ = 0;
  session_.Close();
  ForgetQueue();
}

void Decoder::ForgetQueue() {
  inputs_.clear();
  codes_.clear();
  kinds_.clear();
  last_.clear();
  fade_.Reset();
  errors_in_row_ = 0;
  timer_.Disarm();
  late_flow_ = GST_FLOW_OK;
  discont_ = false;
}

bool Decoder::SetFormat(GstCaps* caps) {
  // A model that is being fetched has no facts yet.
  if (!model_.facts().open() && model_.WaitLoaded() != GST_FLOW_OK) return false;
  const ModelFacts facts = model_.facts();
  const std::optional<CodesFormat> format = ParseCodesCaps(caps);
  if (!format || !format->framed || format->rate != facts.rate || format->cardinality != facts.cardinality ||
      format->codebooks > facts.codebooks || format->frame_samples() != facts.frame_samples) {
    GST_WARNING_OBJECT(element_, "the model has %d codebooks of %d codes at %d Hz; cannot take %" GST_PTR_FORMAT,
                       facts.codebooks, facts.cardinality, facts.rate, caps);
    return false;
  }
  if (format->codebooks != format_.codebooks) last_.clear();
  model_checked_ = model_checked_ && format->model == format_.model;
  format_ = *format;
  frame_samples_ = facts.frame_samples;
  live_ = UpstreamIsLive(sinkpad_);
  session_.SetLive(live_);
  batch_ = BatchFrames(batch_wanted_, sinkpad_, facts);
  if (batch_wanted_ == 0 && batch_ > 1 && !timer_.Start()) batch_ = 1;
  gst_audio_decoder_merge_tags(element_, MakeTags(format_, nullptr).get(), GST_TAG_MERGE_REPLACE);
  UpdateLatency();
  return ChooseOutput();
}

void Decoder::UpdateLatency() {
  const int frames = batch_;
  const ModelFacts facts = model_.facts();
  if (frames == 0 || !facts.open()) return;
  const GstClockTime latency =
      gst_util_uint64_scale(frames - 1, GST_SECOND * facts.framerate_den, facts.framerate_num) +
      model_.ProcessingLatency(frames);
  gst_audio_decoder_set_latency(element_, latency, latency);
}

bool Decoder::ChooseOutput() {
  CapsPtr offer = RawCapsOf(model_.facts());
  CapsPtr taken(gst_pad_peer_query_caps(srcpad_, offer.get()));
  CapsPtr allowed(gst_caps_intersect_full(taken.get(), offer.get(), GST_CAPS_INTERSECT_FIRST));
  if (gst_caps_is_empty(allowed.get())) return false;
  allowed.reset(gst_caps_make_writable(gst_caps_truncate(allowed.release())));
  gst_structure_fixate_field_string(gst_caps_get_structure(allowed.get(), 0), "format", "F32LE");
  allowed.reset(gst_caps_fixate(allowed.release()));
  GstAudioInfo info;
  if (!gst_audio_info_from_caps(&info, allowed.get())) return false;
  if (GST_AUDIO_INFO_IS_VALID(&output_) && gst_audio_info_is_equal(&info, &output_)) return true;
  if (!gst_audio_decoder_set_output_format(element_, &info)) return false;
  output_ = info;
  return true;
}

// Before output is made in the old format: the base class looks only when it gets it.
GstFlowReturn Decoder::FollowDownstream() {
  if (!gst_pad_needs_reconfigure(srcpad_) || ChooseOutput()) return GST_FLOW_OK;
  return GST_PAD_IS_FLUSHING(srcpad_) ? GST_FLOW_FLUSHING : GST_FLOW_NOT_NEGOTIATED;
}

GstFlowReturn Decoder::HandleFrame(GstBuffer* buffer) {
  if (refused_) return GST_FLOW_ERROR;
  if (late_flow_ != GST_FLOW_OK) return std::exchange(late_flow_, GST_FLOW_OK);
  if (buffer == nullptr) return DecodeQueue();
  if (SkipWhileLoading()) return gst_audio_decoder_finish_frame(element_, nullptr, 1);
  const GstFlowReturn flow = gst_buffer_get_size(buffer) == 0 ? QueueConcealment(buffer) : Queue(buffer);
  // Backwards, the base class wants output for each input; in a segment seek, upstream tells of the end at once.
  const GstSegment& segment = element_->input_segment;
  const bool alone = segment.rate < 0.0 || (segment.flags & GST_SEGMENT_FLAG_SEGMENT) != 0;
  if (flow != GST_FLOW_OK) return flow;
  if (alone || kinds_.size() >= static_cast<gsize>(batch_.load())) return DecodeQueue();
  if (batch_wanted_ == 0) timer_.Arm();
  return GST_FLOW_OK;
}

bool Decoder::SkipWhileLoading() {
  const bool skip = live_ && model_.loading();
  if (skipped_.Note(GST_ELEMENT(element_), skip,
                    {.segment = element_->input_segment, .processed = session_.counters().frames}))
    discont_ = true;
  return skip;
}

GstFlowReturn Decoder::Queue(GstBuffer* buffer) {
  // Giving up on it below lets the base class drop its reference.
  BufferPtr keep(gst_buffer_ref(buffer));
  BufferMap map(buffer, GST_MAP_READ);
  if (!map) return BadData("The buffer cannot be read.");
  const gsize frame_bytes = format_.frame_bytes();
  const gsize whole = map.size() / frame_bytes;
  Input input;
  input.frames = whole;
  GstFlowReturn flow = AddFrames(map.data(), whole);
  if (flow == GST_FLOW_OK && map.size() % frame_bytes != 0) {
    StringPtr problem(g_strdup_printf("A buffer of %" G_GSIZE_FORMAT
                                      " bytes is not a whole number of frames of %" G_GSIZE_FORMAT " bytes.",
                                      map.size(), frame_bytes));
    flow = BadData(problem.get());
    if (flow == GST_FLOW_OK) flow = AddConcealed(1);
    ++input.frames;
  }
  if (flow != GST_FLOW_OK) return flow;
  input.samples = input.end = input.frames * frame_samples_;
  const GstAudioClippingMeta* clip = gst_buffer_get_audio_clipping_meta(buffer);
  if (clip != nullptr) {
    const guint64 cut = ClipSamples(clip->format, clip->end, format_.rate);
    input.begin = MIN(ClipSamples(clip->format, clip->start, format_.rate), input.samples);
    input.end = input.samples - MIN(cut, input.samples - input.begin);
  }
  inputs_.push_back(input);
  return GST_FLOW_OK;
}

// A lost stretch: the base class gives an empty buffer with the time of the gap.
GstFlowReturn Decoder::QueueConcealment(GstBuffer* buffer) {
  if (!gst_audio_decoder_get_plc(element_)) return gst_audio_decoder_finish_frame(element_, nullptr, 1);
  Input input;
  input.samples = GST_BUFFER_DURATION_IS_VALID(buffer)
                      ? gst_util_uint64_scale_round(GST_BUFFER_DURATION(buffer), format_.rate, GST_SECOND)
                      : frame_samples_;
  input.end = input.samples;
  const guint64 frames = MAX((input.samples + frame_samples_ / 2) / frame_samples_, 1);
  // What came before the gap goes out first, and the gap is not kept waiting for a batch.
  GstFlowReturn flow = DecodeQueue();
  if (flow == GST_FLOW_OK && !last_.empty()) {
    input.frames = MIN(frames, kConcealFrames);
    flow = AddConcealed(input.frames);
  }
  if (flow != GST_FLOW_OK) return flow;
  inputs_.push_back(input);
  return DecodeQueue();
}

GstFlowReturn Decoder::AddFrames(const guint8* bytes, gsize frames) {
  const gsize codebooks = format_.codebooks;
  const gsize frame_bytes = format_.frame_bytes();
  std::vector<uint16_t> codes(codebooks);
  for (gsize frame = 0; frame < frames; ++frame) {
    ReadFrames(format_.layout, format_.cardinality, format_.codebooks, {bytes + frame * frame_bytes, frame_bytes},
               codes);
    const auto bad = std::find_if(codes.begin(), codes.end(), [this](int code) { return code >= format_.cardinality; });
    if (bad == codes.end()) {
      codes_.insert(codes_.end(), codes.begin(), codes.end());
      kinds_.push_back(Fade::Kind::kGood);
      last_ = codes;
      errors_in_row_ = 0;
      continue;
    }
    StringPtr problem(g_strdup_printf("Code %d of codebook %d is not below %d.", *bad,
                                      static_cast<int>(bad - codes.begin()), format_.cardinality));
    GstFlowReturn flow = BadData(problem.get());
    if (flow == GST_FLOW_OK) flow = AddConcealed(1);
    if (flow != GST_FLOW_OK) return flow;
  }
  return GST_FLOW_OK;
}

GstFlowReturn Decoder::AddConcealed(guint64 frames) {
  if (last_.empty()) last_.assign(format_.codebooks, 0);
  for (guint64 frame = 0; frame < frames; ++frame) codes_.insert(codes_.end(), last_.begin(), last_.end());
  kinds_.insert(kinds_.end(), frames, Fade::Kind::kConcealed);
  std::lock_guard lock(stats_mutex_);
  concealed_frames_ += frames;
  return GST_FLOW_OK;
}

// The base class's own count would start again with every concealed frame that is sent.
GstFlowReturn Decoder::BadData(const char* problem) {
  {
    std::lock_guard lock(stats_mutex_);
    ++errors_;
  }
  const int tolerated = gst_audio_decoder_get_max_errors(element_);
  if (tolerated > 0 && ++errors_in_row_ <= tolerated) {
    GST_WARNING_OBJECT(element_, "%s Concealing it.", problem);
    return GST_FLOW_OK;
  }
  // All that came before goes out; this buffer does not.
  DecodeQueue();
  codes_.clear();
  kinds_.clear();
  gst_audio_decoder_finish_frame(element_, nullptr, 1);
  GST_ELEMENT_ERROR(element_, STREAM, DECODE,
                    ("The codes are damaged, or their caps are wrong. %s Check codebooks and stream-format, or set "
                     "max-errors to go on.",
                     problem),
                    ("%d codebooks, %s, %d errors in a row", format_.codebooks,
                     format_.layout == CodeLayout::kCodes ? "codes" : "packed", errors_in_row_));
  return GST_FLOW_ERROR;
}

GstFlowReturn Decoder::CheckModel() {
  const GstFlowReturn flow = model_.WaitLoaded();
  if (flow != GST_FLOW_OK || model_checked_) return flow;
  const ModelFacts facts = model_.facts();
  if (!format_.model.empty() && !facts.sha256.empty() &&
      g_ascii_strcasecmp(format_.model.c_str(), facts.sha256.c_str())) {
    GST_ELEMENT_ERROR(element_, STREAM, FORMAT,
                      ("These codes were made by another model (%s) than %s. Set model or weights to the one that made "
                       "them.",
                       format_.model.c_str(), facts.mimi_file.c_str()),
                      ("this model's SHA-256 is %s", facts.sha256.c_str()));
    return GST_FLOW_ERROR;
  }
  model_checked_ = true;
  return GST_FLOW_OK;
}

void Decoder::EndWait() {
  const GstFlowReturn flow = DecodeQueue();
  if (flow != GST_FLOW_OK) late_flow_ = flow;
}

GstFlowReturn Decoder::DecodeQueue() {
  if (inputs_.empty()) return GST_FLOW_OK;
  timer_.Disarm();
  GstFlowReturn flow = CheckModel();
  if (flow == GST_FLOW_OK) flow = FollowDownstream();
  // Silence alone needs no frames of the core.
  if (flow == GST_FLOW_OK && kinds_.empty()) flow = SendDecoded(nullptr, 0);
  while (flow == GST_FLOW_OK && !kinds_.empty()) flow = DecodeSome(MIN(kinds_.size(), kJobFrames));
  if (flow != GST_FLOW_OK) {
    inputs_.clear();
    codes_.clear();
    kinds_.clear();
  }
  return flow;
}

GstFlowReturn Decoder::DecodeSome(guint64 frames) {
  pcm_.resize(frames * frame_samples_);
  MoshiJob job{};
  job.frames = static_cast<int32_t>(frames);
  job.codebooks = format_.codebooks;
  job.codes_in = codes_.data();
  job.pcm_out = pcm_.data();
  const GstFlowReturn flow = session_.Run(job);
  if (flow != GST_FLOW_OK) return flow;
  for (guint64 frame = 0; frame < frames; ++frame)
    fade_.Apply(kinds_[frame], {pcm_.data() + frame * frame_samples_, static_cast<size_t>(frame_samples_)});
  codes_.erase(codes_.begin(), codes_.begin() + frames * format_.codebooks);
  kinds_.erase(kinds_.begin(), kinds_.begin() + frames);
  return SendDecoded(pcm_.data(), frames);
}

}  // namespace gstmoshi

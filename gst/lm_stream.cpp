// SPDX-License-Identifier: MIT
#include "lm_stream.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "moshilm.h"

#define GST_CAT_DEFAULT moshilm_debug

namespace gstmoshi {
namespace {

/** Longest hole that is stepped through as silence, in frames: a minute of Mimi. */
constexpr guint64 kLongestFill = 750;

void OnLoaded(GstElement* element) { gst_moshi_lm_loaded(element); }

}  // namespace

LmStream::LmStream(GstElement* element, GstPad* sink, GstPad* audio, GstPad* text)
    : element_(element),
      sink_(sink),
      audio_(audio, [this](GstPad* pad, GstFlowReturn flow) { OnFlow(pad, flow); }),
      text_(text, [this](GstPad* pad, GstFlowReturn flow) { OnFlow(pad, flow); }),
      model_(element, MOSHI_ROLE_LM, OnLoaded),
      session_(element, model_, MOSHI_JOB_STEP),
      output_(element, model_, audio_, text_),
      conversation_(element, model_, session_, input_, output_),
      combiner_(gst_flow_combiner_new()) {
  gst_flow_combiner_add_pad(combiner_, audio);
  gst_flow_combiner_add_pad(combiner_, text);
}

LmStream::~LmStream() { gst_flow_combiner_free(combiner_); }

bool LmStream::Start() {
  gst_segment_init(&segment_, GST_FORMAT_UNDEFINED);
  format_.reset();
  format_checked_ = jump_ = refused_ = false;
  skipped_.Start();
  expected_ = GST_CLOCK_TIME_NONE;
  // What is answered from now on: only what differs is told.
  own_latency_ = OwnLatency();
  {
    std::lock_guard lock(flow_mutex_);
    gst_flow_combiner_reset(combiner_);
    flow_error_posted_ = false;
  }
  session_.Resume(kStopping);
  session_.Resume(kFlushing);
  input_.Start();
  SessionPlan plan;
  plan.seed = conversation_.generation().Now({}).seed;
  plan.max_sessions = max_sessions_;
  if (conversation_.Start(plan)) return true;
  input_.Stop();
  GST_ELEMENT_ERROR(element_, RESOURCE, FAILED, ("No thread can be started for the model. Close other programs."),
                    (nullptr));
  return false;
}

void LmStream::Interrupt() {
  input_.Stop();
  session_.Interrupt(kStopping);
  audio_.StartFlush();
  text_.StartFlush();
}

void LmStream::Stop() {
  conversation_.Stop();
  session_.Close();
}

// On a source pad's task.
void LmStream::OnFlow(GstPad* pad, GstFlowReturn flow) {
  GstFlowReturn combined;
  {
    std::lock_guard lock(flow_mutex_);
    combined = gst_flow_combiner_update_pad_flow(combiner_, pad, flow);
    if (combined == GST_FLOW_OK) return;
  }
  if (!input_.Refuse(combined)) PostFlowError(combined);
}

// Upstream has gone, so that nobody else tells the application.
void LmStream::PostFlowError(GstFlowReturn flow) {
  if (flow != GST_FLOW_NOT_LINKED && flow >= GST_FLOW_EOS) return;
  {
    std::lock_guard lock(flow_mutex_);
    if (std::exchange(flow_error_posted_, true)) return;
  }
  GST_ELEMENT_FLOW_ERROR(element_, flow);
}

GstFlowReturn LmStream::Chain(GstBuffer* raw) {
  BufferPtr buffer(raw);
  if (refused_) return GST_FLOW_ERROR;
  if (!format_) return GST_FLOW_NOT_NEGOTIATED;
  if (SkipWhileLoading(GST_BUFFER_PTS(raw))) return GST_FLOW_OK;
  const GstFlowReturn flow = CheckFormat();
  return flow == GST_FLOW_OK ? PushFrames(raw) : flow;
}

bool LmStream::SkipWhileLoading(GstClockTime pts) {
  const bool skip = conversation_.live() && model_.loading();
  if (skipped_.Note(element_, skip, {.segment = segment_, .time = pts})) {
    jump_ = true;
    expected_ = GST_CLOCK_TIME_NONE;
  }
  return skip;
}

// Caps that came before the model's headers were known.
GstFlowReturn LmStream::CheckFormat() {
  if (format_checked_) return GST_FLOW_OK;
  if (!model_.facts().open()) {
    const GstFlowReturn flow = model_.WaitLoaded();
    if (flow != GST_FLOW_OK) return flow;
  }
  const std::string mismatch = Mismatch(*format_);
  if (!mismatch.empty()) {
    GST_ELEMENT_ERROR(element_, STREAM, FORMAT, ("%s", mismatch.c_str()), ("%s", model_.Context().c_str()));
    return GST_FLOW_ERROR;
  }
  format_checked_ = true;
  return GST_FLOW_OK;
}

std::string LmStream::Mismatch(const CodesFormat& format) {
  const ModelFacts facts = model_.facts();
  if (!facts.open()) return {};
  if (format.codebooks < facts.lm.user_streams)
    return "The model listens to " + std::to_string(facts.lm.user_streams) + " codebooks and the codes have " +
           std::to_string(format.codebooks) +
           ". Give it more, e.g. mimienc codebooks=" + std::to_string(facts.lm.user_streams) + ".";
  if (format.cardinality != facts.lm.cardinality || format.rate != facts.rate ||
      format.frame_samples() != facts.frame_samples)
    return "The model takes codes below " + std::to_string(facts.lm.cardinality) + " at " + std::to_string(facts.rate) +
           " Hz, and these are below " + std::to_string(format.cardinality) + " at " + std::to_string(format.rate) +
           " Hz. Encode with the Mimi that the model was trained with.";
  return {};
}

GstFlowReturn LmStream::BadData(const std::string& problem) {
  GST_ELEMENT_ERROR(
      element_, STREAM, DECODE,
      ("The codes are damaged, or their caps are wrong. %s Check codebooks and stream-format.", problem.c_str()),
      ("%d codebooks, %s", format_->codebooks, format_->layout == CodeLayout::kCodes ? "codes" : "packed"));
  return GST_FLOW_ERROR;
}

GstFlowReturn LmStream::PushFrames(GstBuffer* buffer) {
  BufferMap map(buffer, GST_MAP_READ);
  if (!map) return BadData("The buffer cannot be read.");
  const gsize frame_bytes = format_->frame_bytes();
  const gsize frames = map.size() / frame_bytes;
  if (map.size() % frame_bytes != 0)
    return BadData("A buffer of " + std::to_string(map.size()) + " bytes is not a whole number of frames of " +
                   std::to_string(frame_bytes) + " bytes.");
  GstClockTime pts = GST_BUFFER_PTS(buffer);
  if (!GST_CLOCK_TIME_IS_VALID(pts)) pts = GST_CLOCK_TIME_IS_VALID(expected_) ? expected_ : segment_.start;
  GstFlowReturn flow = FillUntil(pts);
  if (GST_BUFFER_FLAG_IS_SET(buffer, GST_BUFFER_FLAG_DISCONT)) jump_ = true;
  const GstClockTime duration = model_.facts().frame_duration();
  for (gsize frame = 0; frame < frames && flow == GST_FLOW_OK; ++frame) {
    std::vector<uint16_t> codes(format_->codebooks);
    ReadFrames(format_->layout, format_->cardinality, format_->codebooks,
               {map.data() + frame * frame_bytes, frame_bytes}, codes);
    flow = PushCodes(std::move(codes), pts + frame * duration);
  }
  return flow;
}

GstFlowReturn LmStream::PushCodes(std::vector<uint16_t> codes, GstClockTime pts) {
  const auto bad = std::find_if(codes.begin(), codes.end(), [this](int code) { return code >= format_->cardinality; });
  if (bad != codes.end())
    return BadData("Code " + std::to_string(*bad) + " of codebook " + std::to_string(bad - codes.begin()) +
                   " is not below " + std::to_string(format_->cardinality) + ".");
  const ModelFacts facts = model_.facts();
  Input input;
  input.kind = Input::Kind::kCodes;
  input.pts = pts;
  input.jump = std::exchange(jump_, false);
  input.tokens.assign(codes.begin(), codes.begin() + facts.lm.user_streams);
  expected_ = pts + facts.frame_duration();
  return input_.Push(std::move(input), conversation_.drops());
}

// What upstream has left out is silence to the model, whose time goes on.
GstFlowReturn LmStream::FillUntil(GstClockTime time) {
  if (!GST_CLOCK_TIME_IS_VALID(expected_) || time <= expected_) return GST_FLOW_OK;
  const GstClockTime duration = model_.facts().frame_duration();
  guint64 frames = (time - expected_ + duration / 2) / duration;
  if (frames > kLongestFill) jump_ = true;
  frames = MIN(frames, kLongestFill);
  GstFlowReturn flow = GST_FLOW_OK;
  for (guint64 frame = 0; frame < frames && flow == GST_FLOW_OK; ++frame) {
    Input input;
    input.kind = Input::Kind::kSilence;
    input.pts = expected_;
    expected_ += duration;
    flow = input_.Push(std::move(input), conversation_.drops());
  }
  return flow;
}

gboolean LmStream::Gap(GstEvent* raw) {
  EventPtr event(raw);
  GstClockTime pts, duration;
  gst_event_parse_gap(raw, &pts, &duration);
  if (refused_ || !format_ || !GST_CLOCK_TIME_IS_VALID(duration) || SkipWhileLoading(pts)) return TRUE;
  if (CheckFormat() != GST_FLOW_OK) return FALSE;
  if (!GST_CLOCK_TIME_IS_VALID(expected_)) expected_ = pts;
  return FillUntil(pts + duration) == GST_FLOW_OK;
}

bool LmStream::SetCaps(GstCaps* caps) {
  const std::optional<CodesFormat> format = ParseCodesCaps(caps);
  if (!format || !format->framed || !Mismatch(*format).empty()) {
    GST_WARNING_OBJECT(element_, "cannot take %" GST_PTR_FORMAT ": %s", caps,
                       format ? Mismatch(*format).c_str() : "not codes");
    return false;
  }
  format_ = format;
  format_checked_ = false;
  conversation_.SetLive(UpstreamIsLive(sink_));
  return true;
}

GstStructure* LmStream::Stats() {
  GstStructure* stats = gst_structure_new("application/x-moshilm-stats", "dropped-buffers", G_TYPE_UINT64,
                                          skipped_.count(), "src-frames", G_TYPE_UINT64, guint64{audio_.frames()},
                                          "text-frames", G_TYPE_UINT64, guint64{text_.frames()}, nullptr);
  conversation_.AddStats(stats);
  return stats;
}

bool LmStream::ForceText(const char* ids) {
  if (ids == nullptr) return false;
  const gint most = model_.facts().lm.text_cardinality;
  std::vector<int32_t> tokens;
  for (const char* at = ids; *at != '\0';) {
    if (*at == ' ' || *at == ',') {
      ++at;
      continue;
    }
    char* end = nullptr;
    const gint64 token = g_ascii_strtoll(at, &end, 10);
    if (end == at || token < 0 || token > G_MAXINT32 || (most > 0 && token >= most)) {
      GST_WARNING_OBJECT(element_, "\"%s\" is not a list of text tokens from 0 to %d", ids, most - 1);
      return false;
    }
    tokens.push_back(static_cast<int32_t>(token));
    at = end;
  }
  conversation_.ForceText(tokens);
  return true;
}

}  // namespace gstmoshi

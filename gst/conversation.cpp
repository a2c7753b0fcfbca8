// SPDX-License-Identifier: MIT
#include "conversation.h"

#include <utility>

#include "errors.h"
#include "moshilm.h"

#define GST_CAT_DEFAULT moshilm_debug

namespace gstmoshi {
namespace {

/** The same segment without a stop, beyond which downstream would cut off what goes on after the input's end. */
EventPtr OpenEnded(GstEvent* event) {
  GstSegment segment;
  gst_event_copy_segment(event, &segment);
  segment.stop = GST_CLOCK_TIME_NONE;
  EventPtr open(gst_event_new_segment(&segment));
  gst_event_set_seqnum(open.get(), gst_event_get_seqnum(event));
  return open;
}

}  // namespace

bool Conversation::Start(const SessionPlan& plan) {
  gst_segment_init(&segment_, GST_FORMAT_TIME);
  session_.SetPlan(plan);
  applied_.seed = plan.seed;
  begun_ = used_ = failed_ = conditioned_ = warned_ = jump_ = false;
  reset_wanted_ = false;
  next_ = GST_CLOCK_TIME_NONE;
  format_.reset();
  output_.Forget();
  pipeline_latency_ = GST_CLOCK_TIME_NONE;
  {
    std::lock_guard lock(mutex_);
    times_.Forget();
    forced_.clear();
    slip_ = slip_told_ = 0;
    seed_ = -1;
  }
  thread_ = g_thread_try_new("moshilm", &Conversation::Run, this, nullptr);
  return thread_ != nullptr;
}

void Conversation::Stop() {
  if (thread_ == nullptr) return;
  g_thread_join(thread_);
  thread_ = nullptr;
  pending_.clear();
}

void Conversation::Flush() {
  for (Pending& entry : pending_)
    if (entry.event && OutlivesFlush(entry.event.get())) output_.Forward(std::move(entry.event));
  pending_.clear();
  begun_ = failed_ = jump_ = false;
  next_ = GST_CLOCK_TIME_NONE;
  output_.Flush();
  std::lock_guard lock(mutex_);
  forced_.clear();
  slip_ = slip_told_ = 0;
}

gpointer Conversation::Run(gpointer self) {
  static_cast<Conversation*>(self)->Loop();
  return nullptr;
}

void Conversation::Loop() {
  // Whether there is room for one more session is known before any input has come.
  if (session_.Ready() == GST_FLOW_ERROR) Fail(GST_FLOW_ERROR);
  while (std::optional<Input> input = input_.Pop()) {
    if (failed_) {
      HandleAfterError(*input);
      continue;
    }
    GstFlowReturn flow = session_.Ready();
    if (flow == GST_FLOW_FLUSHING) {
      input_.PutBack(std::move(*input));
      continue;
    }
    if (flow == GST_FLOW_OK) flow = Handle(*input);
    if (flow != GST_FLOW_OK && flow != GST_FLOW_FLUSHING) Fail(flow);
  }
}

// Whoever waits downstream for the end gets it.
void Conversation::Fail(GstFlowReturn flow) {
  if (failed_) return;
  failed_ = true;
  // An error has been posted where it happened; what else there is, upstream posts when it gets to know.
  if (!input_.Refuse(flow) && flow != GST_FLOW_ERROR) GST_ELEMENT_FLOW_ERROR(element_, flow);
  pending_.clear();
  if (output_.stream_started()) output_.Forward(EventPtr(gst_event_new_eos()));
}

GstFlowReturn Conversation::Handle(Input& input) {
  if (input.event) return HandleEvent(std::move(input.event));
  if (reset_wanted_.exchange(false)) Abandon();
  return Listen(input);
}

void Conversation::HandleAfterError(Input& input) {
  if (!input.event || GST_EVENT_TYPE(input.event.get()) != GST_EVENT_STREAM_START) return;
  output_.StartStream(input.event.get());
  output_.Forward(EventPtr(gst_event_new_eos()));
}

GstFlowReturn Conversation::HandleEvent(EventPtr event) {
  GstFlowReturn flow = GST_FLOW_OK;
  switch (GST_EVENT_TYPE(event.get())) {
    case GST_EVENT_STREAM_START:
      flow = DrainLag();
      Abandon();
      output_.StartStream(event.get());
      return flow;
    case GST_EVENT_CAPS:
      return HandleCaps(event.get());
    case GST_EVENT_SEGMENT:
      gst_event_copy_segment(event.get(), &segment_);
      if (Translates()) event = OpenEnded(event.get());
      break;
    case GST_EVENT_SEGMENT_DONE:
      flow = DrainLag();
      break;
    case GST_EVENT_EOS:
      return HandleEnd(std::move(event));
    default:
      break;
  }
  Pending entry;
  entry.event = std::move(event);
  entry.stepped = false;
  const GstFlowReturn added = Add(std::move(entry));
  return flow == GST_FLOW_OK ? added : flow;
}

GstFlowReturn Conversation::HandleCaps(GstEvent* event) {
  GstCaps* caps;
  gst_event_parse_caps(event, &caps);
  const std::optional<CodesFormat> format = ParseCodesCaps(caps);
  GstFlowReturn flow = GST_FLOW_OK;
  if (!format) return flow;
  if (format_ && (format->model != format_->model || format->rate != format_->rate)) {
    flow = DrainLag();
    Abandon();
  }
  format_ = format;
  output_.SetInput(*format);
  return flow;
}

GstFlowReturn Conversation::HandleEnd(EventPtr event) {
  const GstFlowReturn flow = Translates() ? Translate() : DrainLag();
  Abandon();
  if (flow != GST_FLOW_OK && flow != GST_FLOW_FLUSHING) return flow;
  output_.Forward(std::move(event));
  return flow;
}

GstFlowReturn Conversation::Listen(Input& input) {
  CountInput(input.frames);
  if (input.kind == Input::Kind::kDropped) return StepOver(input.pts, input.frames);
  const std::optional<GstClockTimeDiff> late = Lateness(input.pts);
  const LatePolicy policy = policy_now();
  if (late && *late > 0 && policy == LatePolicy::kDrop && input.kind == Input::Kind::kCodes) {
    guint64 frames = 1;
    const GstClockTime limit = input.pts + static_cast<GstClockTime>(*late);
    while (input_.TakeBefore(limit)) ++frames;
    CountInput(frames - 1);
    return StepOver(input.pts, frames);
  }
  if (late && policy == LatePolicy::kShift) Slip(*late);
  Pending entry;
  entry.pts = input.pts;
  entry.jump = std::exchange(jump_, false) || input.jump;
  return Step(input.kind == Input::Kind::kCodes ? input.tokens.data() : nullptr, std::move(entry));
}

GstFlowReturn Conversation::Begin() {
  if (begun_) return GST_FLOW_OK;
  const ModelFacts facts = model_.facts();
  lm_ = facts.lm;
  frame_ = facts.frame_duration();
  if (used_) {
    const GstFlowReturn flow = session_.Restart();
    if (flow != GST_FLOW_OK) return flow;
  }
  used_ = false;
  session_.SetLive(live_);
  GstFlowReturn flow = Apply();
  if (flow == GST_FLOW_OK) flow = ApplyConditions();
  if (flow == GST_FLOW_OK) flow = RunStep(nullptr, GST_CLOCK_TIME_NONE);
  if (flow != GST_FLOW_OK) return flow;
  skip_ = lm_.lag();
  begun_ = true;
  return GST_FLOW_OK;
}

GstFlowReturn Conversation::Apply() {
  const MoshiCoreApi& api = *model_.api();
  const Generation now = generation_.Now(lm_);
  const bool first = !used_;
  const bool other_seed = now.seed != applied_.seed;
  GstFlowReturn flow = GST_FLOW_OK;
  auto set = [&](const char* name, auto value, auto& applied) {
    if (flow != GST_FLOW_OK || (!first && value == applied)) return;
    MoshiError error = EmptyError();
    const MoshiStatus status = api.session_set(session_.handle(), name, static_cast<double>(value), &error);
    applied = value;
    // A conversation that goes well is not ended by a property.
    if (status == MOSHI_ERR_CONFLICT || (status == MOSHI_ERR_INVALID_ARGUMENT && !first))
      GST_ELEMENT_WARNING(element_, LIBRARY, SETTINGS, ("%s", error.message), ("%s", error.detail));
    else
      flow = session_.Check(status, error);
  };
  if (first) {
    int none = 0;
    set("class", static_cast<int>(live_ ? MOSHI_CLASS_LIVE : MOSHI_CLASS_FILE), none);
  }
  set("temperature", now.temperature, applied_.temperature);
  set("text-temperature", now.text_temperature, applied_.text_temperature);
  set("top-k", now.top_k, applied_.top_k);
  set("text-top-k", now.text_top_k, applied_.text_top_k);
  set("sampling", now.sampling, applied_.sampling);
  set("cfg-coef", now.cfg_coef, applied_.cfg_coef);
  // A session is opened with its seed.
  if (other_seed) set("seed", now.seed, applied_.seed);
  if (first || other_seed) {
    MoshiError error = EmptyError();
    gint64 seed = -1;
    if (api.session_seed(session_.handle(), &seed, &error) == MOSHI_OK) {
      std::lock_guard lock(mutex_);
      seed_ = seed;
    }
  }
  return flow;
}

GstFlowReturn Conversation::ApplyConditions() {
  StructurePtr structure(generation_.conditions());
  if (!structure && !conditioned_) return GST_FLOW_OK;
  ConditionList conditions;
  if (!conditions.Read(structure.get())) {
    GST_ELEMENT_ERROR(element_, LIBRARY, SETTINGS, ("%s", conditions.problem().c_str()), (nullptr));
    return GST_FLOW_ERROR;
  }
  conditioned_ = true;
  MoshiError error = EmptyError();
  const MoshiStatus status = model_.api()->session_set_conditions(session_.handle(), conditions.items().data(),
                                                                  conditions.items().size(), &error);
  return session_.Check(status, error);
}

GstFlowReturn Conversation::Step(const int32_t* tokens, Pending entry) {
  GstFlowReturn flow = Begin();
  if (flow == GST_FLOW_OK) flow = Apply();
  if (flow == GST_FLOW_OK) flow = RunStep(tokens != nullptr ? tokens : lm_.silence.data(), entry.pts);
  if (flow != GST_FLOW_OK) return flow;
  next_ = entry.pts + frame_;
  const GstClockTime pts = entry.pts;
  pending_.push_back(std::move(entry));
  if (skip_ == 0) return Deliver();
  // Nothing is said yet, but sinks can preroll.
  const bool first = skip_-- == static_cast<guint64>(lm_.lag());
  return first ? output_.SendGap(pts, 0) : GST_FLOW_OK;
}

GstFlowReturn Conversation::RunStep(const int32_t* tokens, GstClockTime pts) {
  tokens_.assign(1 + lm_.own_streams, MOSHI_TOKEN_NONE);
  heads_.resize(static_cast<gsize>(lm_.extra_heads) * lm_.extra_head_width);
  const int32_t forced = tokens != nullptr ? NextForced() : MOSHI_TOKEN_GENERATE;
  MoshiJob job{};
  job.frames = 1;
  job.user_tokens = tokens;
  job.forced_text = forced != MOSHI_TOKEN_GENERATE ? &forced : nullptr;
  job.tokens_out = tokens_.data();
  job.extra_heads_out = heads_.empty() ? nullptr : heads_.data();
  if (const auto late = Lateness(pts))
    job.deadline_ns = static_cast<int64_t>(gst_util_get_timestamp()) + MAX(-*late, 0);
  const GstClockTime start = gst_util_get_timestamp();
  // A step that is interrupted may be done all the same.
  used_ = true;
  const GstFlowReturn flow = session_.Run(job);
  if (flow != GST_FLOW_OK) return flow;
  CountStep(gst_util_get_timestamp() - start);
  return GST_FLOW_OK;
}

GstFlowReturn Conversation::Add(Pending entry) {
  pending_.push_back(std::move(entry));
  return Settle();
}

// Sends what need not wait for an output frame.
GstFlowReturn Conversation::Settle() {
  GstFlowReturn flow = GST_FLOW_OK;
  while (flow == GST_FLOW_OK && !pending_.empty() && !pending_.front().stepped) {
    Pending entry = std::move(pending_.front());
    pending_.pop_front();
    flow = entry.event ? output_.Forward(std::move(entry.event)) : output_.SendGap(entry.pts, frame_);
  }
  return flow;
}

// The output of the last step belongs to the first frame that waits for one.
GstFlowReturn Conversation::Deliver() {
  GstFlowReturn flow = Settle();
  if (flow != GST_FLOW_OK || pending_.empty()) return flow;
  const Pending entry = std::move(pending_.front());
  pending_.pop_front();
  GstClockTime pts = entry.pts;
  {
    std::lock_guard lock(mutex_);
    pts += slip_;
  }
  if (entry.jump) output_.MarkDiscont();
  flow = entry.gap || tokens_[0] == MOSHI_TOKEN_NONE ? output_.SendGap(pts, frame_)
                                                     : output_.SendFrame(pts, frame_, tokens_, heads_);
  return flow == GST_FLOW_OK ? Settle() : flow;
}

Conversation::Pending Conversation::BeyondEnd() {
  Pending entry;
  entry.pts = next_;
  entry.beyond = true;
  return entry;
}

// Brings out the frames that the model still holds back. What it says to the silence that this takes is left out.
GstFlowReturn Conversation::DrainLag() {
  GstFlowReturn flow = GST_FLOW_OK;
  if (!begun_) return flow;
  for (gint i = 0; i < lm_.lag() && flow == GST_FLOW_OK; ++i) flow = Step(nullptr, BeyondEnd());
  std::erase_if(pending_, [](const Pending& entry) { return entry.beyond; });
  skip_ = lm_.lag();
  return flow;
}

bool Conversation::Translates() { return model_.facts().lm.type == "hibiki"; }

// A translation goes on after its input: it is told of the end, and says itself when it is done.
GstFlowReturn Conversation::Translate() {
  if (!begun_) return GST_FLOW_OK;
  const std::vector<int32_t> end(lm_.user_streams, lm_.cardinality);
  GstFlowReturn flow = Step(end.data(), BeyondEnd());
  const GstClockTime most = eos_max_duration_;
  gint steps = 1;
  for (GstClockTime time = frame_; flow == GST_FLOW_OK && (time < most || steps < lm_.lag()); time += frame_, ++steps) {
    if (lm_.text_eos >= 0 && tokens_[0] == lm_.text_eos) break;
    flow = Step(nullptr, BeyondEnd());
  }
  return flow;
}

// Ends the conversation: the next frame begins another.
void Conversation::Abandon() {
  for (Pending& entry : std::exchange(pending_, {})) {
    if (entry.event)
      output_.Forward(std::move(entry.event));
    else if (!entry.beyond)
      output_.SendGap(entry.pts, frame_);
  }
  begun_ = false;
  output_.Flush();
}

}  // namespace gstmoshi

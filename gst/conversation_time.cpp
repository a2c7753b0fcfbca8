// SPDX-License-Identifier: MIT
// Late input, and what is counted.
#include <algorithm>

#include "conversation.h"
#include "moshilm.h"
#include "notices.h"

#define GST_CAT_DEFAULT moshilm_debug

namespace gstmoshi {
namespace {

/** Steps after which their times are worth a warning. */
constexpr gsize kEnoughSteps = 25;

}  // namespace

LatePolicy Conversation::policy_now() const {
  const LatePolicy policy = policy_;
  if (policy != LatePolicy::kAuto) return policy;
  return live_ ? LatePolicy::kDrop : LatePolicy::kWait;
}

// How long ago a step of this frame should have begun; nothing if time does not matter.
std::optional<GstClockTimeDiff> Conversation::Lateness(GstClockTime pts) {
  const GstClockTime latency = pipeline_latency_;
  if (!live_ || !GST_CLOCK_TIME_IS_VALID(pts) || !GST_CLOCK_TIME_IS_VALID(latency)) return std::nullopt;
  const GstClockTime running = gst_segment_to_running_time(&segment_, GST_FORMAT_TIME, pts);
  if (!GST_CLOCK_TIME_IS_VALID(running)) return std::nullopt;
  GST_OBJECT_LOCK(element_);
  const bool playing = GST_STATE(element_) == GST_STATE_PLAYING;
  ClockPtr clock(GST_ELEMENT_CLOCK(element_) != nullptr ? GST_CLOCK(gst_object_ref(GST_ELEMENT_CLOCK(element_)))
                                                        : nullptr);
  const GstClockTime base = GST_ELEMENT(element_)->base_time;
  GST_OBJECT_UNLOCK(element_);
  if (!playing || !clock) return std::nullopt;
  return GST_CLOCK_DIFF(base + running + latency, gst_clock_get_time(clock.get()));
}

/**
 * Frames that came too late. Where the model is fast enough to catch up, silence is stepped in their place, so that it
 * knows how much time has passed; where it is not, that would make the next ones late too.
 */
GstFlowReturn Conversation::StepOver(GstClockTime pts, guint64 frames) {
  guint64 processed, dropped;
  bool keeps_up;
  {
    std::lock_guard lock(mutex_);
    dropped_ += frames;
    processed = steps_;
    dropped = dropped_;
    keeps_up = 2 * times_.Percentile(0.5) < frame_;
  }
  PostDropped(element_, segment_, pts, frames * frame_, processed, dropped);
  jump_ = true;
  GstFlowReturn flow = Begin();
  for (guint64 i = 0; i < frames && flow == GST_FLOW_OK; ++i) {
    Pending entry;
    entry.pts = pts + i * frame_;
    entry.gap = true;
    entry.stepped = keeps_up;
    flow = keeps_up ? Step(nullptr, std::move(entry)) : Add(std::move(entry));
  }
  return flow;
}

void Conversation::Slip(GstClockTimeDiff late) {
  GstClockTime slip;
  {
    std::lock_guard lock(mutex_);
    if (late <= static_cast<GstClockTimeDiff>(slip_)) return;
    slip_ = static_cast<GstClockTime>(late);
    if (slip_ < slip_told_ + frame_) return;
    slip = slip_told_ = slip_;
  }
  GST_INFO_OBJECT(element_, "the output is now %" GST_TIME_FORMAT " late", GST_TIME_ARGS(slip));
  gst_element_post_message(
      element_, gst_message_new_element(GST_OBJECT(element_),
                                        gst_structure_new("moshi-slip", "slip", G_TYPE_UINT64, slip, nullptr)));
}

void Conversation::CountInput(guint64 frames) {
  std::lock_guard lock(mutex_);
  frames_in_ += frames;
}

void Conversation::CountStep(GstClockTime time) {
  GstClockTime typical;
  {
    std::lock_guard lock(mutex_);
    ++steps_;
    times_.Add(time);
    if (time > frame_) ++misses_;
    if (!live_ || warned_ || times_.count() < kEnoughSteps) return;
    typical = times_.Percentile(0.5);
  }
  if (typical <= frame_) return;
  warned_ = true;
  GST_ELEMENT_WARNING(
      element_, CORE, CLOCK,
      ("The model is too slow to talk in real time: a step takes %" G_GUINT64_FORMAT
       " ms and a frame lasts %" G_GUINT64_FORMAT " ms. Use a smaller model, a faster precision or another machine.",
       typical / GST_MSECOND, frame_ / GST_MSECOND),
      ("late-policy says what becomes of late input; stats tells more"));
}

void Conversation::RequestReset() {
  std::lock_guard lock(mutex_);
  reset_wanted_ = true;
  forced_.clear();
}

void Conversation::ForceText(const std::vector<int32_t>& tokens) {
  std::lock_guard lock(mutex_);
  forced_.insert(forced_.end(), tokens.begin(), tokens.end());
}

int32_t Conversation::NextForced() {
  std::lock_guard lock(mutex_);
  if (forced_.empty()) return MOSHI_TOKEN_GENERATE;
  const int32_t token = forced_.front();
  forced_.pop_front();
  return token;
}

void Conversation::AddStats(GstStructure* stats) {
  const SessionCounters counters = session_.counters();
  std::lock_guard lock(mutex_);
  gst_structure_set(stats, "steps", G_TYPE_UINT64, steps_, "frames-in", G_TYPE_UINT64, frames_in_, "frames-out",
                    G_TYPE_UINT64, output_.frames(), "dropped-frames", G_TYPE_UINT64, dropped_, "deadline-misses",
                    G_TYPE_UINT64, misses_, "step-time-p50", G_TYPE_UINT64, times_.Percentile(0.5), "step-time-p99",
                    G_TYPE_UINT64, times_.Percentile(0.99), "wait-time", G_TYPE_UINT64, counters.wait, "run-time",
                    G_TYPE_UINT64, counters.run, "max-run-time", G_TYPE_UINT64, counters.run_max, "resets",
                    G_TYPE_UINT64, counters.resets, "input-frames", G_TYPE_UINT64, guint64{input_.frames()}, "slip",
                    G_TYPE_UINT64, slip_, "seed", G_TYPE_INT64, seed_, nullptr);
}

}  // namespace gstmoshi

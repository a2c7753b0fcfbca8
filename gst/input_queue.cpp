// SPDX-License-Identifier: MIT
#include "input_queue.h"

#include <algorithm>

namespace gstmoshi {
namespace {

bool TakesRoom(const Input& input) { return input.kind == Input::Kind::kCodes || input.kind == Input::Kind::kSilence; }

}  // namespace

void InputQueue::Start() {
  std::lock_guard lock(mutex_);
  inputs_.clear();
  frames_ = 0;
  stopped_ = flushing_ = idle_ = false;
  refusal_ = GST_FLOW_OK;
  told_ = ended_ = false;
}

void InputQueue::Stop() {
  std::lock_guard lock(mutex_);
  stopped_ = true;
  changed_.notify_all();
}

GstFlowReturn InputQueue::Push(Input input, bool drop) {
  std::unique_lock lock(mutex_);
  const bool takes_room = TakesRoom(input);
  auto refused = [this] { return stopped_ || flushing_ || refusal_ != GST_FLOW_OK; };
  if (takes_room && frames_ >= kInputFrames) {
    if (drop)
      DropOldest();
    else
      changed_.wait(lock, [&] { return refused() || frames_ < kInputFrames; });
  }
  if (stopped_ || flushing_) return GST_FLOW_FLUSHING;
  // The end and what precedes it reach downstream even after an error.
  if (takes_room && refusal_ != GST_FLOW_OK) {
    told_ = true;
    return refusal_;
  }
  if (takes_room) ++frames_;
  if (input.event && GST_EVENT_TYPE(input.event.get()) == GST_EVENT_EOS) ended_ = true;
  if (input.event && GST_EVENT_TYPE(input.event.get()) == GST_EVENT_STREAM_START) ended_ = false;
  inputs_.push_back(std::move(input));
  changed_.notify_all();
  return GST_FLOW_OK;
}

// The run of dropped frames stays one entry, however long nobody takes it.
void InputQueue::DropOldest() {
  const auto oldest = std::find_if(inputs_.begin(), inputs_.end(), TakesRoom);
  oldest->kind = Input::Kind::kDropped;
  oldest->tokens.clear();
  --frames_;
  if (oldest == inputs_.begin() || std::prev(oldest)->kind != Input::Kind::kDropped) return;
  std::prev(oldest)->frames += oldest->frames;
  inputs_.erase(oldest);
}

bool InputQueue::Refuse(GstFlowReturn flow) {
  std::lock_guard lock(mutex_);
  if (flow != refusal_) told_ = false;
  refusal_ = flow;
  changed_.notify_all();
  return !ended_;
}

GstFlowReturn InputQueue::Untold() {
  std::lock_guard lock(mutex_);
  return told_ ? GST_FLOW_OK : refusal_;
}

std::optional<Input> InputQueue::Pop() {
  std::unique_lock lock(mutex_);
  idle_ = true;
  changed_.notify_all();
  changed_.wait(lock, [this] { return stopped_ || (!flushing_ && !inputs_.empty()); });
  if (stopped_) return std::nullopt;
  idle_ = false;
  Input input = std::move(inputs_.front());
  inputs_.pop_front();
  if (TakesRoom(input)) --frames_;
  changed_.notify_all();
  return input;
}

bool InputQueue::TakeBefore(GstClockTime time) {
  std::lock_guard lock(mutex_);
  if (inputs_.empty() || inputs_.front().kind != Input::Kind::kCodes || inputs_.front().pts >= time) return false;
  inputs_.pop_front();
  --frames_;
  changed_.notify_all();
  return true;
}

void InputQueue::PutBack(Input input) {
  std::lock_guard lock(mutex_);
  if (flushing_ && (input.kind != Input::Kind::kEvent || !OutlivesFlush(input.event.get()))) return;
  if (TakesRoom(input)) ++frames_;
  inputs_.push_front(std::move(input));
}

void InputQueue::SetFlushing(bool flushing) {
  std::lock_guard lock(mutex_);
  flushing_ = flushing;
  if (flushing) {
    std::erase_if(inputs_, [](const Input& input) { return !input.event || !OutlivesFlush(input.event.get()); });
    frames_ = 0;
    ended_ = false;
  }
  changed_.notify_all();
}

void InputQueue::WaitIdle() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return idle_; });
}

guint InputQueue::frames() {
  std::lock_guard lock(mutex_);
  return frames_;
}

}  // namespace gstmoshi

// SPDX-License-Identifier: MIT
#include "source_pad.h"

namespace gstmoshi {

bool SourcePad::Push(BufferPtr buffer) { return Enqueue(GST_MINI_OBJECT_CAST(buffer.release()), true); }

bool SourcePad::Push(EventPtr event) {
  const bool gap = GST_EVENT_TYPE(event.get()) == GST_EVENT_GAP;
  return Enqueue(GST_MINI_OBJECT_CAST(event.release()), gap);
}

bool SourcePad::Enqueue(GstMiniObject* object, bool frame) {
  std::unique_lock lock(mutex_);
  if (frame) changed_.wait(lock, [this] { return flushing_ || frames_ < kOutputFrames; });
  items_.push_back({object, frame});
  frames_ += frame;
  if (flushing_) {
    lock.unlock();
    Empty();
    return false;
  }
  changed_.notify_all();
  return true;
}

bool SourcePad::ReconfigureBegins() {
  if (!gst_pad_needs_reconfigure(pad_)) return false;
  stale_ = true;
  gst_pad_check_reconfigure(pad_);
  return true;
}

bool SourcePad::Activate(bool active) {
  stale_ = false;
  {
    std::lock_guard lock(task_mutex_);
    active_ = active;
  }
  if (active) {
    StopFlush();
    return true;
  }
  StartFlush();
  const bool stopped = gst_pad_stop_task(pad_);
  Empty();
  return stopped;
}

void SourcePad::StartFlush() {
  std::lock_guard lock(mutex_);
  flushing_ = true;
  changed_.notify_all();
}

void SourcePad::EmptyForFlush() {
  gst_pad_pause_task(pad_);
  Empty();
}

// A flush may end while the pad is being deactivated.
void SourcePad::StopFlush() {
  std::lock_guard task_lock(task_mutex_);
  if (!active_) return;
  {
    std::lock_guard lock(mutex_);
    flushing_ = false;
  }
  gst_pad_start_task(pad_, &SourcePad::Loop, this, nullptr);
}

// What describes the stream stays with the pad, which sends it before the next buffer.
void SourcePad::Empty() {
  std::deque<Item> items;
  {
    std::lock_guard lock(mutex_);
    items.swap(items_);
    frames_ = 0;
  }
  for (const Item& item : items) {
    if (GST_IS_EVENT(item.object) && OutlivesFlush(GST_EVENT_CAST(item.object)))
      gst_pad_store_sticky_event(pad_, GST_EVENT_CAST(item.object));
    gst_mini_object_unref(item.object);
  }
}

void SourcePad::Loop(gpointer user) {
  auto* self = static_cast<SourcePad*>(user);
  GstMiniObject* object;
  {
    std::unique_lock lock(self->mutex_);
    self->changed_.wait(lock, [self] { return self->flushing_ || !self->items_.empty(); });
    if (self->flushing_) {
      lock.unlock();
      gst_pad_pause_task(self->pad_);
      return;
    }
    object = self->items_.front().object;
    self->frames_ -= self->items_.front().frame;
    self->items_.pop_front();
    self->changed_.notify_all();
  }
  self->Send(object);
}

void SourcePad::Send(GstMiniObject* object) {
  if (GST_IS_BUFFER(object)) {
    GstFlowReturn flow = gst_pad_push(pad_, GST_BUFFER_CAST(object));
    if (flow == GST_FLOW_NOT_NEGOTIATED && (gst_pad_needs_reconfigure(pad_) || stale_)) flow = GST_FLOW_OK;
    told_(pad_, flow);
    return;
  }
  GstEvent* event = GST_EVENT_CAST(object);
  const bool gap = GST_EVENT_TYPE(event) == GST_EVENT_GAP;
  if (GST_EVENT_TYPE(event) == GST_EVENT_CAPS) stale_ = false;
  const bool taken = gst_pad_push_event(pad_, event);
  if (!gap) return;
  if (!gst_pad_is_linked(pad_))
    told_(pad_, GST_FLOW_NOT_LINKED);
  else if (taken)
    told_(pad_, GST_FLOW_OK);
}

guint SourcePad::frames() {
  std::lock_guard lock(mutex_);
  return frames_;
}

}  // namespace gstmoshi

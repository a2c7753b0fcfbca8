// SPDX-License-Identifier: MIT
// Owners for GLib and GStreamer objects. `release()` hands the reference to calls that take it (transfer full).
#pragma once

#include <gst/gst.h>

#include <memory>

namespace gstmoshi {

struct Release {
  void operator()(GstCaps* caps) const { gst_caps_unref(caps); }
  void operator()(GstBuffer* buffer) const { gst_buffer_unref(buffer); }
  void operator()(GstEvent* event) const { gst_event_unref(event); }
  void operator()(GstQuery* query) const { gst_query_unref(query); }
  void operator()(GstTagList* tags) const { gst_tag_list_unref(tags); }
  void operator()(GMappedFile* file) const { g_mapped_file_unref(file); }
  void operator()(GstStructure* structure) const { gst_structure_free(structure); }
  void operator()(GstClock* clock) const { gst_object_unref(clock); }
  void operator()(char* text) const { g_free(text); }
};

using CapsPtr = std::unique_ptr<GstCaps, Release>;
using BufferPtr = std::unique_ptr<GstBuffer, Release>;
using EventPtr = std::unique_ptr<GstEvent, Release>;
using QueryPtr = std::unique_ptr<GstQuery, Release>;
using TagListPtr = std::unique_ptr<GstTagList, Release>;
using MappedFilePtr = std::unique_ptr<GMappedFile, Release>;
using StructurePtr = std::unique_ptr<GstStructure, Release>;
using ClockPtr = std::unique_ptr<GstClock, Release>;
using StringPtr = std::unique_ptr<char, Release>;

/** GST_EVENT_IS_SERIALIZED, which mixes enumerations in a way that C++20 deprecates. */
inline bool IsSerialized(GstEvent* event) {
  return (gst_event_type_get_flags(GST_EVENT_TYPE(event)) & GST_EVENT_TYPE_SERIALIZED) != 0;
}

/** GST_EVENT_IS_STICKY, likewise. */
inline bool IsSticky(GstEvent* event) {
  return (gst_event_type_get_flags(GST_EVENT_TYPE(event)) & GST_EVENT_TYPE_STICKY) != 0;
}
/** Whether the event still describes the stream after a flush. */
inline bool OutlivesFlush(GstEvent* event) {
  return IsSticky(event) && GST_EVENT_TYPE(event) != GST_EVENT_SEGMENT && GST_EVENT_TYPE(event) != GST_EVENT_EOS;
}

/** A buffer's bytes in one piece, for as long as it lives. */
class BufferMap {
 public:
  BufferMap(GstBuffer* buffer, GstMapFlags flags) : buffer_(buffer), mapped_(gst_buffer_map(buffer, &info_, flags)) {}
  ~BufferMap() {
    if (mapped_) gst_buffer_unmap(buffer_, &info_);
  }
  BufferMap(const BufferMap&) = delete;
  BufferMap& operator=(const BufferMap&) = delete;

  explicit operator bool() const { return mapped_; }
  guint8* data() const { return info_.data; }
  gsize size() const { return info_.size; }

 private:
  GstBuffer* buffer_;
  GstMapInfo info_ = GST_MAP_INFO_INIT;
  bool mapped_;
};

}  // namespace gstmoshi

// SPDX-License-Identifier: MIT
// Owners of GStreamer objects.
#pragma once

#include <gst/check/gstcheck.h>
#include <gst/check/gstharness.h>

// The macro would replace std::ios::fail() in the standard library's headers.
#undef fail
#define fail_test(...) ck_abort_msg(__VA_ARGS__)

#include <memory>

namespace check {

struct Free {
  void operator()(GstHarness* h) const { gst_harness_teardown(h); }
  void operator()(GstBuffer* b) const { gst_buffer_unref(b); }
  void operator()(GstCaps* c) const { gst_caps_unref(c); }
  void operator()(GstEvent* e) const { gst_event_unref(e); }
  void operator()(GstQuery* q) const { gst_query_unref(q); }
  void operator()(GstMessage* m) const { gst_message_unref(m); }
  void operator()(GstStructure* s) const { gst_structure_free(s); }
  void operator()(GstTagList* t) const { gst_tag_list_unref(t); }
  void operator()(GstBus* o) const { gst_object_unref(o); }
  void operator()(GstPad* o) const { gst_object_unref(o); }
  void operator()(GError* e) const { g_error_free(e); }
  void operator()(char* s) const { g_free(s); }
  /** An element that a test owns goes to NULL first. */
  void operator()(GstElement* o) const {
    gst_element_set_state(o, GST_STATE_NULL);
    gst_object_unref(o);
  }
};

template <typename T>
using Own = std::unique_ptr<T, Free>;

using Harness = Own<GstHarness>;
using Buffer = Own<GstBuffer>;
using Caps = Own<GstCaps>;
using Event = Own<GstEvent>;
using Query = Own<GstQuery>;
using Message = Own<GstMessage>;
using Structure = Own<GstStructure>;
using Tags = Own<GstTagList>;
using Bus = Own<GstBus>;
using Pad = Own<GstPad>;
using Error = Own<GError>;
using Text = Own<char>;
using Element = Own<GstElement>;

}  // namespace check

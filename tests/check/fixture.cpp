// SPDX-License-Identifier: MIT
// Before and after every test: a fresh fake core, and nothing left over in it or in GStreamer.
#include <map>

#include "support.h"

namespace check {
namespace {

// The leaks tracer, if GST_TRACERS asks for it. Owned by the caller.
GstTracer* LeaksTracer() {
  GList* tracers = gst_tracing_get_active_tracers();
  GstTracer* leaks = nullptr;
  for (GList* entry = tracers; entry != nullptr; entry = entry->next) {
    auto* tracer = GST_TRACER(entry->data);
    if (g_str_equal(G_OBJECT_TYPE_NAME(tracer), "GstLeaksTracer") && leaks == nullptr)
      leaks = tracer;
    else
      gst_object_unref(tracer);
  }
  g_list_free(tracers);
  return leaks;
}

using Objects = std::map<const void*, std::string>;

void Add(Objects& objects, const GstStructure* entry) {
  const GValue* value = gst_structure_get_value(entry, "object");
  if (value == nullptr) return;
  const void* pointer = G_VALUE_HOLDS_OBJECT(value) ? g_value_get_object(value) : g_value_get_boxed(value);
  Text text(gst_info_strdup_printf("%s %" GST_PTR_FORMAT, G_VALUE_TYPE_NAME(value), pointer));
  objects[pointer] = text.get();
}

// GStreamer's objects that are alive; empty without the tracer.
Objects LiveObjects() {
  Objects objects;
  GstTracer* tracer = LeaksTracer();
  if (tracer == nullptr) return objects;
  GstStructure* raw = nullptr;
  g_signal_emit_by_name(tracer, "get-live-objects", &raw);
  gst_object_unref(tracer);
  // The list takes over a reference that nobody gave it; freeing it would unref objects that are in use.
  const GValue* list = raw != nullptr ? gst_structure_get_value(raw, "live-objects-list") : nullptr;
  for (guint i = 0; list != nullptr && i < gst_value_list_get_size(list); ++i)
    Add(objects, gst_value_get_structure(gst_value_list_get_value(list, i)));
  return objects;
}

Objects alive_before;

void Begin() {
  BeginWithFake();
  alive_before = LiveObjects();
}

void End() {
  gst_task_cleanup_all();
  SettleFake();
  const MoshiFakeStats left = Counts();
  fail_unless_equals_int64(left.sessions, 0);
  fail_unless_equals_int64(left.engines, 0);
  fail_unless_equals_int64(left.models, 0);
  fail_unless_equals_int64(left.buffers, 0);
  fail_unless_equals_int64(left.threads, 0);
  fail_unless_equals_int64(left.misuse, 0);
  std::string leaked;
  for (const auto& [pointer, text] : LiveObjects())
    if (!alive_before.contains(pointer)) leaked += "  " + text + "\n";
  alive_before.clear();
  fail_unless(leaked.empty(), "still alive:\n%.2000s", leaked.c_str());
}

}  // namespace

TCase* AddCase(Suite* suite, const char* name) {
  TCase* tcase = tcase_create(name);
  tcase_add_checked_fixture(tcase, Begin, End);
  suite_add_tcase(suite, tcase);
  return tcase;
}

}  // namespace check

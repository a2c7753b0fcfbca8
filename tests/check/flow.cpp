// SPDX-License-Identifier: MIT
// What downstream returns, and properties set from other threads (behaviors 20 and 21).
#include <atomic>
#include <thread>

#include "support.h"

using namespace check;

namespace {

struct Case {
  const char* factory;
  std::string caps;
  Buffer Data(int frame) const {
    return factory[4] == 'e' ? F32(Sound(kFrameSamples), FrameTime(frame))
                             : Frames(SomeCodes(1, 8), 8, FrameTime(frame));
  }
};

const Case kCases[] = {{"mimienc", kF32}, {"mimidec", CodesCaps(8)}, {"mimiparse", CodesCaps(8)}};

// Downstream of the element answers every buffer with this.
class Answer {
 public:
  Answer(GstElement* element, GstFlowReturn flow) : pad_(gst_element_get_static_pad(element, "src")), flow_(flow) {
    probe_ = gst_pad_add_probe(
        pad_.get(), GST_PAD_PROBE_TYPE_BUFFER,
        [](GstPad*, GstPadProbeInfo* info, gpointer self) {
          gst_buffer_unref(GST_PAD_PROBE_INFO_BUFFER(info));
          info->data = nullptr;
          GST_PAD_PROBE_INFO_FLOW_RETURN(info) = static_cast<Answer*>(self)->flow_;
          return GST_PAD_PROBE_HANDLED;
        },
        this, nullptr);
  }
  ~Answer() { gst_pad_remove_probe(pad_.get(), probe_); }
  Answer(const Answer&) = delete;
  Answer& operator=(const Answer&) = delete;

 private:
  Pad pad_;
  GstFlowReturn flow_;
  gulong probe_;
};

GST_START_TEST(test_20_flow_returns_go_upstream_without_an_error_of_our_own) {
  for (const Case& c : kCases) {
    for (GstFlowReturn flow :
         {GST_FLOW_FLUSHING, GST_FLOW_NOT_LINKED, GST_FLOW_EOS, GST_FLOW_ERROR, GST_FLOW_NOT_NEGOTIATED}) {
      Rig rig(c.factory, "", c.caps.c_str());
      Answer answer(rig.element(), flow);
      // An element that holds a frame back learns of it one push later.
      GstFlowReturn got = GST_FLOW_OK;
      for (int f = 0; f < 3 && got == GST_FLOW_OK; ++f) got = rig.Push(c.Data(f));
      fail_unless(got == flow, "%s returned %s for %s", c.factory, gst_flow_get_name(got), gst_flow_get_name(flow));
      fail_unless(PopMessage(rig.bus.get(), GST_MESSAGE_ERROR) == nullptr, "%s posted an error for %s", c.factory,
                  gst_flow_get_name(flow));
    }
  }
}
GST_END_TEST;

GST_START_TEST(test_20_the_element_goes_on_after_downstream_has_recovered) {
  for (const Case& c : kCases) {
    Rig rig(c.factory, "", c.caps.c_str());
    {
      Answer answer(rig.element(), GST_FLOW_NOT_LINKED);
      rig.Push(c.Data(0));
    }
    rig.Flush();
    rig.Take();
    fail_unless_equals_int(rig.Push(c.Data(0)), GST_FLOW_OK);
    fail_unless_equals_int(rig.Finish().size(), 1);
  }
}
GST_END_TEST;

GST_START_TEST(test_20_an_error_downstream_ends_the_pipeline_with_one_error) {
  Element pipeline = Launch(std::string("audiotestsrc ! ") + kF32 +
                            " ! mimienc ! mimidec ! identity error-after=3 ! fakesink sync=false");
  Bus bus = BusOf(pipeline);
  gst_element_set_state(pipeline.get(), GST_STATE_PLAYING);
  Message error = WaitMessage(bus.get(), GST_MESSAGE_ERROR);
  fail_unless(error != nullptr);
  fail_unless(g_str_has_prefix(GST_OBJECT_NAME(GST_MESSAGE_SRC(error.get())), "identity"));
}
GST_END_TEST;

// Runs `change` again and again on a thread of its own while `rig` is pushed `frames` frames.
template <typename Change>
void PushWhile(Rig& rig, const Case& c, int frames, Change change) {
  std::atomic<bool> stop{false};
  std::thread other([&] {
    while (!stop) {
      change();
      std::this_thread::yield();
    }
  });
  GstFlowReturn flow = GST_FLOW_OK;
  for (int f = 0; f < frames && flow == GST_FLOW_OK; ++f) flow = rig.Push(c.Data(f));
  stop = true;
  other.join();
  fail_unless_equals_int(flow, GST_FLOW_OK);
}

GST_START_TEST(test_21_codebooks_and_latency_are_set_while_playing) {
  Rig rig("mimienc", "", kF32);
  int value = 1;
  PushWhile(rig, kCases[0], 200, [&] {
    value = value % 32 + 1;
    g_object_set(rig.element(), "codebooks", value, "processing-latency", gint64{value * 1000}, nullptr);
  });
  std::vector<Buffer> out = rig.Finish();
  fail_unless_equals_int(out.size(), 200);
  fail_unless_times(out, 0);
  ExpectNoTrouble(rig.bus.get());
}
GST_END_TEST;

GST_START_TEST(test_21_every_property_is_read_while_playing) {
  for (int i = 0; i < 2; ++i) {
    const Case& c = kCases[i];
    Rig rig(c.factory, "", c.caps.c_str());
    guint count = 0;
    GParamSpec** specs = g_object_class_list_properties(G_OBJECT_GET_CLASS(rig.element()), &count);
    PushWhile(rig, c, 200, [&] {
      for (guint p = 0; p < count; ++p) {
        if ((specs[p]->flags & G_PARAM_READABLE) == 0) continue;
        GValue value = G_VALUE_INIT;
        g_object_get_property(G_OBJECT(rig.element()), specs[p]->name, &value);
        g_value_unset(&value);
      }
    });
    g_free(specs);
    fail_unless_equals_int(rig.Finish().size(), 200);
  }
}
GST_END_TEST;

GST_START_TEST(test_21_the_model_cannot_change_while_playing) {
  for (int i = 0; i < 2; ++i) {
    const Case& c = kCases[i];
    Rig rig(c.factory, "", c.caps.c_str());
    PushWhile(rig, c, 50,
              [&] { g_object_set(rig.element(), "model", "/does/not/exist", "device", "cpu", "threads", 2, nullptr); });
    fail_unless_equals_int(rig.Finish().size(), 50);
    fail_unless(PopMessage(rig.bus.get(), GST_MESSAGE_ERROR) == nullptr);
    fail_unless_equals_int64(Counts().loads_started, i + 1);
    rig.harness.reset();
    SettleFake();
  }
}
GST_END_TEST;

GST_START_TEST(test_21_queries_and_states_from_other_threads) {
  Element pipeline =
      Launch(std::string("audiotestsrc ! ") + kF32 + " ! mimienc name=enc ! mimidec name=dec ! fakesink sync=false");
  std::atomic<bool> stop{false};
  std::thread asking([&] {
    while (!stop) {
      for (const char* name : {"enc", "dec"}) {
        GstElement* element = gst_bin_get_by_name(GST_BIN(pipeline.get()), name);
        GstStructure* stats = nullptr;
        GstStructure* info = nullptr;
        g_object_get(element, "stats", &stats, "model-info", &info, nullptr);
        Structure own_stats(stats), own_info(info);
        Query latency(gst_query_new_latency());
        gst_element_query(element, latency.get());
        Pad sink(gst_element_get_static_pad(element, "sink"));
        Caps caps(gst_pad_query_caps(sink.get(), nullptr));
        gst_object_unref(element);
      }
    }
  });
  for (int i = 0; i < 40; ++i) {
    gst_element_set_state(pipeline.get(), GST_STATE_PLAYING);
    g_usleep(1000 * (i % 4));
    gst_element_set_state(pipeline.get(), i % 2 == 0 ? GST_STATE_READY : GST_STATE_NULL);
  }
  stop = true;
  asking.join();
  Bus bus = BusOf(pipeline);
  ExpectNoTrouble(bus.get());
}
GST_END_TEST;

// States, data, flushes and properties from one thread each, for a while: nothing hangs, nothing is left over.
GST_START_TEST(test_21_everything_at_once) {
  for (int i = 0; i < 2; ++i) {
    const Case& c = kCases[i];
    Rig rig(c.factory, "", c.caps.c_str());
    GstHarness* h = rig.harness.get();
    Caps caps(gst_caps_from_string(c.caps.c_str()));
    GstSegment segment;
    gst_segment_init(&segment, GST_FORMAT_TIME);
    Buffer data = c.Data(0);
    Event flush(gst_event_new_flush_start());
    GValue latency = G_VALUE_INIT;
    g_value_init(&latency, G_TYPE_INT64);
    g_value_set_int64(&latency, 1000);
    gst_harness_set_drop_buffers(h, TRUE);
    const int64_t before = Counts().jobs_submitted;
    std::vector<GstHarnessThread*> threads;
    threads.push_back(gst_harness_stress_push_buffer_start(h, caps.get(), &segment, data.get()));
    // The harness insists that its first events get through.
    WaitForAtLeast(&MoshiFakeStats::jobs_submitted, before + 3);
    threads.push_back(gst_harness_stress_statechange_start(h));
    threads.push_back(gst_harness_stress_push_event_start(h, flush.get()));
    threads.push_back(gst_harness_stress_property_start(h, "processing-latency", &latency));
    g_usleep(300 * 1000);
    for (GstHarnessThread* thread : threads) gst_harness_stress_thread_stop(thread);
    g_value_unset(&latency);
    fail_unless(PopMessage(rig.bus.get(), GST_MESSAGE_ERROR) == nullptr);
  }
}
GST_END_TEST;

GST_START_TEST(test_21_stats_count_the_frames) {
  Rig rig("mimienc", "", kF32);
  fail_unless_equals_int(rig.Push(F32(Sound(7 * kFrameSamples), 0)), GST_FLOW_OK);
  rig.Finish();
  fail_unless_equals_uint64(StatOf(rig, "frames"), 7);
}
GST_END_TEST;

Suite* flow_suite() {
  Suite* suite = suite_create("flow");
  TCase* tcase = AddCase(suite, "flow");
  tcase_add_test(tcase, test_20_flow_returns_go_upstream_without_an_error_of_our_own);
  tcase_add_test(tcase, test_20_the_element_goes_on_after_downstream_has_recovered);
  tcase_add_test(tcase, test_20_an_error_downstream_ends_the_pipeline_with_one_error);
  tcase_add_test(tcase, test_21_codebooks_and_latency_are_set_while_playing);
  tcase_add_test(tcase, test_21_every_property_is_read_while_playing);
  tcase_add_test(tcase, test_21_the_model_cannot_change_while_playing);
  tcase_add_test(tcase, test_21_queries_and_states_from_other_threads);
  tcase_add_test(tcase, test_21_everything_at_once);
  tcase_add_test(tcase, test_21_stats_count_the_frames);
  return suite;
}

}  // namespace

GST_CHECK_MAIN(flow)

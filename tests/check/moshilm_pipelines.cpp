// SPDX-License-Identifier: MIT
// Whole pipelines with moshilm (behaviors 12, 15, 29, 32, 35, 46, 47, 48).
#include <unistd.h>

#include <fstream>
#include <thread>

#include "recorder.h"

using namespace check;

namespace {

constexpr char kSound[] = "audio/x-raw,format=S16LE,rate=24000,channels=1";

std::string Source(int frames, bool live = false) {
  return std::string("audiotestsrc samplesperbuffer=1920 num-buffers=") + std::to_string(frames) +
         (live ? " is-live=true" : "") + " ! " + kSound + " ! mimienc ! ";
}

GstElement* ChildOf(const Element& pipeline, const char* name) {
  return gst_bin_get_by_name(GST_BIN(pipeline.get()), name);
}

int64_t StatOfChild(const Element& pipeline, const char* child, const char* field) {
  GstElement* element = ChildOf(pipeline, child);
  GstStructure* raw = nullptr;
  g_object_get(element, "stats", &raw, nullptr);
  gst_object_unref(element);
  const Structure stats(raw);
  return FieldOf(stats.get(), field);
}

GST_START_TEST(test_35_two_sinks_preroll_without_a_queue) {
  for (int delay : {1, 2}) {
    BeginWithFake();
    Knob("LM_DELAY", delay);
    Element pipeline = Launch(Source(60) + "moshilm name=lm ! mimidec ! fakesink lm.text_src ! fakesink");
    gst_element_set_state(pipeline.get(), GST_STATE_PAUSED);
    fail_unless_equals_int(gst_element_get_state(pipeline.get(), nullptr, nullptr, 15 * GST_SECOND),
                           GST_STATE_CHANGE_SUCCESS);
    PlayToEnd(pipeline);
  }
}
GST_END_TEST;

GST_START_TEST(test_46_an_hour_of_fast_input_in_flat_memory) {
  // Resident memory after a tenth of it and at its end.
  auto resident = [] {
    std::ifstream file("/proc/self/statm");
    int64_t size = 0, pages = 0;
    file >> size >> pages;
    return pages * sysconf(_SC_PAGESIZE);
  };
  LmRig rig({.properties = "sampling=false", .link_text = false});
  constexpr int kHour = 45000;
  const Codes user = SomeCodes(1, 8);
  int64_t early = 0;
  for (int frame = 0; frame < kHour; ++frame) {
    fail_unless_equals_int(rig.Push(Frames(user, 8, FrameTime(frame))), GST_FLOW_OK);
    if (frame % 1000 != 0) continue;
    rig.audio->Forget();
    if (frame == kHour / 10) early = resident();
  }
  rig.Finish();
  fail_unless_equals_int64(rig.Stat("frames-out"), kHour);
  fail_unless(resident() - early < 16 << 20, "%ld bytes more", static_cast<long>(resident() - early));
}
GST_END_TEST;

GST_START_TEST(test_47_a_live_pipeline_keeps_time) {
  Knob("LM_DELAY", 2);
  Knob("PROCESSING_US", 5000);
  Element pipeline =
      Launch(Source(25, true) +
             "moshilm name=lm late-policy=drop processing-latency=1000000000 ! mimidec ! fakesink sync=true name=sink "
             "lm.text_src ! fakesink sync=true");
  Bus bus = BusOf(pipeline);
  gst_element_set_state(pipeline.get(), GST_STATE_PLAYING);
  Message end = WaitMessage(bus.get(), GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  fail_unless(end != nullptr && GST_MESSAGE_TYPE(end.get()) == GST_MESSAGE_EOS);
  Query query(gst_query_new_latency());
  fail_unless(gst_element_query(pipeline.get(), query.get()));
  gboolean live;
  GstClockTime min, max;
  gst_query_parse_latency(query.get(), &live, &min, &max);
  fail_unless(live);
  // A frame in mimienc, one that the model holds back, a second of its processing and that of the other two.
  fail_unless(min >= kFrame + kFrame + GST_SECOND + 10 * GST_MSECOND, "%" GST_TIME_FORMAT, GST_TIME_ARGS(min));
  fail_unless(max >= min);
  fail_unless_equals_int64(StatOfChild(pipeline, "lm", "dropped-frames"), 0);
}
GST_END_TEST;

GST_START_TEST(test_48_two_conversations_crossed_over_each_other) {
  // What one model says the other hears, through a pipeline of its own each, in one process.
  const std::string line =
      "audio/x-mimi,codebooks=8 ! moshilm name=lm sampling=false ! mimidec ! mimienc codebooks=8 ! appsink name=out "
      "sync=false lm.text_src ! fakesink async=false";
  auto run = [&](const Codes& user) {
    Element pipeline = Launch("appsrc name=in format=time caps=" + CodesCaps(8) + " ! " + line);
    GstElement* in = ChildOf(pipeline, "in");
    GstElement* out = ChildOf(pipeline, "out");
    gst_element_set_state(pipeline.get(), GST_STATE_PLAYING);
    for (size_t frame = 0; frame * 8 < user.size(); ++frame) {
      Buffer buffer = Frames(Codes(user.begin() + frame * 8, user.begin() + (frame + 1) * 8), 8, FrameTime(frame));
      GstFlowReturn flow;
      g_signal_emit_by_name(in, "push-buffer", buffer.get(), &flow);
      fail_unless_equals_int(flow, GST_FLOW_OK);
    }
    GstFlowReturn flow;
    g_signal_emit_by_name(in, "end-of-stream", &flow);
    Codes codes;
    for (;;) {
      GstSample* sample = nullptr;
      g_signal_emit_by_name(out, "pull-sample", &sample);
      if (sample == nullptr) break;
      Buffer buffer(gst_buffer_ref(gst_sample_get_buffer(sample)));
      codes = Joined(codes, CodesOf(buffer));
      gst_sample_unref(sample);
    }
    gst_object_unref(in);
    gst_object_unref(out);
    return codes;
  };
  const Codes first = SomeCodes(10, 8, 1), second = SomeCodes(10, 8, 2);
  Codes answer, crossed;
  std::thread other([&] { crossed = run(second); });
  answer = run(first);
  other.join();
  fail_unless_codes(answer, Encoded(Decoded(Answer(first).codes, 8), 8));
  fail_unless_codes(crossed, Encoded(Decoded(Answer(second).codes, 8), 8));
  const Codes back = run(answer);
  fail_unless_codes(back, Encoded(Decoded(Answer(answer).codes, 8), 8));
}
GST_END_TEST;

GST_START_TEST(test_32_it_can_be_removed_while_playing) {
  Element pipeline = Launch(Source(1000000) +
                            "tee name=tee ! queue ! fakesink tee. ! queue name=q ! "
                            "moshilm name=lm ! fakesink name=a async=false lm.text_src ! fakesink name=t async=false");
  gst_element_set_state(pipeline.get(), GST_STATE_PLAYING);
  WaitForAtLeast(&MoshiFakeStats::steps, 10);
  for (const char* name : {"q", "lm", "a", "t"}) {
    GstElement* element = ChildOf(pipeline, name);
    if (g_str_equal(name, "q")) {
      Pad sink(gst_element_get_static_pad(element, "sink"));
      Pad tee(gst_pad_get_peer(sink.get()));
      gst_pad_unlink(tee.get(), sink.get());
    }
    gst_bin_remove(GST_BIN(pipeline.get()), element);
    fail_unless_equals_int(gst_element_set_state(element, GST_STATE_NULL), GST_STATE_CHANGE_SUCCESS);
    gst_object_unref(element);
  }
  fail_unless_equals_int64(Counts().engines, 1);
  Bus bus = BusOf(pipeline);
  ExpectNoTrouble(bus.get());
}
GST_END_TEST;

GST_START_TEST(test_12_a_seek_begins_anew) {
  Element pipeline = Launch(Source(400) + "moshilm name=lm sampling=false ! fakesink name=a lm.text_src ! fakesink");
  gst_element_set_state(pipeline.get(), GST_STATE_PAUSED);
  fail_unless_equals_int(gst_element_get_state(pipeline.get(), nullptr, nullptr, 15 * GST_SECOND),
                         GST_STATE_CHANGE_SUCCESS);
  const auto flags = static_cast<GstSeekFlags>(GST_SEEK_FLAG_FLUSH | GST_SEEK_FLAG_ACCURATE);
  fail_unless(gst_element_seek_simple(pipeline.get(), GST_FORMAT_TIME, flags, 8 * GST_SECOND));
  fail_unless_equals_int(gst_element_get_state(pipeline.get(), nullptr, nullptr, 15 * GST_SECOND),
                         GST_STATE_CHANGE_SUCCESS);
  gint64 position = 0;
  fail_unless(gst_element_query_position(pipeline.get(), GST_FORMAT_TIME, &position));
  fail_unless_equals_int64(position, 8 * GST_SECOND);
  PlayToEnd(pipeline);
}
GST_END_TEST;

Suite* moshilm_pipelines_suite() {
  Suite* suite = suite_create("moshilm_pipelines");
  TCase* tcase = AddCase(suite, "pipelines");
  tcase_add_test(tcase, test_35_two_sinks_preroll_without_a_queue);
  tcase_add_test(tcase, test_46_an_hour_of_fast_input_in_flat_memory);
  tcase_add_test(tcase, test_47_a_live_pipeline_keeps_time);
  tcase_add_test(tcase, test_48_two_conversations_crossed_over_each_other);
  tcase_add_test(tcase, test_32_it_can_be_removed_while_playing);
  tcase_add_test(tcase, test_12_a_seek_begins_anew);
  return suite;
}

}  // namespace

GST_CHECK_MAIN(moshilm_pipelines)

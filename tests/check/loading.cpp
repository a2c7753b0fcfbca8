// SPDX-License-Identifier: MIT
// While a model loads: what waits, what is dropped, what is shared, what is cancelled (behaviors 2 and 9).
#include <thread>

#include "support.h"

using namespace check;

namespace {

GST_START_TEST(test_9_input_that_is_not_live_waits_for_the_model) {
  Knob("LOAD_HOLD", 1);
  Rig rig("mimienc", "", kF32);
  const Samples sound = Sound(3 * kFrameSamples);
  GstFlowReturn flow = GST_FLOW_CUSTOM_ERROR;
  std::thread pushing([&] { flow = rig.Push(F32(sound, 0)); });
  WaitFor(&MoshiFakeStats::loads_running, 1);
  Knob("LOAD_HOLD", 0);
  pushing.join();
  fail_unless_equals_int(flow, GST_FLOW_OK);
  fail_unless_codes(CodesOf(rig.Finish()), Encoded(sound, 8));
}
GST_END_TEST;

GST_START_TEST(test_9_live_input_before_the_model_is_ready_is_dropped_and_then_marked) {
  Knob("LOAD_HOLD", 1);
  Rig rig("mimienc", "");
  gst_harness_set_live(rig.harness.get(), TRUE);
  gst_harness_set_src_caps_str(rig.harness.get(), kF32);
  const Samples early = Sound(3 * kFrameSamples, 1), late = Sound(3 * kFrameSamples, 2);
  for (int f = 0; f < 3; ++f) {
    Samples frame(early.begin() + f * kFrameSamples, early.begin() + (f + 1) * kFrameSamples);
    // Returns at once, although the model is not there.
    fail_unless_equals_int(rig.Push(F32(frame, FrameTime(f))), GST_FLOW_OK);
  }
  fail_unless(rig.Take().empty());
  Knob("LOAD_HOLD", 0);
  WaitFor(&MoshiFakeStats::loads_completed, 1);
  Message complete;
  for (;;) {
    complete = WaitMessage(rig.bus.get(), GST_MESSAGE_PROGRESS);
    fail_unless(complete != nullptr);
    GstProgressType type;
    gst_message_parse_progress(complete.get(), &type, nullptr, nullptr);
    if (type == GST_PROGRESS_TYPE_COMPLETE) break;
  }
  fail_unless_equals_int(rig.Push(F32(late, FrameTime(3))), GST_FLOW_OK);
  std::vector<Buffer> out = rig.Finish();
  fail_unless_codes(CodesOf(out), Encoded(late, 8));
  fail_unless_times(out, FrameTime(3));
  fail_unless(GST_BUFFER_FLAG_IS_SET(out[0].get(), GST_BUFFER_FLAG_DISCONT));
  fail_unless_equals_uint64(StatOf(rig, "dropped"), 3);
}
GST_END_TEST;

GST_START_TEST(test_2_one_element_s_cancel_leaves_the_shared_load_to_the_other) {
  Knob("LOAD_HOLD", 1);
  Rig going("mimienc", "", kF32);
  Rig staying("mimidec", "", CodesCaps(8).c_str());
  WaitFor(&MoshiFakeStats::loads_running, 1);
  fail_unless_equals_int64(Counts().loads_started, 1);
  gst_element_set_state(going.element(), GST_STATE_NULL);
  Knob("LOAD_HOLD", 0);
  const Codes codes = SomeCodes(2, 8);
  fail_unless_equals_int(staying.Push(Frames(codes, 8, 0)), GST_FLOW_OK);
  fail_unless_samples(SamplesOf(staying.Finish()), Decoded(codes, 8));
  fail_unless_equals_int64(Counts().loads_started, 1);
}
GST_END_TEST;

GST_START_TEST(test_9_a_cancelled_load_can_be_started_again_at_once) {
  Element encoder = New("mimienc");
  Knob("LOAD_MS", 3);
  for (int i = 0; i < 40; ++i) {
    fail_unless_equals_int(gst_element_set_state(encoder.get(), GST_STATE_PAUSED), GST_STATE_CHANGE_SUCCESS);
    g_usleep(i * 150);
    fail_unless_equals_int(gst_element_set_state(encoder.get(), GST_STATE_NULL), GST_STATE_CHANGE_SUCCESS);
  }
  fail_unless_equals_int64(Counts().engines, 0);
}
GST_END_TEST;

GST_START_TEST(test_9_a_pipeline_that_loads_prerolls_when_the_model_is_there) {
  Knob("LOAD_MS", 50);
  Element pipeline =
      Launch(std::string("audiotestsrc num-buffers=20 ! ") + kF32 + " ! mimienc ! mimidec ! fakesink sync=false");
  fail_unless_equals_int(gst_element_set_state(pipeline.get(), GST_STATE_PAUSED), GST_STATE_CHANGE_ASYNC);
  PlayToEnd(pipeline);
}
GST_END_TEST;

GST_START_TEST(test_2_model_info_tells_the_model) {
  Rig rig("mimienc", "", kF32);
  fail_unless_equals_int(rig.Push(F32(Sound(kFrameSamples), 0)), GST_FLOW_OK);
  GstStructure* raw = nullptr;
  g_object_get(rig.element(), "model-info", &raw, nullptr);
  Structure info(raw);
  fail_unless(info != nullptr);
  const Text text(gst_structure_to_string(info.get()));
  fail_unless(g_strrstr(text.get(), moshi_fake::FileHash("embedded").c_str()) != nullptr, "%s", text.get());
  fail_unless(g_strrstr(text.get(), "embedded=(boolean)true") != nullptr, "%s", text.get());
  Rig named("mimienc", "model=/", kF32);
  g_object_get(named.element(), "model-info", &raw, nullptr);
  info.reset(raw);
  const Text other(gst_structure_to_string(info.get()));
  fail_unless(g_strrstr(other.get(), "embedded=(boolean)false") != nullptr, "%s", other.get());
}
GST_END_TEST;

GST_START_TEST(test_2_a_live_stream_and_a_file_are_told_apart) {
  Rig live("mimienc", "");
  gst_harness_set_live(live.harness.get(), TRUE);
  gst_harness_set_src_caps_str(live.harness.get(), kF32);
  WaitFor(&MoshiFakeStats::loads_completed, 1);
  for (int f = 0; Counts().frames_encoded == 0; ++f) {
    fail_unless_equals_int(live.Push(F32(Sound(kFrameSamples), FrameTime(f))), GST_FLOW_OK);
    g_usleep(1000);
  }
  fail_unless(Counts().live_jobs > 0);
  fail_unless_equals_int64(Counts().file_jobs, 0);
  Rig file("mimienc", "", kF32);
  fail_unless_equals_int(file.Push(F32(Sound(kFrameSamples), 0)), GST_FLOW_OK);
  file.Finish();
  fail_unless(Counts().file_jobs > 0);
}
GST_END_TEST;

Suite* loading_suite() {
  Suite* suite = suite_create("loading");
  TCase* tcase = AddCase(suite, "loading");
  tcase_add_test(tcase, test_9_input_that_is_not_live_waits_for_the_model);
  tcase_add_test(tcase, test_9_live_input_before_the_model_is_ready_is_dropped_and_then_marked);
  tcase_add_test(tcase, test_2_one_element_s_cancel_leaves_the_shared_load_to_the_other);
  tcase_add_test(tcase, test_9_a_cancelled_load_can_be_started_again_at_once);
  tcase_add_test(tcase, test_9_a_pipeline_that_loads_prerolls_when_the_model_is_there);
  tcase_add_test(tcase, test_2_model_info_tells_the_model);
  tcase_add_test(tcase, test_2_a_live_stream_and_a_file_are_told_apart);
  return suite;
}

}  // namespace

GST_CHECK_MAIN(loading)

// SPDX-License-Identifier: MIT
// Flow of data through moshilm: flushes, downstream's answers, bad input, states (behaviors 1, 8, 9, 19 to 22, 32, 45).
#include <atomic>
#include <thread>

#include "recorder.h"

using namespace check;

namespace {

constexpr char kGreedy[] = "sampling=false";

GST_START_TEST(test_1_all_states_a_hundred_times) {
  Element lm = New("moshilm", kGreedy);
  const GstState orders[] = {GST_STATE_READY,   GST_STATE_PAUSED, GST_STATE_PLAYING, GST_STATE_NULL,
                             GST_STATE_PLAYING, GST_STATE_READY,  GST_STATE_PAUSED,  GST_STATE_NULL};
  for (int i = 0; i < 100; ++i)
    for (GstState state : orders)
      fail_unless_equals_int(gst_element_set_state(lm.get(), state), GST_STATE_CHANGE_SUCCESS);
}
GST_END_TEST;

GST_START_TEST(test_1_messages_about_its_threads_find_it_unlocked) {
  LmRig rig(kGreedy);
  gst_element_set_state(rig.lm(), GST_STATE_NULL);
  auto read = [](GstBus*, GstMessage* message, gpointer lm) {
    GstStructure* stats = nullptr;
    if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_STREAM_STATUS) g_object_get(lm, "stats", &stats, nullptr);
    if (stats != nullptr) gst_structure_free(stats);
    return GST_BUS_PASS;
  };
  gst_bus_set_sync_handler(rig.bus.get(), read, rig.lm(), nullptr);
  fail_unless_equals_int(gst_element_set_state(rig.lm(), GST_STATE_PLAYING), GST_STATE_CHANGE_SUCCESS);
  gst_element_set_state(rig.lm(), GST_STATE_NULL);
  gst_bus_set_sync_handler(rig.bus.get(), nullptr, nullptr, nullptr);
}
GST_END_TEST;

GST_START_TEST(test_1_it_is_as_new_after_null) {
  LmRig rig(kGreedy);
  for (int round = 0; round < 3; ++round) {
    const Codes user = SomeCodes(5, 8, 1 + round);
    rig.PushAll(user);
    rig.Finish();
    fail_unless_codes(CodesOf(rig.audio->Buffers()), Answer(user).codes);
    gst_element_set_state(rig.lm(), GST_STATE_NULL);
    fail_unless_equals_int64(Counts().engines, 0);
    gst_element_set_state(rig.lm(), GST_STATE_PLAYING);
    rig.audio->Forget();
    rig.text->Forget();
    fail_unless(rig.Send(gst_event_new_stream_start("again")));
    fail_unless(rig.SendCaps(CodesCaps(8)));
    fail_unless(rig.SendSegment());
  }
}
GST_END_TEST;

GST_START_TEST(test_9_a_flush_ends_a_step_and_a_load) {
  for (const char* hold : {"STEP_HOLD", "LOAD_HOLD"}) {
    BeginWithFake();
    Knob(hold, 1);
    LmRig rig(kGreedy);
    std::atomic<int> flow{GST_FLOW_OK};
    std::thread pushing([&] {
      for (int frame = 0; flow == GST_FLOW_OK; ++frame) flow = rig.Push(Frames(SomeCodes(1, 8), 8, FrameTime(frame)));
    });
    if (g_str_equal(hold, "STEP_HOLD"))
      WaitFor(&MoshiFakeStats::batch_running, 1);
    else
      WaitFor(&MoshiFakeStats::loads_running, 1);
    fail_unless(rig.Send(gst_event_new_flush_start()));
    pushing.join();
    fail_unless_equals_int(flow, GST_FLOW_FLUSHING);
    fail_unless(rig.Send(gst_event_new_flush_stop(TRUE)));
    fail_unless(rig.SendSegment());
    Knob(hold, 0);
    const Codes user = SomeCodes(5, 8, 3);
    rig.PushAll(user);
    rig.Finish();
    fail_unless_codes(CodesOf(rig.audio->Buffers()), Answer(user).codes);
    rig.audio->Look([](const auto& items) {
      size_t i = 0;
      while (!items[i].Is(GST_EVENT_STREAM_START)) ++i;
      fail_unless(items[i + 1].Is(GST_EVENT_CAPS) || items[i + 1].Is(GST_EVENT_FLUSH_START));
    });
  }
}
GST_END_TEST;

GST_START_TEST(test_9_a_flush_ends_the_wait_for_a_sink) {
  LmRig rig(kGreedy);
  rig.audio->Hold(true);
  std::atomic<int> flow{GST_FLOW_OK};
  std::thread pushing([&] {
    for (int frame = 0; flow == GST_FLOW_OK; ++frame) flow = rig.Push(Frames(SomeCodes(1, 8), 8, FrameTime(frame)));
  });
  while (rig.Stat("input-frames") < 4) g_usleep(1000);
  fail_unless(rig.Send(gst_event_new_flush_start()));
  pushing.join();
  rig.audio->Hold(false);
  fail_unless(rig.Send(gst_event_new_flush_stop(TRUE)));
  fail_unless(rig.SendSegment());
  rig.audio->Forget();
  const Codes user = SomeCodes(5, 8, 3);
  rig.PushAll(user);
  rig.Finish();
  fail_unless_codes(CodesOf(rig.audio->Buffers()), Answer(user).codes);
}
GST_END_TEST;

GST_START_TEST(test_45_stopping_ends_a_load_a_step_and_the_wait_for_a_sink) {
  for (const char* hold : {"LOAD_HOLD", "STEP_HOLD", ""}) {
    BeginWithFake();
    if (*hold != '\0') Knob(hold, 1);
    LmRig rig(kGreedy);
    if (*hold == '\0') rig.audio->Hold(true);
    std::atomic<int> flow{GST_FLOW_OK};
    std::thread pushing([&] {
      for (int frame = 0; flow == GST_FLOW_OK; ++frame) flow = rig.Push(Frames(SomeCodes(1, 8), 8, FrameTime(frame)));
    });
    while (rig.Stat("input-frames") < 4) g_usleep(1000);
    if (*hold == '\0') {  // as a sink does that goes to READY
      rig.audio->Answer(GST_FLOW_FLUSHING);
      rig.audio->Hold(false);
    }
    fail_unless_equals_int(gst_element_set_state(rig.lm(), GST_STATE_NULL), GST_STATE_CHANGE_SUCCESS);
    pushing.join();
    fail_unless_equals_int(flow, GST_FLOW_FLUSHING);
  }
}
GST_END_TEST;

GST_START_TEST(test_20_what_downstream_answers_comes_back) {
  for (GstFlowReturn answer : {GST_FLOW_ERROR, GST_FLOW_NOT_NEGOTIATED, GST_FLOW_FLUSHING}) {
    LmRig rig(kGreedy);
    rig.audio->Answer(answer);
    GstFlowReturn flow = GST_FLOW_OK;
    for (int frame = 0; flow == GST_FLOW_OK; ++frame) flow = rig.Push(Frames(SomeCodes(1, 8), 8, FrameTime(frame)));
    fail_unless_equals_int(flow, answer);
    ExpectNoTrouble(rig.bus.get());
  }
}
GST_END_TEST;

GST_START_TEST(test_20_one_pad_s_end_is_not_the_other_s) {
  LmRig rig({.properties = kGreedy, .text_caps = "application/x-moshi-tokens"});
  rig.text->Answer(GST_FLOW_EOS);
  rig.PushAll(SomeCodes(40, 8));
  rig.audio->WaitBuffers(40);
  rig.audio->Answer(GST_FLOW_EOS);
  GstFlowReturn flow = GST_FLOW_OK;
  for (int frame = 40; flow == GST_FLOW_OK; ++frame) flow = rig.Push(Frames(SomeCodes(1, 8), 8, FrameTime(frame)));
  fail_unless_equals_int(flow, GST_FLOW_EOS);
}
GST_END_TEST;

GST_START_TEST(test_20_nobody_at_either_pad_is_not_linked) {
  LmRig rig({.properties = kGreedy, .link_text = false});
  gst_pad_set_active(rig.audio->pad(), FALSE);
  Pad src(gst_element_get_static_pad(rig.lm(), "src"));
  gst_pad_unlink(src.get(), rig.audio->pad());
  GstFlowReturn flow = GST_FLOW_OK;
  for (int frame = 0; flow == GST_FLOW_OK; ++frame) flow = rig.Push(Frames(SomeCodes(1, 8), 8, FrameTime(frame)));
  fail_unless_equals_int(flow, GST_FLOW_NOT_LINKED);
  fail_unless_equals_int(gst_pad_link(src.get(), rig.audio->pad()), GST_PAD_LINK_OK);
}
GST_END_TEST;

GST_START_TEST(test_20_an_error_after_the_end_is_told_on_the_bus) {
  LmRig rig(kGreedy);
  rig.audio->Hold(true);
  rig.PushAll(SomeCodes(3, 8));
  fail_unless(rig.Send(gst_event_new_eos()));
  rig.text->WaitEvent(GST_EVENT_EOS);
  rig.audio->Answer(GST_FLOW_ERROR);
  rig.audio->Hold(false);
  ExpectError(rig.bus.get(), GST_STREAM_ERROR, GST_STREAM_ERROR_FAILED);
}
GST_END_TEST;

GST_START_TEST(test_20_refused_caps_are_told_when_no_input_is_left_to_refuse) {
  for (bool end_first : {true, false}) {
    BeginWithFake();
    Knob("LOAD_HOLD", 1);
    LmRig rig({.properties = kGreedy, .audio_caps = "audio/x-mimi,codebooks=4"});
    rig.PushAll(SomeCodes(2, 8));
    if (end_first) fail_unless(rig.Send(gst_event_new_eos()));
    Knob("LOAD_HOLD", 0);
    rig.audio->WaitEvent(GST_EVENT_EOS);
    if (!end_first) fail_unless(rig.Send(gst_event_new_eos()));
    const Message error = ExpectError(rig.bus.get(), GST_STREAM_ERROR, GST_STREAM_ERROR_FAILED);
    fail_unless(Says(error, "not-negotiated"), "%s", TextOf(error).c_str());
    ExpectNoTrouble(rig.bus.get());
  }
}
GST_END_TEST;

GST_START_TEST(test_22_bad_codes_are_errors) {
  {
    LmRig rig(kGreedy);
    Codes bad = SomeCodes(1, 8);
    bad[3] = 2048;
    fail_unless_equals_int(rig.Push(Frames(bad, 8, 0)), GST_FLOW_ERROR);
    fail_unless(Says(ExpectError(rig.bus.get(), GST_STREAM_ERROR, GST_STREAM_ERROR_DECODE), "2048"));
  }
  LmRig rig(kGreedy);
  const uint8_t part[15] = {};
  fail_unless_equals_int(rig.Push(Bytes(part, sizeof part, 0)), GST_FLOW_ERROR);
  fail_unless(Says(ExpectError(rig.bus.get(), GST_STREAM_ERROR, GST_STREAM_ERROR_DECODE), "15 bytes"));
}
GST_END_TEST;

GST_START_TEST(test_22_too_few_codebooks_are_refused_with_both_numbers) {
  LmRig rig({.properties = kGreedy, .caps = ""});
  rig.SendCaps(CodesCaps(4));
  rig.SendSegment();
  const Message warning = WaitMessage(rig.bus.get(), GST_MESSAGE_WARNING);
  fail_unless(Says(warning, "listens to 8") && Says(warning, "have 4"), "%s", TextOf(warning).c_str());
  fail_unless_equals_int(rig.Push(Frames(SomeCodes(1, 4), 4, 0)), GST_FLOW_NOT_NEGOTIATED);
}
GST_END_TEST;

GST_START_TEST(test_22_codes_without_time_are_refused) {
  LmRig rig(kGreedy);
  GstSegment segment;
  gst_segment_init(&segment, GST_FORMAT_BYTES);
  rig.Send(gst_event_new_segment(&segment));
  fail_unless(Says(ExpectError(rig.bus.get(), GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT), "mimiparse"));
  fail_unless_equals_int(rig.Push(Frames(SomeCodes(1, 8), 8, 0)), GST_FLOW_ERROR);
}
GST_END_TEST;

GST_START_TEST(test_22_a_model_that_is_not_there) {
  Element lm = New("moshilm", "model=/no/such/model");
  Bus bus(gst_bus_new());
  gst_element_set_bus(lm.get(), bus.get());
  fail_unless_equals_int(gst_element_set_state(lm.get(), GST_STATE_READY), GST_STATE_CHANGE_FAILURE);
  fail_unless(Says(ExpectError(bus.get(), GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NOT_FOUND), "/no/such/model"));
  gst_element_set_bus(lm.get(), nullptr);
  gst_bus_set_flushing(bus.get(), TRUE);
}
GST_END_TEST;

GST_START_TEST(test_21_properties_from_other_threads_while_playing) {
  LmRig rig;
  std::atomic<bool> stop{false};
  std::thread setting([&] {
    for (int i = 0; !stop; ++i) {
      g_object_set(rig.lm(), "temperature", 0.1 * (i % 10), "top-k", i % 100, "seed", gint64{i}, nullptr);
      GstStructure* stats = nullptr;
      double temperature;
      g_object_get(rig.lm(), "stats", &stats, "temperature", &temperature, nullptr);
      gst_structure_free(stats);
      if (i % 50 == 0) g_signal_emit_by_name(rig.lm(), "reset");
    }
  });
  rig.PushAll(SomeCodes(300, 8));
  rig.Finish();
  stop = true;
  setting.join();
  fail_unless_equals_int(rig.audio->Buffers().size(), 300);
}
GST_END_TEST;

GST_START_TEST(test_19_seeks_of_both_branches_are_one_seek) {
  static int seeks;
  seeks = 0;
  LmRig rig(kGreedy);
  gst_pad_set_event_function(rig.source.get(), [](GstPad*, GstObject*, GstEvent* event) -> gboolean {
    seeks += GST_EVENT_TYPE(event) == GST_EVENT_SEEK;
    gst_event_unref(event);
    return TRUE;
  });
  GstEvent* seek =
      gst_event_new_seek(1, GST_FORMAT_TIME, GST_SEEK_FLAG_FLUSH, GST_SEEK_TYPE_SET, 0, GST_SEEK_TYPE_NONE, 0);
  fail_unless(gst_pad_push_event(rig.audio->pad(), gst_event_ref(seek)));
  fail_unless(gst_pad_push_event(rig.text->pad(), seek));
  fail_unless_equals_int(seeks, 1);
}
GST_END_TEST;

Suite* moshilm_flow_suite() {
  Suite* suite = suite_create("moshilm_flow");
  TCase* tcase = AddCase(suite, "flow");
  tcase_add_test(tcase, test_1_all_states_a_hundred_times);
  tcase_add_test(tcase, test_1_messages_about_its_threads_find_it_unlocked);
  tcase_add_test(tcase, test_1_it_is_as_new_after_null);
  tcase_add_test(tcase, test_9_a_flush_ends_a_step_and_a_load);
  tcase_add_test(tcase, test_9_a_flush_ends_the_wait_for_a_sink);
  tcase_add_test(tcase, test_45_stopping_ends_a_load_a_step_and_the_wait_for_a_sink);
  tcase_add_test(tcase, test_20_what_downstream_answers_comes_back);
  tcase_add_test(tcase, test_20_one_pad_s_end_is_not_the_other_s);
  tcase_add_test(tcase, test_20_nobody_at_either_pad_is_not_linked);
  tcase_add_test(tcase, test_20_an_error_after_the_end_is_told_on_the_bus);
  tcase_add_test(tcase, test_20_refused_caps_are_told_when_no_input_is_left_to_refuse);
  tcase_add_test(tcase, test_22_bad_codes_are_errors);
  tcase_add_test(tcase, test_22_too_few_codebooks_are_refused_with_both_numbers);
  tcase_add_test(tcase, test_22_codes_without_time_are_refused);
  tcase_add_test(tcase, test_22_a_model_that_is_not_there);
  tcase_add_test(tcase, test_21_properties_from_other_threads_while_playing);
  tcase_add_test(tcase, test_19_seeks_of_both_branches_are_one_seek);
  return suite;
}

}  // namespace

GST_CHECK_MAIN(moshilm_flow)

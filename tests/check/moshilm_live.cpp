// SPDX-License-Identifier: MIT
// Live conversations: latency, late input, bounded queues (behaviors 15, 16, 41, 47).
#include <gst/check/gsttestclock.h>

#include <thread>

#include "recorder.h"

using namespace check;

namespace {

struct Latency {
  gboolean live;
  GstClockTime min, max;
};

Latency Ask(const LmRig& rig, const char* name) {
  Pad pad(gst_element_get_static_pad(rig.lm(), name));
  Query query(gst_query_new_latency());
  fail_unless(gst_pad_query(pad.get(), query.get()));
  Latency latency;
  gst_query_parse_latency(query.get(), &latency.live, &latency.min, &latency.max);
  return latency;
}

void SetTime(const LmRig& rig, GstClockTime time) { gst_test_clock_set_time(GST_TEST_CLOCK(rig.clock), time); }

GST_START_TEST(test_15_latency_is_the_lag_and_the_processing) {
  for (int delay : {0, 1, 2, 4}) {
    BeginWithFake();
    Knob("LM_DELAY", delay);
    for (bool live : {false, true}) {
      LmRig rig({.properties = "processing-latency=7000000", .live = live});
      WaitFor(&MoshiFakeStats::loads_running, 0);
      for (const char* pad : {"src", "text_src"}) {
        const Latency latency = Ask(rig, pad);
        const GstClockTime own = (std::max(delay, 1) - 1) * kFrame + 7 * GST_MSECOND;
        fail_unless_equals_int(latency.live, live);
        fail_unless_equals_uint64(latency.min, 20 * GST_MSECOND + own);
        fail_unless_equals_uint64(latency.max, 100 * GST_MSECOND + own);
      }
    }
  }
}
GST_END_TEST;

GST_START_TEST(test_16_the_measured_processing_is_told_once_the_model_is_loaded) {
  Knob("PROCESSING_US", 11000);
  Knob("LOAD_HOLD", 1);
  LmRig rig;
  fail_unless_equals_uint64(Ask(rig, "src").min, 20 * GST_MSECOND);
  Knob("LOAD_HOLD", 0);
  fail_unless(WaitMessage(rig.bus.get(), GST_MESSAGE_LATENCY) != nullptr);
  fail_unless_equals_uint64(Ask(rig, "src").min, 31 * GST_MSECOND);
  // And when it is loaded again, though it is the same.
  gst_element_set_state(rig.lm(), GST_STATE_NULL);
  Knob("LOAD_HOLD", 1);
  gst_element_set_state(rig.lm(), GST_STATE_PLAYING);
  fail_unless_equals_uint64(Ask(rig, "src").min, 20 * GST_MSECOND);
  Knob("LOAD_HOLD", 0);
  fail_unless(WaitMessage(rig.bus.get(), GST_MESSAGE_LATENCY) != nullptr);
}
GST_END_TEST;

GST_START_TEST(test_41_late_frames_are_left_out_and_told) {
  LmRig rig({.properties = "sampling=false", .live = true, .latency = 100 * GST_MSECOND});
  fail_unless(WaitMessage(rig.bus.get(), GST_MESSAGE_LATENCY) != nullptr);
  const Codes user = SomeCodes(12, 8);
  auto push = [&](int frame) {
    const Codes one(user.begin() + frame * 8, user.begin() + (frame + 1) * 8);
    fail_unless_equals_int(rig.Push(Frames(one, 8, FrameTime(frame))), GST_FLOW_OK);
  };
  for (int frame = 0; frame < 4; ++frame) {
    SetTime(rig, FrameTime(frame));
    push(frame);
    rig.audio->WaitBuffers(frame + 1);
  }
  // The step of frame 4 would begin just in time, that of frame 5 a nanosecond late.
  SetTime(rig, FrameTime(4) + 100 * GST_MSECOND);
  push(4);
  rig.audio->WaitBuffers(5);
  SetTime(rig, FrameTime(5) + 100 * GST_MSECOND + 1);
  push(5);
  rig.audio->WaitEvent(GST_EVENT_GAP);
  SetTime(rig, FrameTime(6) + 50 * GST_MSECOND);
  push(6);
  rig.audio->WaitBuffers(6);
  fail_unless_equals_int64(rig.Stat("dropped-frames"), 1);
  fail_unless(rig.audio->Gaps() == std::vector<GstClockTime>{FrameTime(5)});
  const std::vector<Buffer> out = rig.audio->Buffers();
  fail_unless_equals_uint64(GST_BUFFER_PTS(out[5].get()), FrameTime(6));
  fail_unless(GST_BUFFER_FLAG_IS_SET(out[5].get(), GST_BUFFER_FLAG_DISCONT));
  // Silence was stepped in its place.
  Codes heard(user.begin(), user.begin() + 5 * 8);
  heard = Joined(Joined(heard, SilentCodes(1)), Codes(user.begin() + 6 * 8, user.begin() + 7 * 8));
  const Codes said = Answer(heard).codes;
  fail_unless_codes(CodesOf(out[5]), Codes(said.begin() + 6 * 8, said.end()));
  const Message qos = WaitMessage(rig.bus.get(), GST_MESSAGE_QOS);
  fail_unless(qos != nullptr);
  guint64 dropped;
  gst_message_parse_qos_stats(qos.get(), nullptr, nullptr, &dropped);
  fail_unless_equals_uint64(dropped, 1);
}
GST_END_TEST;

GST_START_TEST(test_41_a_model_that_cannot_catch_up_jumps_over_late_frames) {
  Knob("STEP_MS", 50);  // silence in the place of late frames would make the next ones late
  LmRig rig({.properties = "sampling=false", .live = true, .latency = 100 * GST_MSECOND});
  fail_unless(WaitMessage(rig.bus.get(), GST_MESSAGE_LATENCY) != nullptr);
  const Codes a = SomeCodes(1, 8, 1), late = SomeCodes(1, 8, 2), b = SomeCodes(1, 8, 3);
  SetTime(rig, 0);
  rig.PushAll(a);
  rig.audio->WaitBuffers(1);
  SetTime(rig, FrameTime(1) + 101 * GST_MSECOND);
  rig.PushAll(late, 8, FrameTime(1));
  rig.audio->WaitEvent(GST_EVENT_GAP);
  rig.PushAll(b, 8, FrameTime(2));
  rig.Finish();
  fail_unless_codes(CodesOf(rig.audio->Buffers()), Answer(Joined(a, b)).codes);
  fail_unless_equals_int64(rig.Stat("dropped-frames"), 1);
}
GST_END_TEST;

GST_START_TEST(test_41_a_live_queue_does_not_grow) {
  Knob("STEP_HOLD", 1);
  LmRig rig({.properties = "sampling=false", .live = true});
  fail_unless(WaitMessage(rig.bus.get(), GST_MESSAGE_LATENCY) != nullptr);
  for (int frame = 0; frame < 1000; ++frame)
    fail_unless_equals_int(rig.Push(Frames(SomeCodes(1, 8), 8, FrameTime(frame))), GST_FLOW_OK);
  fail_unless(rig.Stat("input-frames") <= 4);
  Knob("STEP_HOLD", 0);
  rig.Finish();
  // All time is accounted for, by buffers and gaps.
  std::vector<GstClockTime> times = rig.audio->Gaps();
  for (const Buffer& buffer : rig.audio->Buffers()) times.push_back(GST_BUFFER_PTS(buffer.get()));
  std::sort(times.begin(), times.end());
  fail_unless_equals_int(times.size() + rig.Stat("dropped-buffers"), 1000);
  for (size_t i = 1; i < times.size(); ++i) fail_unless_equals_uint64(times[i] - times[i - 1], kFrame);
  fail_unless(rig.Stat("dropped-frames") >= 900);
}
GST_END_TEST;

GST_START_TEST(test_41_shift_keeps_all_and_lets_time_slip) {
  LmRig rig({.properties = "sampling=false late-policy=shift", .live = true, .latency = 100 * GST_MSECOND});
  fail_unless(WaitMessage(rig.bus.get(), GST_MESSAGE_LATENCY) != nullptr);
  const Codes user = SomeCodes(3, 8);
  SetTime(rig, 0);
  rig.PushAll(Codes(user.begin(), user.begin() + 8));
  rig.audio->WaitBuffers(1);
  SetTime(rig, FrameTime(1) + 400 * GST_MSECOND);
  rig.PushAll(Codes(user.begin() + 8, user.begin() + 16), 8, FrameTime(1));
  rig.audio->WaitBuffers(2);
  rig.PushAll(Codes(user.begin() + 16, user.end()), 8, FrameTime(2));
  rig.Finish();
  const std::vector<Buffer> out = rig.audio->Buffers();
  fail_unless_codes(CodesOf(out), Answer(user).codes);
  fail_unless_equals_uint64(GST_BUFFER_PTS(out[0].get()), 0);
  fail_unless_equals_uint64(GST_BUFFER_PTS(out[1].get()), FrameTime(1) + 300 * GST_MSECOND);
  fail_unless_equals_uint64(GST_BUFFER_PTS(out[2].get()), FrameTime(2) + 300 * GST_MSECOND);
  fail_unless_equals_int64(rig.Stat("slip"), 300 * GST_MSECOND);
  fail_unless_equals_int64(rig.Stat("dropped-frames"), 0);
  const Message told = WaitMessage(rig.bus.get(), GST_MESSAGE_ELEMENT);
  fail_unless(told != nullptr && gst_structure_has_name(gst_message_get_structure(told.get()), "moshi-slip"));
}
GST_END_TEST;

GST_START_TEST(test_41_waiting_is_the_policy_of_files) {
  LmRig rig({.properties = "sampling=false", .latency = 1});
  SetTime(rig, GST_SECOND * 1000);
  rig.PushAll(SomeCodes(50, 8));
  rig.Finish();
  fail_unless_equals_int(rig.audio->Buffers().size(), 50);
  fail_unless_equals_int64(rig.Stat("dropped-frames"), 0);
  fail_unless(Counts().file_jobs > 0);
}
GST_END_TEST;

GST_START_TEST(test_41_input_that_can_wait_is_never_left_out_for_want_of_room) {
  Knob("STEP_HOLD", 1);
  LmRig rig("sampling=false late-policy=drop");
  std::thread pushing([&] { rig.PushAll(SomeCodes(10, 8)); });
  while (rig.Stat("input-frames") < 4) g_usleep(1000);
  g_usleep(20000);
  Knob("STEP_HOLD", 0);
  pushing.join();
  rig.Finish();
  fail_unless_equals_int(rig.audio->Buffers().size(), 10);
  fail_unless_equals_int64(rig.Stat("dropped-frames"), 0);
}
GST_END_TEST;

GST_START_TEST(test_41_steps_longer_than_a_frame_are_counted) {
  Knob("STEP_MS", 100);
  LmRig rig("sampling=false");
  rig.PushAll(SomeCodes(2, 8));
  rig.Finish();
  fail_unless_equals_int64(rig.Stat("deadline-misses"), 3);
  fail_unless(rig.Stat("step-time-p50") >= static_cast<int64_t>(100 * GST_MSECOND));
  fail_unless(rig.Stat("step-time-p99") >= rig.Stat("step-time-p50"));
}
GST_END_TEST;

GST_START_TEST(test_47_live_input_before_the_model_is_there_is_dropped_and_then_marked) {
  Knob("LOAD_HOLD", 1);
  LmRig rig({.properties = "sampling=false", .live = true});
  rig.PushAll(SomeCodes(30, 8));
  fail_unless_equals_int64(rig.Stat("dropped-buffers"), 30);
  Knob("LOAD_HOLD", 0);
  fail_unless(WaitMessage(rig.bus.get(), GST_MESSAGE_LATENCY) != nullptr);
  const Codes user = SomeCodes(3, 8, 5);
  rig.PushAll(user, 8, FrameTime(30));
  rig.Finish();
  const std::vector<Buffer> out = rig.audio->Buffers();
  fail_unless_codes(CodesOf(out), Answer(user).codes);
  fail_unless_times(out, FrameTime(30));
  fail_unless(GST_BUFFER_FLAG_IS_SET(out[0].get(), GST_BUFFER_FLAG_DISCONT));
}
GST_END_TEST;

Suite* moshilm_live_suite() {
  Suite* suite = suite_create("moshilm_live");
  TCase* tcase = AddCase(suite, "live");
  tcase_add_test(tcase, test_15_latency_is_the_lag_and_the_processing);
  tcase_add_test(tcase, test_16_the_measured_processing_is_told_once_the_model_is_loaded);
  tcase_add_test(tcase, test_41_late_frames_are_left_out_and_told);
  tcase_add_test(tcase, test_41_a_model_that_cannot_catch_up_jumps_over_late_frames);
  tcase_add_test(tcase, test_41_a_live_queue_does_not_grow);
  tcase_add_test(tcase, test_41_shift_keeps_all_and_lets_time_slip);
  tcase_add_test(tcase, test_41_waiting_is_the_policy_of_files);
  tcase_add_test(tcase, test_41_input_that_can_wait_is_never_left_out_for_want_of_room);
  tcase_add_test(tcase, test_41_steps_longer_than_a_frame_are_counted);
  tcase_add_test(tcase, test_47_live_input_before_the_model_is_there_is_dropped_and_then_marked);
  return suite;
}

}  // namespace

GST_CHECK_MAIN(moshilm_live)

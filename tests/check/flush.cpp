// SPDX-License-Identifier: MIT
// Flushing and stopping at any moment (behaviors 8 and 9).
#include <thread>

#include "support.h"

using namespace check;

namespace {

GST_START_TEST(test_8_flush_in_mid_frame_forgets_the_part_and_the_state) {
  const Samples sound = Sound(2 * kFrameSamples + 700);
  Rig rig("mimienc", "", kF32);
  for (int round = 0; round < 3; ++round) {
    fail_unless_equals_int(rig.Push(F32(sound, 0)), GST_FLOW_OK);
    rig.Take();
    rig.Flush();
  }
  fail_unless_equals_int(rig.Push(F32(sound, 5 * GST_SECOND)), GST_FLOW_OK);
  std::vector<Buffer> out = rig.Finish();
  fail_unless_times(out, 5 * GST_SECOND);
  fail_unless_codes(CodesOf(out), Encoded(sound, 8));
}
GST_END_TEST;

GST_START_TEST(test_8_flush_resets_the_decoder) {
  const Codes codes = SomeCodes(3, 8);
  Rig rig("mimidec", "", CodesCaps(8).c_str());
  fail_unless_equals_int(rig.Push(Frames(codes, 8, 0)), GST_FLOW_OK);
  rig.Take();
  rig.Flush();
  fail_unless_equals_int(rig.Push(Frames(codes, 8, 0)), GST_FLOW_OK);
  fail_unless_samples(SamplesOf(rig.Finish()), Decoded(codes, 8));
}
GST_END_TEST;

GST_START_TEST(test_8_a_new_stream_resets_both) {
  const Samples sound = Sound(2 * kFrameSamples);
  const Codes codes = SomeCodes(2, 8);
  Rig encoder("mimienc", "", kF32), decoder("mimidec", "", CodesCaps(8).c_str());
  fail_unless_equals_int(encoder.Push(F32(sound, 0)), GST_FLOW_OK);
  fail_unless_equals_int(decoder.Push(Frames(codes, 8, 0)), GST_FLOW_OK);
  Caps raw(gst_caps_from_string(kF32)), coded(gst_caps_from_string(CodesCaps(8).c_str()));
  for (auto [rig, caps] : {std::pair{&encoder, raw.get()}, std::pair{&decoder, coded.get()}}) {
    fail_unless(rig->Send(gst_event_new_stream_start("another")));
    fail_unless(rig->Send(gst_event_new_caps(caps)));
    fail_unless(rig->SendSegment());
  }
  fail_unless_equals_int(encoder.Push(F32(sound, 0)), GST_FLOW_OK);
  fail_unless_equals_int(decoder.Push(Frames(codes, 8, 0)), GST_FLOW_OK);
  const Codes once = Encoded(sound, 8);
  fail_unless_codes(CodesOf(encoder.Finish()), Joined(once, once));
  const Samples heard = Decoded(codes, 8);
  fail_unless_samples(SamplesOf(decoder.Finish()), Joined(heard, heard));
}
GST_END_TEST;

GST_START_TEST(test_8_a_new_stream_resets_the_encoder_also_when_its_time_goes_on) {
  const Samples a = Sound(2 * kFrameSamples + 480, 1), b = Sound(2 * kFrameSamples, 2);
  Rig rig("mimienc", "", kF32);
  fail_unless_equals_int(rig.Push(F32(a, 0)), GST_FLOW_OK);
  Caps caps(gst_caps_from_string(kF32));
  GstSegment segment;
  gst_segment_init(&segment, GST_FORMAT_TIME);
  segment.base = 180 * GST_MSECOND;
  fail_unless(rig.Send(gst_event_new_stream_start("another")));
  fail_unless(rig.Send(gst_event_new_caps(caps.get())));
  fail_unless(rig.Send(gst_event_new_segment(&segment)));
  fail_unless_equals_int(rig.Push(F32(b, 0)), GST_FLOW_OK);
  std::vector<Buffer> out = rig.Finish();
  fail_unless_codes(CodesOf(out), Joined(Encoded(a, 8), Encoded(b, 8)));
  fail_unless_equals_uint64(ClippedEnd(out[2]), kFrameSamples - 480);
}
GST_END_TEST;

struct Case {
  const char* factory;
  std::string caps;
  Buffer Data() const { return factory[4] == 'e' ? F32(Sound(kFrameSamples), 0) : Frames(SomeCodes(1, 8), 8, 0); }
};

const Case kCases[] = {{"mimienc", kF32}, {"mimidec", CodesCaps(8)}};

// Pushes data on a thread of its own, as upstream would, and keeps the result.
class Pushing {
 public:
  Pushing(Rig& rig, const Case& c)
      : thread_([this, &rig, data = c.Data().release()] { result_ = rig.Push(Buffer(data)); }) {}
  ~Pushing() {
    if (thread_.joinable()) thread_.join();
  }
  Pushing(const Pushing&) = delete;
  Pushing& operator=(const Pushing&) = delete;
  GstFlowReturn Result() {
    thread_.join();
    return result_;
  }

 private:
  GstFlowReturn result_ = GST_FLOW_CUSTOM_ERROR;
  std::thread thread_;
};

// A load is under way and a push waits for it: there is no counter for "inside chain", so this gives it a moment.
void WaitForLoadingPush() {
  WaitFor(&MoshiFakeStats::loads_running, 1);
  g_usleep(50000);
}

void ExpectWorksAfterFlush(Rig& rig, const Case& c) {
  fail_unless(rig.Send(gst_event_new_flush_stop(TRUE)));
  fail_unless(rig.SendSegment());
  rig.Take();
  fail_unless_equals_int(rig.Push(c.Data()), GST_FLOW_OK);
  std::vector<Buffer> out = rig.Finish();
  fail_unless_equals_int(out.size(), 1);
  if (c.factory[4] == 'e')
    fail_unless_codes(CodesOf(out), Encoded(Sound(kFrameSamples), 8));
  else
    fail_unless_samples(SamplesOf(out), Decoded(SomeCodes(1, 8), 8));
  ExpectNoTrouble(rig.bus.get());
}

GST_START_TEST(test_9_flush_while_inferring) {
  for (const Case& c : kCases) {
    Rig rig(c.factory, "", c.caps.c_str());
    Knob("STEP_HOLD", 1);
    Pushing push(rig, c);
    WaitFor(&MoshiFakeStats::batch_running, 1);
    // Returns although the batch never ends.
    fail_unless(rig.Send(gst_event_new_flush_start()));
    fail_unless_equals_int(push.Result(), GST_FLOW_FLUSHING);
    Knob("STEP_HOLD", 0);
    ExpectWorksAfterFlush(rig, c);
  }
}
GST_END_TEST;

GST_START_TEST(test_9_flush_while_loading) {
  for (const Case& c : kCases) {
    Knob("LOAD_HOLD", 1);
    Rig rig(c.factory, "", c.caps.c_str());
    Pushing push(rig, c);
    WaitForLoadingPush();
    fail_unless(rig.Send(gst_event_new_flush_start()));
    fail_unless_equals_int(push.Result(), GST_FLOW_FLUSHING);
    Knob("LOAD_HOLD", 0);
    ExpectWorksAfterFlush(rig, c);
  }
}
GST_END_TEST;

GST_START_TEST(test_9_null_while_inferring) {
  for (const Case& c : kCases) {
    Rig rig(c.factory, "", c.caps.c_str());
    Knob("STEP_HOLD", 1);
    Pushing push(rig, c);
    WaitFor(&MoshiFakeStats::batch_running, 1);
    fail_unless_equals_int(gst_element_set_state(rig.element(), GST_STATE_NULL), GST_STATE_CHANGE_SUCCESS);
    fail_unless_equals_int(push.Result(), GST_FLOW_FLUSHING);
    ExpectNoTrouble(rig.bus.get());
    Knob("STEP_HOLD", 0);
    SettleFake();
    fail_unless_equals_int64(Counts().models, 0);
  }
}
GST_END_TEST;

GST_START_TEST(test_9_null_and_ready_while_loading) {
  for (const Case& c : kCases) {
    for (GstState state : {GST_STATE_NULL, GST_STATE_READY}) {
      Knob("LOAD_HOLD", 1);
      Rig rig(c.factory, "", c.caps.c_str());
      Pushing push(rig, c);
      WaitForLoadingPush();
      fail_unless_equals_int(gst_element_set_state(rig.element(), state), GST_STATE_CHANGE_SUCCESS);
      fail_unless_equals_int(push.Result(), GST_FLOW_FLUSHING);
      ExpectNoTrouble(rig.bus.get());
      Knob("LOAD_HOLD", 0);
    }
  }
}
GST_END_TEST;

GST_START_TEST(test_9_flush_and_null_one_after_another_many_times) {
  for (const Case& c : kCases) {
    Rig rig(c.factory, "", c.caps.c_str());
    Knob("STEP_MS", 1);
    for (int i = 0; i < 50; ++i) {
      Pushing push(rig, c);
      g_usleep(i * 40);
      fail_unless(rig.Send(gst_event_new_flush_start()));
      push.Result();
      fail_unless(rig.Send(gst_event_new_flush_stop(TRUE)));
      fail_unless(rig.SendSegment());
    }
    Knob("STEP_MS", 0);
    rig.Flush();
    rig.Take();
    fail_unless_equals_int(rig.Push(c.Data()), GST_FLOW_OK);
    fail_unless_equals_int(rig.Finish().size(), 1);
    ExpectNoTrouble(rig.bus.get());
  }
}
GST_END_TEST;

Suite* flush_suite() {
  Suite* suite = suite_create("flush");
  TCase* tcase = AddCase(suite, "flush");
  tcase_add_test(tcase, test_8_flush_in_mid_frame_forgets_the_part_and_the_state);
  tcase_add_test(tcase, test_8_flush_resets_the_decoder);
  tcase_add_test(tcase, test_8_a_new_stream_resets_both);
  tcase_add_test(tcase, test_8_a_new_stream_resets_the_encoder_also_when_its_time_goes_on);
  tcase_add_test(tcase, test_9_flush_while_inferring);
  tcase_add_test(tcase, test_9_flush_while_loading);
  tcase_add_test(tcase, test_9_null_while_inferring);
  tcase_add_test(tcase, test_9_null_and_ready_while_loading);
  tcase_add_test(tcase, test_9_flush_and_null_one_after_another_many_times);
  return suite;
}

}  // namespace

GST_CHECK_MAIN(flush)

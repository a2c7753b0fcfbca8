// SPDX-License-Identifier: MIT
// The number of codebooks: changed while playing, refused, wrong (behavior 13).
#include "support.h"

using namespace check;

namespace {

int CodebooksOf(GstElement* element) {
  int value = -1;
  g_object_get(element, "codebooks", &value, nullptr);
  return value;
}

int CodebooksInCaps(const Rig& rig) {
  Caps caps = rig.OutCaps();
  int value = -1;
  if (caps != nullptr) gst_structure_get_int(gst_caps_get_structure(caps.get(), 0), "codebooks", &value);
  return value;
}

GST_START_TEST(test_13_default_is_auto_and_gives_eight) {
  Rig rig("mimienc", "", kF32);
  fail_unless_equals_int(CodebooksOf(rig.element()), 0);
  fail_unless_equals_int(rig.Push(F32(Sound(kFrameSamples), 0)), GST_FLOW_OK);
  rig.Finish();
  fail_unless_equals_int(CodebooksInCaps(rig), 8);
}
GST_END_TEST;

GST_START_TEST(test_13_eight_four_thirty_two_while_playing) {
  Rig rig("mimienc", "codebooks=8", kF32);
  moshi_fake::State state;
  GstClockTime pts = 0;
  for (int codebooks : {8, 4, 32, 1, 8}) {
    g_object_set(rig.element(), "codebooks", codebooks, nullptr);
    const Samples sound = Sound(2 * kFrameSamples, codebooks);
    fail_unless_equals_int(rig.Push(F32(sound, pts)), GST_FLOW_OK);
    std::vector<Buffer> out = rig.Take();
    fail_unless_times(out, pts);
    // The same stream goes on: codes follow from all frames so far.
    fail_unless_codes(CodesOf(out), Encoded(sound, codebooks, &state));
    fail_unless_equals_int(CodebooksInCaps(rig), codebooks);
    fail_unless_equals_int(CodebooksOf(rig.element()), codebooks);
    pts += 2 * kFrame;
  }
  ExpectNoTrouble(rig.bus.get());
}
GST_END_TEST;

GST_START_TEST(test_13_a_change_in_mid_frame_counts_from_a_whole_frame_on) {
  Rig rig("mimienc", "codebooks=8", kF32);
  const Samples sound = Sound(2 * kFrameSamples);
  fail_unless_equals_int(rig.Push(F32(Samples(sound.begin(), sound.begin() + 1000), 0)), GST_FLOW_OK);
  g_object_set(rig.element(), "codebooks", 4, nullptr);
  const GstClockTime pts = gst_util_uint64_scale_int(1000, GST_SECOND, 24000);
  fail_unless_equals_int(rig.Push(F32(Samples(sound.begin() + 1000, sound.end()), pts)), GST_FLOW_OK);
  std::vector<Buffer> out = rig.Finish();
  fail_unless_equals_int(out.size(), 2);
  fail_unless_codes(CodesOf(out[1]), [&] {
    const Codes all = Encoded(sound, 4);
    return Codes(all.begin() + 4, all.end());
  }());
  fail_unless(gst_buffer_get_size(out[0].get()) == 8 || gst_buffer_get_size(out[0].get()) == 16);
  fail_unless_times(out, 0);
}
GST_END_TEST;

GST_START_TEST(test_13_a_change_that_downstream_refuses_is_a_warning_and_the_old_value_stays) {
  Rig rig("mimienc", "codebooks=8", kF32, "audio/x-mimi,codebooks=[8,16]");
  moshi_fake::State state;
  const Samples a = Sound(kFrameSamples, 1), b = Sound(kFrameSamples, 2), c = Sound(kFrameSamples, 3);
  fail_unless_equals_int(rig.Push(F32(a, 0)), GST_FLOW_OK);
  g_object_set(rig.element(), "codebooks", 4, nullptr);
  fail_unless_equals_int(rig.Push(F32(b, FrameTime(1))), GST_FLOW_OK);
  Message warning = WaitMessage(rig.bus.get(), GST_MESSAGE_WARNING);
  fail_unless(warning != nullptr && Says(warning, "codebooks"));
  fail_unless_equals_int(CodebooksOf(rig.element()), 8);
  g_object_set(rig.element(), "codebooks", 16, nullptr);
  fail_unless_equals_int(rig.Push(F32(c, FrameTime(2))), GST_FLOW_OK);
  std::vector<Buffer> out = rig.Finish();
  Codes expected = Encoded(a, 8, &state);
  expected = Joined(expected, Encoded(b, 8, &state));
  fail_unless_codes(CodesOf(out), Joined(expected, Encoded(c, 16, &state)));
  ExpectNoTrouble(rig.bus.get());
}
GST_END_TEST;

GST_START_TEST(test_13_a_value_out_of_range_is_an_error_at_ready_and_the_next_try_works) {
  for (int wrong : {33, -1, 1000}) {
    Element encoder = New("mimienc");
    Bus bus(gst_bus_new());
    gst_element_set_bus(encoder.get(), bus.get());
    g_object_set(encoder.get(), "codebooks", wrong, nullptr);
    fail_unless_equals_int(gst_element_set_state(encoder.get(), GST_STATE_READY), GST_STATE_CHANGE_FAILURE);
    Message error = WaitMessage(bus.get(), GST_MESSAGE_ERROR);
    fail_unless(error != nullptr && Says(error, "codebooks") && Says(error, std::to_string(wrong).c_str()));
    gst_element_set_state(encoder.get(), GST_STATE_NULL);
    g_object_set(encoder.get(), "codebooks", 32, nullptr);
    fail_unless_equals_int(gst_element_set_state(encoder.get(), GST_STATE_READY), GST_STATE_CHANGE_SUCCESS);
    gst_element_set_bus(encoder.get(), nullptr);
  }
}
GST_END_TEST;

GST_START_TEST(test_13_a_value_out_of_range_while_playing_is_a_warning) {
  Rig rig("mimienc", "codebooks=8", kF32);
  const Samples sound = Sound(2 * kFrameSamples);
  fail_unless_equals_int(rig.Push(F32(Samples(sound.begin(), sound.begin() + kFrameSamples), 0)), GST_FLOW_OK);
  g_object_set(rig.element(), "codebooks", 33, nullptr);
  fail_unless_equals_int(rig.Push(F32(Samples(sound.begin() + kFrameSamples, sound.end()), kFrame)), GST_FLOW_OK);
  fail_unless_codes(CodesOf(rig.Finish()), Encoded(sound, 8));
  Message warning = WaitMessage(rig.bus.get(), GST_MESSAGE_WARNING);
  fail_unless(warning != nullptr && Says(warning, "codebooks"));
}
GST_END_TEST;

GST_START_TEST(test_13_more_codebooks_than_the_model_has_is_an_error) {
  Knob("CODEBOOKS", 16);
  Element pipeline = Launch(std::string("audiotestsrc num-buffers=5 ! ") + kF32 + " ! mimienc codebooks=17 ! fakesink");
  Bus bus = BusOf(pipeline);
  gst_element_set_state(pipeline.get(), GST_STATE_PLAYING);
  Message error = WaitMessage(bus.get(), GST_MESSAGE_ERROR);
  fail_unless(error != nullptr && Says(error, "16"));
}
GST_END_TEST;

GST_START_TEST(test_13_a_pipeline_to_the_decoder_follows_the_change) {
  Element pipeline = Launch(std::string("audiotestsrc ! ") + kF32 +
                            " ! mimienc name=enc codebooks=8 ! mimidec ! fakesink name=sink sync=false");
  Bus bus = BusOf(pipeline);
  gst_element_set_state(pipeline.get(), GST_STATE_PLAYING);
  GstElement* encoder = gst_bin_get_by_name(GST_BIN(pipeline.get()), "enc");
  for (int codebooks : {8, 4, 32}) {
    g_object_set(encoder, "codebooks", codebooks, nullptr);
    WaitForAtLeast(&MoshiFakeStats::frames_decoded, Counts().frames_decoded + 4);
  }
  gst_object_unref(encoder);
  ExpectNoTrouble(bus.get());
}
GST_END_TEST;

Suite* codebooks_suite() {
  Suite* suite = suite_create("codebooks");
  TCase* tcase = AddCase(suite, "codebooks");
  tcase_add_test(tcase, test_13_default_is_auto_and_gives_eight);
  tcase_add_test(tcase, test_13_eight_four_thirty_two_while_playing);
  tcase_add_test(tcase, test_13_a_change_in_mid_frame_counts_from_a_whole_frame_on);
  tcase_add_test(tcase, test_13_a_change_that_downstream_refuses_is_a_warning_and_the_old_value_stays);
  tcase_add_test(tcase, test_13_a_value_out_of_range_is_an_error_at_ready_and_the_next_try_works);
  tcase_add_test(tcase, test_13_a_value_out_of_range_while_playing_is_a_warning);
  tcase_add_test(tcase, test_13_more_codebooks_than_the_model_has_is_an_error);
  tcase_add_test(tcase, test_13_a_pipeline_to_the_decoder_follows_the_change);
  return suite;
}

}  // namespace

GST_CHECK_MAIN(codebooks)

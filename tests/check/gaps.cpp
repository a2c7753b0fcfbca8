// SPDX-License-Identifier: MIT
// Holes in the stream: DISCONT, time stamps that jump, GAP events, concealment (behaviors 10 and 11).
#include "support.h"

using namespace check;

namespace {

constexpr size_t kMs = 24;  // samples of a millisecond

// Audio, a hole of `hole` ms without a word, audio again.
std::vector<Buffer> EncodeWithHole(const Samples& a, const Samples& b, int hole_ms, bool discont = false) {
  Rig rig("mimienc", "", kF32);
  fail_unless_equals_int(rig.Push(F32(a, 0)), GST_FLOW_OK);
  Buffer later = F32(b, a.size() / kMs * GST_MSECOND + hole_ms * GST_MSECOND);
  if (discont) GST_BUFFER_FLAG_SET(later.get(), GST_BUFFER_FLAG_DISCONT);
  fail_unless_equals_int(rig.Push(std::move(later)), GST_FLOW_OK);
  std::vector<Buffer> out = rig.Finish();
  ExpectNoTrouble(rig.bus.get());
  return out;
}

GST_START_TEST(test_10_a_hole_within_the_tolerance_is_jitter) {
  const Samples a = Sound(2 * kFrameSamples, 1), b = Sound(2 * kFrameSamples, 2);
  std::vector<Buffer> out = EncodeWithHole(a, b, 10);
  const Codes got = CodesOf(out);
  const bool glued = got == Encoded(Joined(a, b), 8);
  const bool filled = got == Encoded(Joined(Joined(a, Silence(10 * kMs)), b), 8);
  fail_unless(glued || filled);
  fail_unless_times(out, 0);
}
GST_END_TEST;

GST_START_TEST(test_10_a_hole_of_a_frame_is_filled_with_silence) {
  const Samples a = Sound(2 * kFrameSamples, 1), b = Sound(2 * kFrameSamples, 2);
  for (bool discont : {false, true}) {
    std::vector<Buffer> out = EncodeWithHole(a, b, 80, discont);
    fail_unless_codes(CodesOf(out), Encoded(Joined(Joined(a, Silence(80 * kMs)), b), 8));
    fail_unless_times(out, 0);
  }
}
GST_END_TEST;

GST_START_TEST(test_10_holes_up_to_a_second_are_filled_also_in_mid_frame) {
  const Samples a = Sound(100 * kMs, 1), b = Sound(2 * kFrameSamples, 2);
  for (int hole : {50, 300, 1000}) {
    std::vector<Buffer> out = EncodeWithHole(a, b, hole);
    fail_unless_codes(CodesOf(out), Encoded(Joined(Joined(a, Silence(hole * kMs)), b), 8));
    fail_unless_times(out, 0);
  }
}
GST_END_TEST;

GST_START_TEST(test_10_a_hole_of_ten_seconds_drains_resets_and_marks) {
  const Samples a = Sound(100 * kMs, 1), b = Sound(2 * kFrameSamples, 2);
  for (bool discont : {false, true}) {
    std::vector<Buffer> out = EncodeWithHole(a, b, 10000, discont);
    fail_unless_codes(CodesOf(out), Joined(Encoded(a, 8), Encoded(b, 8)));
    fail_unless_equals_int(out.size(), 4);
    fail_unless_equals_uint64(ClippedEnd(out[1]), 60 * kMs);
    fail_unless_equals_uint64(GST_BUFFER_PTS(out[2].get()), 10100 * GST_MSECOND);
    fail_unless(GST_BUFFER_FLAG_IS_SET(out[2].get(), GST_BUFFER_FLAG_DISCONT));
    fail_unless_equals_uint64(GST_BUFFER_PTS(out[3].get()), 10180 * GST_MSECOND);
    fail_if(GST_BUFFER_FLAG_IS_SET(out[3].get(), GST_BUFFER_FLAG_DISCONT));
  }
}
GST_END_TEST;

GST_START_TEST(test_10_discont_without_a_hole_changes_nothing_at_the_decoder) {
  const Codes codes = SomeCodes(4, 8);
  Rig rig("mimidec", "", CodesCaps(8).c_str());
  for (int f = 0; f < 4; ++f) {
    Buffer frame = Frames(Codes(codes.begin() + f * 8, codes.begin() + f * 8 + 8), 8, FrameTime(f));
    GST_BUFFER_FLAG_SET(frame.get(), GST_BUFFER_FLAG_DISCONT);
    fail_unless_equals_int(rig.Push(std::move(frame)), GST_FLOW_OK);
  }
  fail_unless_samples(SamplesOf(rig.Finish()), Decoded(codes, 8));
}
GST_END_TEST;

GST_START_TEST(test_10_a_hole_at_the_decoder_keeps_state_and_time) {
  const Codes codes = SomeCodes(4, 8);
  for (GstClockTime hole : {10 * GST_MSECOND, 80 * GST_MSECOND, 10 * GST_SECOND}) {
    Rig rig("mimidec", "", CodesCaps(8).c_str());
    for (int f = 0; f < 4; ++f) {
      const GstClockTime pts = FrameTime(f) + (f >= 2 ? hole : 0);
      fail_unless_equals_int(rig.Push(Frames(Codes(codes.begin() + f * 8, codes.begin() + f * 8 + 8), 8, pts)),
                             GST_FLOW_OK);
    }
    std::vector<Buffer> out = rig.Finish();
    fail_unless_samples(SamplesOf(out), Decoded(codes, 8));
    fail_unless_equals_uint64(GST_BUFFER_PTS(out[3].get()), FrameTime(3) + hole);
  }
}
GST_END_TEST;

GST_START_TEST(test_11_gap_event_at_the_encoder_becomes_silence) {
  const Samples a = Sound(100 * kMs, 1), b = Sound(2 * kFrameSamples, 2);
  for (int gap : {10, 80, 240, 1000}) {
    Rig rig("mimienc", "", kF32);
    fail_unless_equals_int(rig.Push(F32(a, 0)), GST_FLOW_OK);
    fail_unless(rig.Send(gst_event_new_gap(100 * GST_MSECOND, gap * GST_MSECOND)));
    fail_unless_equals_int(rig.Push(F32(b, (100 + gap) * GST_MSECOND)), GST_FLOW_OK);
    std::vector<Buffer> out = rig.Finish();
    fail_unless_codes(CodesOf(out), Encoded(Joined(Joined(a, Silence(gap * kMs)), b), 8));
    fail_unless_times(out, 0);
  }
}
GST_END_TEST;

GST_START_TEST(test_11_gap_events_alone_make_a_stream_of_silence) {
  Rig rig("mimienc", "", kF32);
  for (int i = 0; i < 4; ++i) fail_unless(rig.Send(gst_event_new_gap(FrameTime(i), kFrame)));
  std::vector<Buffer> out = rig.Finish();
  fail_unless_codes(CodesOf(out), Encoded(Silence(4 * kFrameSamples), 8));
  fail_unless_times(out, 0);
}
GST_END_TEST;

GST_START_TEST(test_11_a_long_gap_event_drains_and_resets) {
  const Samples a = Sound(100 * kMs, 1), b = Sound(2 * kFrameSamples, 2);
  Rig rig("mimienc", "", kF32);
  fail_unless_equals_int(rig.Push(F32(a, 0)), GST_FLOW_OK);
  fail_unless(rig.Send(gst_event_new_gap(100 * GST_MSECOND, 10 * GST_SECOND)));
  fail_unless_equals_int(rig.Push(F32(b, 10100 * GST_MSECOND)), GST_FLOW_OK);
  std::vector<Buffer> out = rig.Finish();
  fail_unless_codes(CodesOf(out), Joined(Encoded(a, 8), Encoded(b, 8)));
  fail_unless_equals_uint64(GST_BUFFER_PTS(out[2].get()), 10100 * GST_MSECOND);
  fail_unless(GST_BUFFER_FLAG_IS_SET(out[2].get(), GST_BUFFER_FLAG_DISCONT));
}
GST_END_TEST;

GST_START_TEST(test_11_without_plc_a_gap_at_the_decoder_is_passed_on) {
  const Codes codes = SomeCodes(2, 8);
  Rig rig("mimidec", "", CodesCaps(8).c_str());
  fail_unless_equals_int(rig.Push(Frames(Codes(codes.begin(), codes.begin() + 8), 8, 0)), GST_FLOW_OK);
  fail_unless(rig.Send(gst_event_new_gap(FrameTime(1), FrameTime(3))));
  fail_unless_equals_int(rig.Push(Frames(Codes(codes.begin() + 8, codes.end()), 8, FrameTime(4))), GST_FLOW_OK);
  std::vector<Buffer> out = rig.Finish();
  fail_unless_samples(SamplesOf(out), Decoded(codes, 8));
  fail_unless_equals_uint64(GST_BUFFER_PTS(out[1].get()), FrameTime(4));
  bool passed = false;
  while (GstEvent* raw = gst_harness_try_pull_event(rig.harness.get())) {
    Event event(raw);
    passed |= GST_EVENT_TYPE(raw) == GST_EVENT_GAP;
  }
  fail_unless(passed);
}
GST_END_TEST;

GST_START_TEST(test_11_plc_gives_exactly_the_samples_of_the_gap) {
  const Codes codes = SomeCodes(2, 8);
  for (int gap : {10, 40, 80, 100, 120, 240, 1000, 25000}) {
    Rig rig("mimidec", "plc=true", CodesCaps(8).c_str());
    fail_unless_equals_int(rig.Push(Frames(Codes(codes.begin(), codes.begin() + 8), 8, 0)), GST_FLOW_OK);
    fail_unless(rig.Send(gst_event_new_gap(kFrame, gap * GST_MSECOND)));
    fail_unless_equals_int(rig.Push(Frames(Codes(codes.begin() + 8, codes.end()), 8, kFrame + gap * GST_MSECOND)),
                           GST_FLOW_OK);
    std::vector<Buffer> out = rig.Finish();
    const size_t samples = SamplesOf(out).size();
    fail_unless(samples == 2 * kFrameSamples + gap * kMs, "a gap of %d ms gave %zu samples", gap,
                samples - 2 * kFrameSamples);
    GstClockTime next = 0;
    for (const Buffer& buffer : out) {
      fail_unless_equals_uint64(GST_BUFFER_PTS(buffer.get()), next);
      next += GST_BUFFER_DURATION(buffer.get());
    }
    ExpectNoTrouble(rig.bus.get());
  }
}
GST_END_TEST;

GST_START_TEST(test_11_a_gap_without_duration_is_harmless) {
  Rig encoder("mimienc", "", kF32), decoder("mimidec", "", CodesCaps(8).c_str());
  const Samples sound = Sound(2 * kFrameSamples);
  const Codes codes = SomeCodes(2, 8);
  fail_unless_equals_int(encoder.Push(F32(Samples(sound.begin(), sound.begin() + kFrameSamples), 0)), GST_FLOW_OK);
  fail_unless_equals_int(decoder.Push(Frames(Codes(codes.begin(), codes.begin() + 8), 8, 0)), GST_FLOW_OK);
  fail_unless(encoder.Send(gst_event_new_gap(kFrame, GST_CLOCK_TIME_NONE)));
  fail_unless(decoder.Send(gst_event_new_gap(kFrame, GST_CLOCK_TIME_NONE)));
  fail_unless_equals_int(encoder.Push(F32(Samples(sound.begin() + kFrameSamples, sound.end()), kFrame)), GST_FLOW_OK);
  fail_unless_equals_int(decoder.Push(Frames(Codes(codes.begin() + 8, codes.end()), 8, kFrame)), GST_FLOW_OK);
  fail_unless_codes(CodesOf(encoder.Finish()), Encoded(sound, 8));
  fail_unless_samples(SamplesOf(decoder.Finish()), Decoded(codes, 8));
}
GST_END_TEST;

GST_START_TEST(test_11_plc_at_the_start_of_a_stream) {
  Rig rig("mimidec", "plc=true", CodesCaps(8).c_str());
  fail_unless(rig.Send(gst_event_new_gap(0, kFrame)));
  fail_unless_equals_int(rig.Push(Frames(SomeCodes(1, 8), 8, kFrame)), GST_FLOW_OK);
  std::vector<Buffer> out = rig.Finish();
  fail_unless(!out.empty());
  fail_unless_equals_uint64(GST_BUFFER_PTS(out.back().get()), kFrame);
  ExpectNoTrouble(rig.bus.get());
}
GST_END_TEST;

Suite* gaps_suite() {
  Suite* suite = suite_create("gaps");
  TCase* tcase = AddCase(suite, "gaps");
  tcase_add_test(tcase, test_10_a_hole_within_the_tolerance_is_jitter);
  tcase_add_test(tcase, test_10_a_hole_of_a_frame_is_filled_with_silence);
  tcase_add_test(tcase, test_10_holes_up_to_a_second_are_filled_also_in_mid_frame);
  tcase_add_test(tcase, test_10_a_hole_of_ten_seconds_drains_resets_and_marks);
  tcase_add_test(tcase, test_10_discont_without_a_hole_changes_nothing_at_the_decoder);
  tcase_add_test(tcase, test_10_a_hole_at_the_decoder_keeps_state_and_time);
  tcase_add_test(tcase, test_11_gap_event_at_the_encoder_becomes_silence);
  tcase_add_test(tcase, test_11_gap_events_alone_make_a_stream_of_silence);
  tcase_add_test(tcase, test_11_a_long_gap_event_drains_and_resets);
  tcase_add_test(tcase, test_11_without_plc_a_gap_at_the_decoder_is_passed_on);
  tcase_add_test(tcase, test_11_plc_gives_exactly_the_samples_of_the_gap);
  tcase_add_test(tcase, test_11_a_gap_without_duration_is_harmless);
  tcase_add_test(tcase, test_11_plc_at_the_start_of_a_stream);
  return suite;
}

}  // namespace

GST_CHECK_MAIN(gaps)

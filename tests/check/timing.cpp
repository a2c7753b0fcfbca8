// SPDX-License-Identifier: MIT
// Frame counts and time stamps for any cutting of the input, and segments (behaviors 4 and 5).
#include <algorithm>

#include "support.h"

using namespace check;

namespace {

// Pushes `samples` in buffers of `chunk`, each with its exact time.
void PushInChunks(Rig& rig, const Samples& samples, size_t chunk, GstClockTime base = 0) {
  for (size_t at = 0; at < samples.size(); at += chunk) {
    const size_t end = std::min(samples.size(), at + chunk);
    const GstClockTime pts = base + gst_util_uint64_scale_int(at, GST_SECOND, moshi_fake::kRate);
    fail_unless_equals_int(rig.Push(F32(Samples(samples.begin() + at, samples.begin() + end), pts)), GST_FLOW_OK);
  }
}

GST_START_TEST(test_4_any_cutting_of_the_input_gives_the_same_frames_and_times) {
  const Samples sound = Sound(4 * kFrameSamples + 37);
  const Codes expected = Encoded(sound, 8);
  for (size_t chunk : {1, 7, 441, 1919, 1920, 1921, 4000, 24000}) {
    Rig rig("mimienc", "", kF32);
    PushInChunks(rig, sound, chunk);
    std::vector<Buffer> out = rig.Finish();
    fail_unless_equals_int(out.size(), 5);
    fail_unless_times(out, 0);
    fail_unless_codes(CodesOf(out), expected);
  }
}
GST_END_TEST;

GST_START_TEST(test_4_a_frame_comes_out_as_soon_as_it_is_complete) {
  const Samples sound = Sound(3 * kFrameSamples);
  Rig rig("mimienc", "", kF32);
  for (int f = 0; f < 3; ++f) {
    Samples frame(sound.begin() + f * kFrameSamples, sound.begin() + (f + 1) * kFrameSamples);
    fail_unless_equals_int(rig.Push(F32(frame, FrameTime(f))), GST_FLOW_OK);
    Buffer out(gst_harness_pull(rig.harness.get()));
    fail_unless_equals_uint64(GST_BUFFER_PTS(out.get()), FrameTime(f));
  }
}
GST_END_TEST;

GST_START_TEST(test_4_times_do_not_drift_over_ten_minutes) {
  Rig rig("mimienc", "codebooks=1", kF32);
  const Samples a_second = Sound(24000);
  int64_t frame = 0;
  for (int s = 0; s < 600; ++s) {
    fail_unless_equals_int(rig.Push(F32(a_second, s * GST_SECOND)), GST_FLOW_OK);
    for (const Buffer& buffer : rig.Take()) {
      fail_unless_equals_uint64(GST_BUFFER_PTS(buffer.get()), FrameTime(frame));
      ++frame;
    }
  }
  frame += static_cast<int64_t>(rig.Finish().size());
  fail_unless_equals_int64(frame, 7500);
}
GST_END_TEST;

GST_START_TEST(test_4_input_without_time_stamps_still_gets_times) {
  Rig rig("mimienc", "", kF32);
  const Samples sound = Sound(3 * kFrameSamples);
  for (int i = 0; i < 6; ++i) {
    Buffer half = F32(Samples(sound.begin() + i * 960, sound.begin() + (i + 1) * 960));
    GST_BUFFER_DURATION(half.get()) = GST_CLOCK_TIME_NONE;
    fail_unless_equals_int(rig.Push(std::move(half)), GST_FLOW_OK);
  }
  std::vector<Buffer> out = rig.Finish();
  fail_unless_equals_int(out.size(), 3);
  for (size_t i = 1; i < out.size(); ++i) {
    fail_unless(GST_BUFFER_PTS_IS_VALID(out[i].get()));
    fail_unless_equals_uint64(GST_BUFFER_PTS(out[i].get()) - GST_BUFFER_PTS(out[0].get()), FrameTime(i));
  }
  fail_unless_codes(CodesOf(out), Encoded(sound, 8));
}
GST_END_TEST;

GST_START_TEST(test_4_jitter_of_5_ms_changes_nothing) {
  Rig rig("mimienc", "", kF32);
  const Samples sound = Sound(10 * kFrameSamples);
  for (int f = 0; f < 10; ++f) {
    const GstClockTime jitter = f == 0 ? 0 : f % 2 == 0 ? 5 * GST_MSECOND : -5 * GST_MSECOND;
    Samples frame(sound.begin() + f * kFrameSamples, sound.begin() + (f + 1) * kFrameSamples);
    fail_unless_equals_int(rig.Push(F32(frame, FrameTime(f) + jitter)), GST_FLOW_OK);
  }
  std::vector<Buffer> out = rig.Finish();
  fail_unless_codes(CodesOf(out), Encoded(sound, 8));
  for (size_t i = 1; i < out.size(); ++i)
    fail_if(GST_BUFFER_FLAG_IS_SET(out[i].get(), GST_BUFFER_FLAG_DISCONT), "frame %zu", i);
}
GST_END_TEST;

GST_START_TEST(test_5_a_stream_may_begin_at_any_time) {
  Rig rig("mimienc", "", kF32);
  const GstClockTime base = 3 * GST_SECOND + 123456789;
  const Samples sound = Sound(3 * kFrameSamples);
  PushInChunks(rig, sound, 500, base);
  std::vector<Buffer> out = rig.Finish();
  fail_unless_equals_int(out.size(), 3);
  fail_unless_equals_uint64(GST_BUFFER_PTS(out[0].get()), base);
  for (size_t i = 0; i < 3; ++i) {
    const GstClockTimeDiff off = GST_CLOCK_DIFF(FrameTime(i, base), GST_BUFFER_PTS(out[i].get()));
    fail_unless(ABS(off) <= 1, "frame %zu is off by %" G_GINT64_FORMAT " ns", i, off);
  }
}
GST_END_TEST;

// The segment that the element sent last.
GstSegment OutSegment(const Rig& rig) {
  Event event(gst_pad_get_sticky_event(rig.harness->sinkpad, GST_EVENT_SEGMENT, 0));
  fail_unless(event != nullptr);
  GstSegment segment;
  gst_event_copy_segment(event.get(), &segment);
  return segment;
}

GST_START_TEST(test_5_segment_start_and_stop_clip_the_input) {
  Rig rig("mimienc", "", kF32);
  fail_unless(rig.SendSegment(GST_SECOND, GST_SECOND + 200 * GST_MSECOND));
  // Half a second from 0.9 s on: 0.1 s before the segment, 0.2 s in it.
  const Samples sound = Sound(12000);
  fail_unless(rig.Push(F32(sound, 900 * GST_MSECOND)) >= GST_FLOW_EOS);
  std::vector<Buffer> out = rig.Finish();
  fail_unless_equals_int(out.size(), 3);
  fail_unless_times(out, GST_SECOND);
  fail_unless_codes(CodesOf(out), Encoded(Samples(sound.begin() + 2400, sound.begin() + 7200), 8));
  fail_unless_equals_uint64(ClippedEnd(out[2]), 960);
}
GST_END_TEST;

GST_START_TEST(test_5_running_time_is_right_at_another_rate_and_start) {
  for (double rate : {1.0, 2.0, 0.5}) {
    Rig encoder("mimienc", "", kF32);
    fail_unless(encoder.SendSegment(10 * GST_SECOND, GST_CLOCK_TIME_NONE, rate));
    const Samples sound = Sound(4 * kFrameSamples);
    fail_unless_equals_int(encoder.Push(F32(sound, 10 * GST_SECOND)), GST_FLOW_OK);
    Rig decoder("mimidec", "", CodesCaps(8).c_str());
    fail_unless(decoder.SendSegment(10 * GST_SECOND, GST_CLOCK_TIME_NONE, rate));
    std::vector<Buffer> codes = encoder.Finish();
    fail_unless_equals_int(codes.size(), 4);
    for (Buffer& frame : codes) fail_unless_equals_int(decoder.Push(std::move(frame)), GST_FLOW_OK);
    std::vector<Buffer> audio = decoder.Finish();
    fail_unless_equals_int(audio.size(), 4);
    const GstSegment segment = OutSegment(decoder);
    fail_unless(segment.rate == rate);
    for (int f = 0; f < 4; ++f) {
      const GstClockTime running =
          gst_segment_to_running_time(&segment, GST_FORMAT_TIME, GST_BUFFER_PTS(audio[f].get()));
      fail_unless_equals_uint64(running, static_cast<GstClockTime>(FrameTime(f) / rate));
    }
  }
}
GST_END_TEST;

void SendSegmentWithBase(Rig& rig, GstClockTime start, GstClockTime base) {
  GstSegment segment;
  gst_segment_init(&segment, GST_FORMAT_TIME);
  segment.start = segment.time = segment.position = start;
  segment.base = base;
  fail_unless(rig.Send(gst_event_new_segment(&segment)));
}

GST_START_TEST(test_5_a_continuous_segment_goes_on_with_the_same_state) {
  const Samples a = Sound(3 * kFrameSamples, 1), b = Sound(3 * kFrameSamples, 2);
  Rig rig("mimienc", "", kF32);
  fail_unless_equals_int(rig.Push(F32(a, 0)), GST_FLOW_OK);
  SendSegmentWithBase(rig, 10 * GST_SECOND, FrameTime(3));
  fail_unless_equals_int(rig.Push(F32(b, 10 * GST_SECOND)), GST_FLOW_OK);
  std::vector<Buffer> out = rig.Finish();
  fail_unless_codes(CodesOf(out), Encoded(Joined(a, b), 8));
  fail_unless_equals_uint64(GST_BUFFER_PTS(out[3].get()), 10 * GST_SECOND);
}
GST_END_TEST;

GST_START_TEST(test_5_a_segment_that_jumps_in_running_time_resets_the_encoder) {
  const Samples a = Sound(2 * kFrameSamples + 500, 1), b = Sound(3 * kFrameSamples, 2);
  Rig rig("mimienc", "", kF32);
  fail_unless_equals_int(rig.Push(F32(a, 0)), GST_FLOW_OK);
  SendSegmentWithBase(rig, 10 * GST_SECOND, 20 * GST_SECOND);
  fail_unless_equals_int(rig.Push(F32(b, 10 * GST_SECOND)), GST_FLOW_OK);
  std::vector<Buffer> out = rig.Finish();
  fail_unless_codes(CodesOf(out), Joined(Encoded(a, 8), Encoded(b, 8)));
  fail_unless_equals_uint64(GST_BUFFER_PTS(out[3].get()), 10 * GST_SECOND);
}
GST_END_TEST;

GST_START_TEST(test_5_a_continuous_segment_does_not_reset_the_decoder) {
  const Codes a = SomeCodes(2, 8, 1), b = SomeCodes(2, 8, 2);
  Rig rig("mimidec", "", CodesCaps(8).c_str());
  fail_unless_equals_int(rig.Push(Frames(a, 8, 0)), GST_FLOW_OK);
  SendSegmentWithBase(rig, 10 * GST_SECOND, FrameTime(2));
  fail_unless_equals_int(rig.Push(Frames(b, 8, 10 * GST_SECOND)), GST_FLOW_OK);
  fail_unless_samples(SamplesOf(rig.Finish()), Decoded(Joined(a, b), 8));
}
GST_END_TEST;

GST_START_TEST(test_5_a_segment_that_is_not_in_time_is_refused_with_a_hint) {
  for (auto [factory, caps, hint] :
       {std::tuple{"mimienc", std::string(kF32), "rawaudioparse"}, std::tuple{"mimidec", CodesCaps(8), "mimiparse"}}) {
    Element pipeline = Launch("fakesrc num-buffers=3 sizetype=fixed sizemax=7680 format=bytes filltype=zero ! " + caps +
                              " ! " + factory + " ! fakesink");
    Bus bus = BusOf(pipeline);
    gst_element_set_state(pipeline.get(), GST_STATE_PLAYING);
    Message error = WaitMessage(bus.get(), GST_MESSAGE_ERROR);
    fail_unless(error != nullptr && Says(error, hint), "%s does not name %s", factory, hint);
  }
}
GST_END_TEST;

Suite* timing_suite() {
  Suite* suite = suite_create("timing");
  TCase* tcase = AddCase(suite, "timing");
  tcase_add_test(tcase, test_4_any_cutting_of_the_input_gives_the_same_frames_and_times);
  tcase_add_test(tcase, test_4_a_frame_comes_out_as_soon_as_it_is_complete);
  tcase_add_test(tcase, test_4_times_do_not_drift_over_ten_minutes);
  tcase_add_test(tcase, test_4_input_without_time_stamps_still_gets_times);
  tcase_add_test(tcase, test_4_jitter_of_5_ms_changes_nothing);
  tcase_add_test(tcase, test_5_a_stream_may_begin_at_any_time);
  tcase_add_test(tcase, test_5_segment_start_and_stop_clip_the_input);
  tcase_add_test(tcase, test_5_running_time_is_right_at_another_rate_and_start);
  tcase_add_test(tcase, test_5_a_continuous_segment_goes_on_with_the_same_state);
  tcase_add_test(tcase, test_5_a_segment_that_jumps_in_running_time_resets_the_encoder);
  tcase_add_test(tcase, test_5_a_continuous_segment_does_not_reset_the_decoder);
  tcase_add_test(tcase, test_5_a_segment_that_is_not_in_time_is_refused_with_a_hint);
  return suite;
}

}  // namespace

GST_CHECK_MAIN(timing)

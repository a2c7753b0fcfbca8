// SPDX-License-Identifier: MIT
// Frames of a conversation and their time (behaviors 33, 34, 36, 37, and 10, 11, 24 on moshilm).
#include "recorder.h"

using namespace check;

namespace {

constexpr char kGreedy[] = "sampling=false";

moshi_fake::LmShape Delayed(int delay) {
  Knob("LM_DELAY", delay);
  return {.max_delay = delay};
}

GST_START_TEST(test_33_one_frame_out_for_each_frame_in) {
  // No delay, Moshi's, hibiki's, and a longer one: at the end as many frames have come out as went in.
  for (int delay : {0, 1, 2, 5}) {
    BeginWithFake();
    const moshi_fake::LmShape shape = Delayed(delay);
    LmRig rig(kGreedy);
    const Codes user = SomeCodes(20, 8);
    rig.PushAll(user);
    rig.Finish();
    const Said said = Answer(user, shape);
    fail_unless_codes(CodesOf(rig.audio->Buffers()), said.codes);
    fail_unless_times(rig.audio->Buffers(), 0);
    fail_unless(rig.text->Text() == TextOf(said.text), "%s", rig.text->Text().c_str());
    // The step on the initial tokens, one a frame, and those that bring out the rest.
    fail_unless_equals_int64(Counts().steps, 1 + 20 + std::max(delay, 1) - 1);
  }
}
GST_END_TEST;

GST_START_TEST(test_33_nothing_but_gaps_for_the_first_frames_of_a_delayed_model) {
  Delayed(3);
  LmRig rig(kGreedy);
  rig.PushAll(SomeCodes(2, 8));
  rig.audio->WaitEvent(GST_EVENT_GAP);
  WaitFor(&MoshiFakeStats::steps, 3);
  fail_unless_equals_int(rig.audio->Buffers().size(), 0);
  fail_unless(rig.audio->Gaps() == std::vector<GstClockTime>{0});
  rig.PushAll(SomeCodes(1, 8), 8, FrameTime(2));
  rig.audio->WaitBuffers(1);
  fail_unless_times(rig.audio->Buffers(), 0);
}
GST_END_TEST;

GST_START_TEST(test_34_output_has_the_time_of_its_user_frame) {
  const GstClockTime base = 7 * GST_SECOND + 13;
  LmRig rig(kGreedy);
  rig.PushAll(SomeCodes(6, 8), 8, base);
  rig.Finish();
  fail_unless_times(rig.audio->Buffers(), base);
  // Each frame is either a piece or a gap of text.
  std::vector<GstClockTime> times = rig.text->Gaps();
  for (const Buffer& piece : rig.text->Buffers()) {
    fail_unless_equals_uint64(GST_BUFFER_DURATION(piece.get()), kFrame);
    times.push_back(GST_BUFFER_PTS(piece.get()));
  }
  std::sort(times.begin(), times.end());
  fail_unless_equals_int(times.size(), 6);
  for (int frame = 0; frame < 6; ++frame) fail_unless_equals_uint64(times[frame], FrameTime(frame, base));
}
GST_END_TEST;

GST_START_TEST(test_24_a_buffer_of_several_frames_in_either_format) {
  const Codes user = SomeCodes(9, 8);
  const Said said = Answer(user);
  LmRig rig(kGreedy);
  fail_unless_equals_int(rig.Push(Frames(user, 8, 0)), GST_FLOW_OK);
  rig.Finish();
  fail_unless_codes(CodesOf(rig.audio->Buffers()), said.codes);
  fail_unless_times(rig.audio->Buffers(), 0);

  LmRig packed(
      {.properties = kGreedy, .caps = CodesCaps(8, "packed"), .audio_caps = "audio/x-mimi,stream-format=packed"});
  const std::vector<uint8_t> bytes = Packed(user, 8);
  fail_unless_equals_int(packed.Push(Bytes(bytes.data(), bytes.size(), 0)), GST_FLOW_OK);
  packed.Finish();
  fail_unless(BytesOf(packed.audio->Buffers()) == Packed(said.codes, 8));
}
GST_END_TEST;

GST_START_TEST(test_24_more_codebooks_than_the_model_listens_to) {
  LmRig rig({.properties = kGreedy, .caps = CodesCaps(32)});
  const Codes user = SomeCodes(5, 32);
  rig.PushAll(user, 32);
  rig.Finish();
  Codes heard;
  for (int frame = 0; frame < 5; ++frame)
    heard.insert(heard.end(), user.begin() + frame * 32, user.begin() + frame * 32 + 8);
  fail_unless_codes(CodesOf(rig.audio->Buffers()), Answer(heard).codes);
}
GST_END_TEST;

GST_START_TEST(test_11_gaps_and_holes_are_silence) {
  const Codes a = SomeCodes(3, 8, 1), b = SomeCodes(3, 8, 2);
  const Codes expected = Answer(Joined(Joined(a, SilentCodes(2)), b)).codes;
  for (bool event : {true, false}) {
    LmRig rig(kGreedy);
    rig.PushAll(a);
    if (event) fail_unless(rig.Send(gst_event_new_gap(FrameTime(3), 2 * kFrame)));
    rig.PushAll(b, 8, FrameTime(5));
    rig.Finish();
    fail_unless_codes(CodesOf(rig.audio->Buffers()), expected);
    fail_unless_times(rig.audio->Buffers(), 0);
  }
}
GST_END_TEST;

GST_START_TEST(test_10_a_hiccup_does_not_wipe_the_conversation) {
  LmRig rig(kGreedy);
  const Codes a = SomeCodes(4, 8, 1), b = SomeCodes(4, 8, 2);
  rig.PushAll(a);
  // Ten milliseconds late, DISCONT, other caps of the same codes, and a new segment.
  Buffer late = Frames(Codes(b.begin(), b.begin() + 8), 8, FrameTime(4) + 10 * GST_MSECOND);
  GST_BUFFER_FLAG_SET(late.get(), GST_BUFFER_FLAG_DISCONT);
  fail_unless_equals_int(rig.Push(std::move(late)), GST_FLOW_OK);
  fail_unless(rig.SendCaps(CodesCaps(8, "packed")));
  fail_unless(rig.SendSegment(GST_SECOND));
  const std::vector<uint8_t> rest = Packed(Codes(b.begin() + 8, b.end()), 8);
  fail_unless_equals_int(rig.Push(Bytes(rest.data(), rest.size(), 2 * GST_SECOND)), GST_FLOW_OK);
  rig.Finish();
  fail_unless_codes(CodesOf(rig.audio->Buffers()), Answer(Joined(a, b)).codes);
  fail_unless(GST_BUFFER_FLAG_IS_SET(rig.audio->Buffers()[4].get(), GST_BUFFER_FLAG_DISCONT));
  fail_unless_equals_int(rig.audio->Count(GST_EVENT_SEGMENT), 2);
  fail_unless_equals_int64(Counts().lm_resets, 0);
}
GST_END_TEST;

GST_START_TEST(test_10_the_end_of_a_segment_does_not_wipe_the_conversation) {
  for (int delay : {1, 3}) {
    BeginWithFake();
    const moshi_fake::LmShape shape = Delayed(delay);
    const int lag = delay - 1;
    LmRig rig(kGreedy);
    const Codes a = SomeCodes(4, 8, 1), b = SomeCodes(4, 8, 2);
    rig.PushAll(a);
    fail_unless(rig.Send(gst_event_new_segment_done(GST_FORMAT_TIME, FrameTime(4))));
    fail_unless(rig.SendSegment());
    rig.PushAll(b);
    rig.Finish();
    // What was held back came before it, brought out by silence whose own answer is left out.
    Codes expected = Answer(Joined(Joined(a, SilentCodes(lag)), b), shape).codes;
    expected.erase(expected.begin() + 4 * 8, expected.begin() + (4 + lag) * 8);
    fail_unless_codes(CodesOf(rig.audio->Buffers()), expected);
    fail_unless_equals_int64(Counts().lm_resets, 0);
    rig.audio->Look([](const auto& items) {
      size_t buffers = 0;
      for (const auto& item : items) {
        buffers += item.buffer != nullptr;
        if (item.Is(GST_EVENT_SEGMENT_DONE)) fail_unless_equals_int(buffers, 4);
      }
    });
  }
}
GST_END_TEST;

GST_START_TEST(test_37_events_keep_their_place_among_delayed_frames) {
  Delayed(3);
  LmRig rig(kGreedy);
  rig.PushAll(SomeCodes(4, 8));
  fail_unless(rig.Send(gst_event_new_custom(GST_EVENT_CUSTOM_DOWNSTREAM, gst_structure_new_empty("mark"))));
  rig.PushAll(SomeCodes(4, 8), 8, FrameTime(4));
  rig.Finish();
  rig.audio->Look([](const auto& items) {
    size_t buffers = 0;
    for (const auto& item : items) {
      buffers += item.buffer != nullptr;
      if (item.Is(GST_EVENT_CUSTOM_DOWNSTREAM)) fail_unless_equals_int(buffers, 4);
    }
    fail_unless_equals_int(buffers, 8);
  });
}
GST_END_TEST;

GST_START_TEST(test_37_an_end_without_input_is_an_end) {
  LmRig rig(kGreedy);
  rig.Finish();
  fail_unless_equals_int(rig.audio->Buffers().size(), 0);
  fail_unless_equals_int64(Counts().steps, 0);
}
GST_END_TEST;

GST_START_TEST(test_37_a_translation_goes_on_until_the_model_ends_it) {
  Knob("LM_DELAY", 2);
  Knob("LM_HIBIKI", 1);
  Knob("LM_EOS_AFTER", 6);
  LmRig rig(kGreedy);
  rig.PushAll(SomeCodes(5, 8));
  rig.Finish();
  // The mark of the end is step 6; the token of the end comes 6 steps later; one frame is held back.
  const std::vector<Buffer> out = rig.audio->Buffers();
  fail_unless_equals_int(out.size(), 5 + 1 + 6 - 1);
  fail_unless_times(out, 0);
  fail_unless_equals_int64(Counts().steps, 1 + 5 + 1 + 6);
}
GST_END_TEST;

GST_START_TEST(test_37_a_translation_may_be_longer_than_its_input_s_segment) {
  for (bool hibiki : {true, false}) {
    BeginWithFake();
    Knob("LM_HIBIKI", hibiki);
    LmRig rig({.properties = kGreedy, .caps = ""});
    fail_unless(rig.SendCaps(CodesCaps(8)));
    GstSegment segment;
    gst_segment_init(&segment, GST_FORMAT_TIME);
    segment.stop = FrameTime(5);
    fail_unless(rig.Send(gst_event_new_segment(&segment)));
    rig.PushAll(SomeCodes(5, 8));
    rig.Finish();
    rig.audio->Look([&](const auto& items) {
      for (const auto& item : items) {
        if (!item.Is(GST_EVENT_SEGMENT)) continue;
        gst_event_copy_segment(item.event.get(), &segment);
        fail_unless_equals_uint64(segment.stop, hibiki ? GST_CLOCK_TIME_NONE : FrameTime(5));
      }
    });
  }
}
GST_END_TEST;

GST_START_TEST(test_37_a_translation_without_an_end_is_cut) {
  Knob("LM_HIBIKI", 1);
  Knob("LM_EOS_AFTER", -1);
  LmRig rig("sampling=false eos-max-duration=800000000");
  rig.PushAll(SomeCodes(5, 8));
  rig.Finish();
  fail_unless_equals_int(rig.audio->Buffers().size(), 5 + 10);
}
GST_END_TEST;

GST_START_TEST(test_34_a_model_without_a_voice_gives_gaps) {
  Knob("LM_OWN", 0);
  Knob("LM_EXTRA_HEADS", 2);
  LmRig rig(kGreedy);
  const Codes user = SomeCodes(10, 8);
  rig.PushAll(user);
  rig.Finish();
  const Said said = Answer(user, {.own = 0});
  fail_unless_equals_int(rig.audio->Buffers().size(), 0);
  const std::vector<GstClockTime> gaps = rig.audio->Gaps();
  fail_unless_equals_int(gaps.size(), 10);
  for (int frame = 0; frame < 10; ++frame) fail_unless_equals_uint64(gaps[frame], FrameTime(frame));
  fail_unless(rig.text->Text() == TextOf(said.text));
}
GST_END_TEST;

Suite* moshilm_time_suite() {
  Suite* suite = suite_create("moshilm_time");
  TCase* tcase = AddCase(suite, "time");
  tcase_add_test(tcase, test_33_one_frame_out_for_each_frame_in);
  tcase_add_test(tcase, test_33_nothing_but_gaps_for_the_first_frames_of_a_delayed_model);
  tcase_add_test(tcase, test_34_output_has_the_time_of_its_user_frame);
  tcase_add_test(tcase, test_24_a_buffer_of_several_frames_in_either_format);
  tcase_add_test(tcase, test_24_more_codebooks_than_the_model_listens_to);
  tcase_add_test(tcase, test_11_gaps_and_holes_are_silence);
  tcase_add_test(tcase, test_10_a_hiccup_does_not_wipe_the_conversation);
  tcase_add_test(tcase, test_10_the_end_of_a_segment_does_not_wipe_the_conversation);
  tcase_add_test(tcase, test_37_events_keep_their_place_among_delayed_frames);
  tcase_add_test(tcase, test_37_an_end_without_input_is_an_end);
  tcase_add_test(tcase, test_37_a_translation_goes_on_until_the_model_ends_it);
  tcase_add_test(tcase, test_37_a_translation_may_be_longer_than_its_input_s_segment);
  tcase_add_test(tcase, test_37_a_translation_without_an_end_is_cut);
  tcase_add_test(tcase, test_34_a_model_without_a_voice_gives_gaps);
  return suite;
}

}  // namespace

GST_CHECK_MAIN(moshilm_time)

// SPDX-License-Identifier: MIT
// Latency, allocation, position and conversion queries, and tags (behaviors 15 to 19).
#include <gst/audio/audio.h>

#include "support.h"

using namespace check;

namespace {

struct Latency {
  gboolean live;
  GstClockTime min, max;
};

Latency Ask(GstElement* element) {
  Query query(gst_query_new_latency());
  Pad pad(gst_element_get_static_pad(element, "src"));
  fail_unless(gst_pad_query(pad.get(), query.get()));
  Latency latency;
  gst_query_parse_latency(query.get(), &latency.live, &latency.min, &latency.max);
  return latency;
}

GST_START_TEST(test_15_the_encoder_adds_a_frame_and_the_processing) {
  for (bool live : {false, true}) {
    Rig rig("mimienc", "processing-latency=7000000", kF32);
    gst_harness_set_live(rig.harness.get(), live);
    gst_harness_set_upstream_latency(rig.harness.get(), 20 * GST_MSECOND);
    fail_unless_equals_int(rig.Push(F32(Sound(kFrameSamples), 0)), GST_FLOW_OK);
    const Latency latency = Ask(rig.element());
    fail_unless_equals_int(latency.live, live);
    fail_unless_equals_uint64(latency.min, (20 + 80 + 7) * GST_MSECOND);
    fail_unless(latency.max >= latency.min);
  }
}
GST_END_TEST;

GST_START_TEST(test_15_the_decoder_adds_only_the_processing) {
  Rig rig("mimidec", "processing-latency=7000000", CodesCaps(8).c_str());
  gst_harness_set_upstream_latency(rig.harness.get(), 20 * GST_MSECOND);
  fail_unless_equals_int(rig.Push(Frames(SomeCodes(1, 8), 8, 0)), GST_FLOW_OK);
  fail_unless_equals_uint64(Ask(rig.element()).min, (20 + 7) * GST_MSECOND);
}
GST_END_TEST;

GST_START_TEST(test_15_processing_is_measured_at_warm_up_by_default) {
  Knob("PROCESSING_US", 11000);
  Rig encoder("mimienc", "", kF32), decoder("mimidec", "", CodesCaps(8).c_str());
  fail_unless_equals_int(encoder.Push(F32(Sound(kFrameSamples), 0)), GST_FLOW_OK);
  fail_unless_equals_int(decoder.Push(Frames(SomeCodes(1, 8), 8, 0)), GST_FLOW_OK);
  fail_unless_equals_uint64(Ask(encoder.element()).min, (80 + 11) * GST_MSECOND);
  fail_unless_equals_uint64(Ask(decoder.element()).min, 11 * GST_MSECOND);
}
GST_END_TEST;

GST_START_TEST(test_15_n_batched_frames_are_n_frames_of_latency) {
  Rig rig("mimienc", "batch-frames=5 processing-latency=0", kF32);
  const Samples sound = Sound(13 * kFrameSamples);
  fail_unless_equals_int(rig.Push(F32(sound, 0)), GST_FLOW_OK);
  fail_unless_equals_uint64(Ask(rig.element()).min, 5 * kFrame);
  std::vector<Buffer> out = rig.Finish();
  fail_unless_equals_int(out.size(), 13);
  fail_unless_times(out, 0);
  fail_unless_codes(CodesOf(out), Encoded(sound, 8));
  fail_unless_equals_int64(Counts().job_frames_max, 5);
}
GST_END_TEST;

GST_START_TEST(test_15_one_frame_at_a_time_unless_upstream_can_seek) {
  Rig rig("mimienc", "", kF32);
  fail_unless_equals_int(rig.Push(F32(Sound(10 * kFrameSamples), 0)), GST_FLOW_OK);
  fail_unless_equals_int(rig.Finish().size(), 10);
  fail_unless_equals_int64(Counts().job_frames_max, 1);
}
GST_END_TEST;

GST_START_TEST(test_15_unlimited_latency_upstream_stays_unlimited) {
  Rig rig("mimienc", "processing-latency=0", kF32);
  fail_unless_equals_int(rig.Push(F32(Sound(kFrameSamples), 0)), GST_FLOW_OK);
  // The harness reports no maximum.
  fail_unless(Ask(rig.element()).max == GST_CLOCK_TIME_NONE);
}
GST_END_TEST;

GST_START_TEST(test_15_a_live_pipeline_plays_with_its_latency) {
  Element pipeline = Launch(std::string("audiotestsrc is-live=true samplesperbuffer=480 ! ") + kF32 +
                            " ! mimienc processing-latency=10000000 ! mimidec processing-latency=10000000 ! "
                            "fakesink name=sink sync=true");
  Bus bus = BusOf(pipeline);
  fail_unless_equals_int(gst_element_set_state(pipeline.get(), GST_STATE_PLAYING), GST_STATE_CHANGE_ASYNC);
  fail_unless(gst_element_get_state(pipeline.get(), nullptr, nullptr, 10 * GST_SECOND) != GST_STATE_CHANGE_FAILURE);
  WaitForAtLeast(&MoshiFakeStats::frames_decoded, 3);
  Query query(gst_query_new_latency());
  fail_unless(gst_element_query(pipeline.get(), query.get()));
  gboolean live = FALSE;
  GstClockTime min = 0, max = 0;
  gst_query_parse_latency(query.get(), &live, &min, &max);
  fail_unless(live && min >= 100 * GST_MSECOND && min < 200 * GST_MSECOND);
  fail_unless(max >= min);
  ExpectNoTrouble(bus.get());
}
GST_END_TEST;

GST_START_TEST(test_16_a_latency_message_comes_with_the_first_format_and_with_a_change_only) {
  Rig rig("mimienc", "processing-latency=0", kF32);
  fail_unless_equals_int(rig.Push(F32(Sound(kFrameSamples), 0)), GST_FLOW_OK);
  fail_unless(PopMessage(rig.bus.get(), GST_MESSAGE_LATENCY) != nullptr);
  while (PopMessage(rig.bus.get(), GST_MESSAGE_LATENCY) != nullptr) {
  }
  fail_unless_equals_int(rig.Push(F32(Sound(kFrameSamples), kFrame)), GST_FLOW_OK);
  fail_unless(PopMessage(rig.bus.get(), GST_MESSAGE_LATENCY) == nullptr);
  g_object_set(rig.element(), "processing-latency", gint64{30 * GST_MSECOND}, nullptr);
  fail_unless_equals_int(rig.Push(F32(Sound(kFrameSamples), 2 * kFrame)), GST_FLOW_OK);
  fail_unless(PopMessage(rig.bus.get(), GST_MESSAGE_LATENCY) != nullptr);
  fail_unless_equals_uint64(Ask(rig.element()).min, 110 * GST_MSECOND);
}
GST_END_TEST;

GST_START_TEST(test_17_an_allocator_downstream_is_used_or_declined_with_the_right_data) {
  Rig rig("mimidec");
  GstAllocationParams params;
  gst_allocation_params_init(&params);
  params.align = 63;
  params.prefix = 16;
  params.padding = 16;
  gst_harness_set_propose_allocator(rig.harness.get(), nullptr, &params);
  gst_harness_set_src_caps_str(rig.harness.get(), CodesCaps(8).c_str());
  const Codes codes = SomeCodes(3, 8);
  fail_unless_equals_int(rig.Push(Frames(codes, 8, 0)), GST_FLOW_OK);
  fail_unless_samples(SamplesOf(rig.Finish()), Decoded(codes, 8));
}
GST_END_TEST;

GST_START_TEST(test_17_an_allocation_query_is_answered_without_a_stream) {
  for (const char* factory : {"mimienc", "mimidec", "mimiparse"}) {
    Element element = New(factory);
    Pad sink(gst_element_get_static_pad(element.get(), "sink"));
    Caps caps(gst_caps_from_string(factory[4] == 'e' ? kF32 : CodesCaps(8).c_str()));
    Query query(gst_query_new_allocation(caps.get(), FALSE));
    gst_pad_query(sink.get(), query.get());
  }
}
GST_END_TEST;

std::string TextTag(const Tags& tags, const char* name) {
  char* text = nullptr;
  if (!gst_tag_list_get_string(tags.get(), name, &text)) return "";
  return Text(text).get();
}

Tags TagsOf(const Rig& rig) {
  Tags all(gst_tag_list_new_empty());
  while (GstEvent* raw = gst_harness_try_pull_event(rig.harness.get())) {
    Event event(raw);
    if (GST_EVENT_TYPE(raw) != GST_EVENT_TAG) continue;
    GstTagList* tags = nullptr;
    gst_event_parse_tag(raw, &tags);
    gst_tag_list_insert(all.get(), tags, GST_TAG_MERGE_REPLACE);
  }
  return all;
}

GST_START_TEST(test_18_tags_name_codec_bitrate_and_encoder) {
  Rig rig("mimienc", "codebooks=8", kF32);
  fail_unless(rig.Send(gst_event_new_tag(gst_tag_list_new(GST_TAG_TITLE, "a title", nullptr))));
  fail_unless_equals_int(rig.Push(F32(Sound(kFrameSamples), 0)), GST_FLOW_OK);
  rig.Finish();
  Tags tags = TagsOf(rig);
  fail_unless(TextTag(tags, GST_TAG_AUDIO_CODEC) == "Kyutai Mimi");
  fail_if(TextTag(tags, GST_TAG_ENCODER).empty());
  guint bitrate = 0;
  fail_unless(gst_tag_list_get_uint(tags.get(), GST_TAG_NOMINAL_BITRATE, &bitrate) ||
              gst_tag_list_get_uint(tags.get(), GST_TAG_BITRATE, &bitrate));
  // 12.5 frames a second of 8 codes: 1100 bit/s of information, 1600 in 16-bit codes.
  fail_unless(bitrate == 1100 || bitrate == 1600, "bitrate %u", bitrate);
  fail_unless(TextTag(tags, GST_TAG_TITLE) == "a title");
}
GST_END_TEST;

GST_START_TEST(test_18_the_decoder_names_the_codec) {
  Rig rig("mimidec", "", CodesCaps(8).c_str());
  fail_unless_equals_int(rig.Push(Frames(SomeCodes(1, 8), 8, 0)), GST_FLOW_OK);
  rig.Finish();
  Tags tags = TagsOf(rig);
  fail_unless(TextTag(tags, GST_TAG_AUDIO_CODEC) == "Kyutai Mimi");
}
GST_END_TEST;

GST_START_TEST(test_19_raw_audio_converts_between_samples_bytes_and_time) {
  Rig encoder("mimienc", "", kF32), decoder("mimidec", "", CodesCaps(8).c_str());
  fail_unless_equals_int(encoder.Push(F32(Sound(kFrameSamples), 0)), GST_FLOW_OK);
  fail_unless_equals_int(decoder.Push(Frames(SomeCodes(1, 8), 8, 0)), GST_FLOW_OK);
  Pad raw_in(gst_element_get_static_pad(encoder.element(), "sink"));
  Pad raw_out(gst_element_get_static_pad(decoder.element(), "src"));
  for (GstPad* pad : {raw_in.get(), raw_out.get()}) {
    gint64 value = 0;
    fail_unless(gst_pad_query_convert(pad, GST_FORMAT_DEFAULT, 24000, GST_FORMAT_TIME, &value));
    fail_unless_equals_int64(value, GST_SECOND);
    fail_unless(gst_pad_query_convert(pad, GST_FORMAT_TIME, kFrame, GST_FORMAT_BYTES, &value));
    fail_unless_equals_int64(value, 1920 * 4);
  }
}
GST_END_TEST;

GST_START_TEST(test_19_position_follows_the_stream) {
  Element pipeline = Launch(std::string("audiotestsrc num-buffers=10 samplesperbuffer=1920 ! ") + kF32 +
                            " ! mimienc ! mimidec name=dec ! fakesink sync=false");
  Bus bus = BusOf(pipeline);
  gst_element_set_state(pipeline.get(), GST_STATE_PLAYING);
  Message end = WaitMessage(bus.get(), GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  fail_unless(end != nullptr && GST_MESSAGE_TYPE(end.get()) == GST_MESSAGE_EOS);
  gint64 position = -1;
  fail_unless(gst_element_query_position(pipeline.get(), GST_FORMAT_TIME, &position));
  fail_unless_equals_int64(position, FrameTime(10));
  GstElement* decoder = gst_bin_get_by_name(GST_BIN(pipeline.get()), "dec");
  Pad src(gst_element_get_static_pad(decoder, "src"));
  gst_object_unref(decoder);
  fail_unless(gst_pad_query_position(src.get(), GST_FORMAT_TIME, &position));
  fail_unless(position >= static_cast<gint64>(FrameTime(9)) && position <= static_cast<gint64>(FrameTime(10)));
}
GST_END_TEST;

Suite* latency_suite() {
  Suite* suite = suite_create("latency");
  TCase* tcase = AddCase(suite, "latency");
  tcase_add_test(tcase, test_15_the_encoder_adds_a_frame_and_the_processing);
  tcase_add_test(tcase, test_15_the_decoder_adds_only_the_processing);
  tcase_add_test(tcase, test_15_processing_is_measured_at_warm_up_by_default);
  tcase_add_test(tcase, test_15_n_batched_frames_are_n_frames_of_latency);
  tcase_add_test(tcase, test_15_one_frame_at_a_time_unless_upstream_can_seek);
  tcase_add_test(tcase, test_15_unlimited_latency_upstream_stays_unlimited);
  tcase_add_test(tcase, test_15_a_live_pipeline_plays_with_its_latency);
  tcase_add_test(tcase, test_16_a_latency_message_comes_with_the_first_format_and_with_a_change_only);
  tcase_add_test(tcase, test_17_an_allocator_downstream_is_used_or_declined_with_the_right_data);
  tcase_add_test(tcase, test_17_an_allocation_query_is_answered_without_a_stream);
  tcase_add_test(tcase, test_18_tags_name_codec_bitrate_and_encoder);
  tcase_add_test(tcase, test_18_the_decoder_names_the_codec);
  tcase_add_test(tcase, test_19_raw_audio_converts_between_samples_bytes_and_time);
  tcase_add_test(tcase, test_19_position_follows_the_stream);
  return suite;
}

}  // namespace

GST_CHECK_MAIN(latency)

// SPDX-License-Identifier: MIT
// What the pads accept and offer (behaviors 3 and 14).
#include "support.h"

using namespace check;

namespace {

std::string Offered(const char* factory, const char* pad_name, const char* properties = "") {
  Element element = New(factory, properties);
  gst_element_set_state(element.get(), GST_STATE_READY);
  Pad pad(gst_element_get_static_pad(element.get(), pad_name));
  Caps caps(gst_pad_query_caps(pad.get(), nullptr));
  Text text(gst_caps_to_string(caps.get()));
  return text.get();
}

bool Offers(const char* factory, const char* pad_name, const std::string& wanted, const char* properties = "") {
  Caps offered(gst_caps_from_string(Offered(factory, pad_name, properties).c_str()));
  Caps asked(gst_caps_from_string(wanted.c_str()));
  return gst_caps_can_intersect(offered.get(), asked.get());
}

GST_START_TEST(test_3_raw_pads_offer_mono_24k_f32_and_s16_and_nothing_else) {
  for (auto [factory, pad] : {std::pair{"mimienc", "sink"}, std::pair{"mimidec", "src"}}) {
    fail_unless(Offers(factory, pad, kF32));
    fail_unless(Offers(factory, pad, kS16));
    fail_if(Offers(factory, pad, "audio/x-raw,format=F32LE,rate=48000"));
    fail_if(Offers(factory, pad, "audio/x-raw,format=F32LE,rate=24000,channels=2"));
    fail_if(Offers(factory, pad, "audio/x-raw,format=S32LE"));
    fail_if(Offers(factory, pad, "audio/x-raw,format=F32LE,layout=non-interleaved,rate=24000,channels=1"));
  }
}
GST_END_TEST;

GST_START_TEST(test_3_code_pads_offer_codes_and_packed_framed) {
  for (auto [factory, pad] : {std::pair{"mimienc", "src"}, std::pair{"mimidec", "sink"}}) {
    fail_unless(Offers(factory, pad, CodesCaps(1)));
    fail_unless(Offers(factory, pad, CodesCaps(32, "packed")));
    fail_if(Offers(factory, pad, CodesCaps(33)));
    fail_if(Offers(factory, pad, CodesCaps(8, "codes", false)));
    fail_if(Offers(factory, pad, "audio/x-mimi,rate=16000"));
    fail_if(Offers(factory, pad, "audio/x-mimi,cardinality=1024"));
  }
}
GST_END_TEST;

GST_START_TEST(test_3_getcaps_narrows_to_the_model) {
  Knob("CODEBOOKS", 16);
  fail_unless(Offers("mimidec", "sink", CodesCaps(16)));
  fail_if(Offers("mimidec", "sink", CodesCaps(17)));
  fail_if(Offers("mimienc", "src", CodesCaps(17)));
  SettleFake();
  Knob("CODEBOOKS", 32);
  Knob("RATE", 16000);
  Knob("CARDINALITY", 1024);
  fail_unless(Offers("mimienc", "sink", "audio/x-raw,format=F32LE,rate=16000,channels=1"));
  fail_if(Offers("mimienc", "sink", kF32));
  fail_unless(Offers("mimidec", "sink", "audio/x-mimi,rate=16000,cardinality=1024"));
  fail_if(Offers("mimidec", "sink", CodesCaps(8)));
}
GST_END_TEST;

GST_START_TEST(test_3_encoder_caps_have_every_field_fixed) {
  Rig rig("mimienc", "", kF32);
  fail_unless_equals_int(rig.Push(F32(Sound(kFrameSamples), 0)), GST_FLOW_OK);
  rig.Finish();
  Caps caps = rig.OutCaps();
  fail_unless(caps != nullptr && gst_caps_is_fixed(caps.get()));
  Caps expected(gst_caps_from_string(CodesCaps(8).c_str()));
  fail_unless(gst_caps_is_subset(caps.get(), expected.get()), "caps are %s",
              Text(gst_caps_to_string(caps.get())).get());
  const GstStructure* fields = gst_caps_get_structure(caps.get(), 0);
  const char* model = gst_structure_get_string(fields, "model");
  fail_unless(model != nullptr && moshi_fake::FileHash("embedded") == model);
  fail_unless(gst_structure_has_field_typed(fields, "codec_data", GST_TYPE_BUFFER));
  const GValue* header = gst_structure_get_value(fields, "streamheader");
  fail_unless(header != nullptr && GST_VALUE_HOLDS_ARRAY(header) && gst_value_array_get_size(header) == 1);
  GstBuffer* head = gst_value_get_buffer(gst_value_array_get_value(header, 0));
  GstBuffer* data = gst_value_get_buffer(gst_structure_get_value(fields, "codec_data"));
  fail_unless(gst_buffer_get_size(head) == gst_buffer_get_size(data) && gst_buffer_get_size(head) > 0);
}
GST_END_TEST;

GST_START_TEST(test_3_f32_and_s16_give_the_same_codes) {
  const Samples sound = Sound(5 * kFrameSamples);
  Rig floats("mimienc", "", kF32), shorts("mimienc", "", kS16);
  fail_unless_equals_int(floats.Push(F32(sound, 0)), GST_FLOW_OK);
  fail_unless_equals_int(shorts.Push(S16(sound, 0)), GST_FLOW_OK);
  fail_unless_codes(CodesOf(floats.Finish()), Encoded(sound, 8));
  fail_unless_codes(CodesOf(shorts.Finish()), Encoded(sound, 8));
}
GST_END_TEST;

GST_START_TEST(test_3_downstream_chooses_codebooks_and_format) {
  const Samples sound = Sound(3 * kFrameSamples);
  const Codes four = Encoded(sound, 4);
  Rig codes("mimienc", "", kF32, "audio/x-mimi,codebooks=4");
  fail_unless_equals_int(codes.Push(F32(sound, 0)), GST_FLOW_OK);
  fail_unless_codes(CodesOf(codes.Finish()), four);

  Rig packed("mimienc", "", kF32, "audio/x-mimi,codebooks=4,stream-format=packed");
  fail_unless_equals_int(packed.Push(F32(sound, 0)), GST_FLOW_OK);
  std::vector<uint8_t> bytes;
  for (const Buffer& buffer : packed.Finish()) {
    fail_unless_equals_int(gst_buffer_get_size(buffer.get()), 6);
    uint8_t frame[6];
    gst_buffer_extract(buffer.get(), 0, frame, sizeof frame);
    bytes.insert(bytes.end(), frame, frame + sizeof frame);
  }
  fail_unless(bytes == Packed(four, 4));
}
GST_END_TEST;

GST_START_TEST(test_3_a_range_of_codebooks_downstream_is_kept) {
  const Samples sound = Sound(kFrameSamples);
  for (auto [range, expected] : {std::pair{"[4,12]", 8}, std::pair{"[16,32]", 16}, std::pair{"[2,5]", 5}}) {
    const std::string caps = std::string("audio/x-mimi,codebooks=") + range;
    Rig rig("mimienc", "", kF32, caps.c_str());
    fail_unless_equals_int(rig.Push(F32(sound, 0)), GST_FLOW_OK);
    fail_unless_codes(CodesOf(rig.Finish()), Encoded(sound, expected));
  }
}
GST_END_TEST;

GST_START_TEST(test_3_explicit_codebooks_that_downstream_refuses_are_not_negotiated) {
  Rig rig("mimienc", "codebooks=8", kF32, "audio/x-mimi,codebooks=4");
  fail_unless_equals_int(rig.Push(F32(Sound(kFrameSamples), 0)), GST_FLOW_NOT_NEGOTIATED);
}
GST_END_TEST;

bool Accepts(const Rig& rig, const char* caps_text) {
  Caps caps(gst_caps_from_string(caps_text));
  return gst_pad_peer_query_accept_caps(rig.harness->srcpad, caps.get());
}

GST_START_TEST(test_3_refused_audio_names_the_converters) {
  for (const char* caps : {"audio/x-raw,format=S16LE,layout=interleaved,rate=8000,channels=2",
                           "audio/x-raw,format=F32LE,layout=interleaved,rate=48000,channels=1",
                           "audio/x-raw,format=S32LE,layout=interleaved,rate=24000,channels=1"}) {
    Rig rig("mimienc");
    fail_if(Accepts(rig, caps));
    Message warning = WaitMessage(rig.bus.get(), GST_MESSAGE_WARNING);
    fail_unless(warning != nullptr && Says(warning, "audioconvert ! audioresample"), "for %s", caps);
  }
  Rig rig("mimienc");
  fail_unless(Accepts(rig, kF32) && Accepts(rig, kS16));
  ExpectNoTrouble(rig.bus.get());
}
GST_END_TEST;

GST_START_TEST(test_3_stereo_at_8_khz_is_not_negotiated_and_the_warning_names_the_converters) {
  Element pipeline = Launch("appsrc name=src format=time ! mimienc ! fakesink");
  Bus bus = BusOf(pipeline);
  GstElement* source = gst_bin_get_by_name(GST_BIN(pipeline.get()), "src");
  auto push = [&](const char* caps_text, Buffer buffer) {
    Caps caps(gst_caps_from_string(caps_text));
    g_object_set(source, "caps", caps.get(), nullptr);
    gst_element_set_state(pipeline.get(), GST_STATE_PLAYING);
    GstFlowReturn flow;
    g_signal_emit_by_name(source, "push-buffer", buffer.get(), &flow);
    g_signal_emit_by_name(source, "end-of-stream", &flow);
  };
  push("audio/x-raw,format=S16LE,layout=interleaved,rate=8000,channels=2", S16(Sound(16000), 0));
  Message warning = WaitMessage(bus.get(), GST_MESSAGE_WARNING | GST_MESSAGE_ERROR);
  fail_unless(warning != nullptr && GST_MESSAGE_TYPE(warning.get()) == GST_MESSAGE_WARNING);
  fail_unless(Says(warning, "audioconvert ! audioresample"), "%s", TextOf(warning).c_str());
  fail_unless(WaitMessage(bus.get(), GST_MESSAGE_ERROR) != nullptr);
  gst_element_set_state(pipeline.get(), GST_STATE_NULL);
  push(kS16, S16(Sound(8000), 0));
  Message end = WaitMessage(bus.get(), GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  fail_unless(end != nullptr && GST_MESSAGE_TYPE(end.get()) == GST_MESSAGE_EOS);
  gst_object_unref(source);
}
GST_END_TEST;

GST_START_TEST(test_3_a_line_that_cannot_work_fails_when_it_is_linked) {
  GError* raw = nullptr;
  GstElement* pipeline = gst_parse_launch("audiotestsrc ! audio/x-raw,rate=8000,channels=2 ! mimienc ! fakesink", &raw);
  Error error(raw);
  fail_unless(error != nullptr);
  if (pipeline != nullptr) gst_object_unref(gst_object_ref_sink(pipeline));
}
GST_END_TEST;

GST_START_TEST(test_14_upstream_changes_the_sample_format_in_mid_stream) {
  const Samples sound = Sound(6 * kFrameSamples);
  const Samples head(sound.begin(), sound.begin() + 3 * kFrameSamples);
  const Samples tail(sound.begin() + 3 * kFrameSamples, sound.end());
  Rig rig("mimienc", "", kF32);
  fail_unless_equals_int(rig.Push(F32(head, 0)), GST_FLOW_OK);
  gst_harness_set_src_caps_str(rig.harness.get(), kS16);
  fail_unless_equals_int(rig.Push(S16(tail, FrameTime(3))), GST_FLOW_OK);
  std::vector<Buffer> out = rig.Finish();
  fail_unless_times(out, 0);
  // Only a change of model, rate or channels resets.
  fail_unless_codes(CodesOf(out), Encoded(sound, 8));
}
GST_END_TEST;

GST_START_TEST(test_14_upstream_changes_to_what_is_not_accepted_and_back) {
  Rig rig("mimienc", "", kF32);
  const Samples sound = Sound(2 * kFrameSamples);
  fail_unless_equals_int(rig.Push(F32(sound, 0)), GST_FLOW_OK);
  Caps stereo(gst_caps_from_string("audio/x-raw,format=F32LE,layout=interleaved,rate=24000,channels=2"));
  rig.Send(gst_event_new_caps(stereo.get()));
  fail_unless_equals_int(rig.Push(F32(sound, FrameTime(2))), GST_FLOW_NOT_NEGOTIATED);
  gst_harness_set_src_caps_str(rig.harness.get(), kS16);
  fail_unless_equals_int(rig.Push(S16(sound, FrameTime(2))), GST_FLOW_OK);
  fail_unless_equals_int(rig.Finish().size(), 4);
}
GST_END_TEST;

GST_START_TEST(test_14_the_decoder_keeps_its_state_when_codebooks_or_format_change) {
  moshi_fake::State state;
  const Codes eight = SomeCodes(3, 8), four = SomeCodes(3, 4, 2), packed = SomeCodes(2, 16, 3);
  Samples expected = Decoded(eight, 8, &state);
  expected = Joined(expected, Decoded(four, 4, &state));
  expected = Joined(expected, Decoded(packed, 16, &state));
  Rig rig("mimidec", "", CodesCaps(8).c_str());
  fail_unless_equals_int(rig.Push(Frames(eight, 8, 0)), GST_FLOW_OK);
  gst_harness_set_src_caps_str(rig.harness.get(), CodesCaps(4).c_str());
  fail_unless_equals_int(rig.Push(Frames(four, 4, FrameTime(3))), GST_FLOW_OK);
  gst_harness_set_src_caps_str(rig.harness.get(), CodesCaps(16, "packed").c_str());
  const std::vector<uint8_t> bytes = Packed(packed, 16);
  fail_unless_equals_int(rig.Push(Bytes(bytes.data(), bytes.size(), FrameTime(6))), GST_FLOW_OK);
  fail_unless_samples(SamplesOf(rig.Finish()), expected);
}
GST_END_TEST;

GST_START_TEST(test_14_codes_of_another_model_are_refused) {
  Rig good("mimidec", "", (CodesCaps(8) + ",model=(string)" + moshi_fake::FileHash("embedded")).c_str());
  fail_unless_equals_int(good.Push(Frames(SomeCodes(1, 8), 8, 0)), GST_FLOW_OK);
  fail_unless_equals_int(good.Finish().size(), 1);

  Rig bad("mimidec");
  Caps caps(gst_caps_from_string((CodesCaps(8) + ",model=(string)" + moshi_fake::FileHash("other")).c_str()));
  bad.Send(gst_event_new_stream_start("other"));
  bad.Send(gst_event_new_caps(caps.get()));
  bad.SendSegment();
  fail_unless(bad.Push(Frames(SomeCodes(1, 8), 8, 0)) < GST_FLOW_OK);
  Message error = WaitMessage(bad.bus.get(), GST_MESSAGE_ERROR);
  fail_unless(error != nullptr && Says(error, "model"));
}
GST_END_TEST;

Suite* caps_suite() {
  Suite* suite = suite_create("caps");
  TCase* tcase = AddCase(suite, "caps");
  tcase_add_test(tcase, test_3_raw_pads_offer_mono_24k_f32_and_s16_and_nothing_else);
  tcase_add_test(tcase, test_3_code_pads_offer_codes_and_packed_framed);
  tcase_add_test(tcase, test_3_getcaps_narrows_to_the_model);
  tcase_add_test(tcase, test_3_encoder_caps_have_every_field_fixed);
  tcase_add_test(tcase, test_3_f32_and_s16_give_the_same_codes);
  tcase_add_test(tcase, test_3_downstream_chooses_codebooks_and_format);
  tcase_add_test(tcase, test_3_a_range_of_codebooks_downstream_is_kept);
  tcase_add_test(tcase, test_3_explicit_codebooks_that_downstream_refuses_are_not_negotiated);
  tcase_add_test(tcase, test_3_refused_audio_names_the_converters);
  tcase_add_test(tcase, test_3_stereo_at_8_khz_is_not_negotiated_and_the_warning_names_the_converters);
  tcase_add_test(tcase, test_3_a_line_that_cannot_work_fails_when_it_is_linked);
  tcase_add_test(tcase, test_14_upstream_changes_the_sample_format_in_mid_stream);
  tcase_add_test(tcase, test_14_upstream_changes_to_what_is_not_accepted_and_back);
  tcase_add_test(tcase, test_14_the_decoder_keeps_its_state_when_codebooks_or_format_change);
  tcase_add_test(tcase, test_14_codes_of_another_model_are_refused);
  return suite;
}

}  // namespace

GST_CHECK_MAIN(caps)

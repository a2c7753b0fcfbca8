// SPDX-License-Identifier: MIT
// The end of a stream and exact sample counts (behaviors 6 and 7).
#include <gst/audio/audio.h>

#include "support.h"

using namespace check;

namespace {

constexpr size_t kLengths[] = {0, 1, 500, 1919, 1920, 1921, 5000, 3 * 1920};

size_t FramesFor(size_t samples) { return (samples + kFrameSamples - 1) / kFrameSamples; }

GST_START_TEST(test_6_eos_after_any_number_of_samples) {
  for (size_t length : kLengths) {
    Rig rig("mimienc", "", kF32);
    const Samples sound = Sound(length);
    if (length > 0) fail_unless_equals_int(rig.Push(F32(sound, 0)), GST_FLOW_OK);
    std::vector<Buffer> out = rig.Finish();
    fail_unless_equals_int(out.size(), FramesFor(length));
    fail_unless_codes(CodesOf(out), Encoded(sound, 8));
    for (size_t i = 0; i < out.size(); ++i) {
      const bool last = i + 1 == out.size();
      fail_unless_equals_uint64(ClippedEnd(out[i]), last ? out.size() * kFrameSamples - length : 0);
    }
    Event eos(nullptr);
    while (GstEvent* event = gst_harness_try_pull_event(rig.harness.get())) eos.reset(event);
    fail_unless(eos != nullptr && GST_EVENT_TYPE(eos.get()) == GST_EVENT_EOS, "after %zu samples", length);
    ExpectNoTrouble(rig.bus.get());
  }
}
GST_END_TEST;

GST_START_TEST(test_6_eos_without_data_at_the_decoder_is_no_error) {
  Rig rig("mimidec", "", CodesCaps(8).c_str());
  fail_unless_equals_int(rig.Finish().size(), 0);
  ExpectNoTrouble(rig.bus.get());
}
GST_END_TEST;

GST_START_TEST(test_6_after_eos_a_flush_makes_the_element_usable_again) {
  Rig rig("mimienc", "", kF32);
  const Samples sound = Sound(2500);
  fail_unless_equals_int(rig.Push(F32(sound, 0)), GST_FLOW_OK);
  fail_unless_codes(CodesOf(rig.Finish()), Encoded(sound, 8));
  rig.Flush();
  fail_unless_equals_int(rig.Push(F32(sound, 0)), GST_FLOW_OK);
  fail_unless_codes(CodesOf(rig.Finish()), Encoded(sound, 8));
}
GST_END_TEST;

// Sends all that comes out of one element into the next.
void Pass(Rig& from, Rig& to) {
  for (Buffer& buffer : from.Finish()) fail_unless_equals_int(to.Push(std::move(buffer)), GST_FLOW_OK);
}

GST_START_TEST(test_7_encode_and_decode_give_exactly_as_many_samples) {
  for (size_t length : kLengths) {
    Rig encoder("mimienc", "", kF32), decoder("mimidec", "", CodesCaps(8).c_str());
    const Samples sound = Sound(length);
    if (length > 0) fail_unless_equals_int(encoder.Push(F32(sound, 0)), GST_FLOW_OK);
    Pass(encoder, decoder);
    Samples expected = Decoded(Encoded(sound, 8), 8);
    expected.resize(length);
    fail_unless_samples(SamplesOf(decoder.Finish()), expected);
  }
}
GST_END_TEST;

GST_START_TEST(test_7_the_count_survives_conversion_by_the_parser) {
  Rig encoder("mimienc", "", kF32), parser("mimiparse", "", CodesCaps(8).c_str(), CodesCaps(8, "packed").c_str());
  Rig decoder("mimidec", "", CodesCaps(8, "packed").c_str());
  const Samples sound = Sound(4000);
  fail_unless_equals_int(encoder.Push(F32(sound, 0)), GST_FLOW_OK);
  Pass(encoder, parser);
  Pass(parser, decoder);
  Samples expected = Decoded(Encoded(sound, 8), 8);
  expected.resize(4000);
  fail_unless_samples(SamplesOf(decoder.Finish()), expected);
}
GST_END_TEST;

GST_START_TEST(test_7_a_pipeline_gives_exactly_as_many_samples) {
  for (const char* format : {"F32LE", "S16LE"}) {
    // 44 buffers of 1000 samples are 22.9 frames.
    Element pipeline = Launch(std::string("audiotestsrc num-buffers=44 samplesperbuffer=1000 ! audio/x-raw,rate=24000,"
                                          "channels=1,format=") +
                              format + " ! mimienc ! mimidec ! audio/x-raw,format=" + format +
                              " ! fakesink name=sink sync=false signal-handoffs=true");
    uint64_t bytes = 0;
    GstElement* sink = gst_bin_get_by_name(GST_BIN(pipeline.get()), "sink");
    g_signal_connect(sink, "handoff", G_CALLBACK(+[](GstElement*, GstBuffer* buffer, GstPad*, gpointer total) {
                       *static_cast<uint64_t*>(total) += gst_buffer_get_size(buffer);
                     }),
                     &bytes);
    gst_object_unref(sink);
    Bus bus = BusOf(pipeline);
    gst_element_set_state(pipeline.get(), GST_STATE_PLAYING);
    Message end = WaitMessage(bus.get(), GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
    fail_unless(end != nullptr && GST_MESSAGE_TYPE(end.get()) == GST_MESSAGE_EOS);
    gst_element_set_state(pipeline.get(), GST_STATE_NULL);
    fail_unless_equals_uint64(bytes, 44000u * (format[0] == 'F' ? 4 : 2));
  }
}
GST_END_TEST;

GST_START_TEST(test_7_the_decoder_applies_a_clip_at_the_start_and_in_a_buffer_of_several_frames) {
  const Codes codes = SomeCodes(3, 8);
  const Samples whole = Decoded(codes, 8);
  Rig rig("mimidec", "", CodesCaps(8).c_str());
  Buffer buffer = Frames(codes, 8, 0);
  gst_buffer_add_audio_clipping_meta(buffer.get(), GST_FORMAT_DEFAULT, 100, 2000);
  fail_unless_equals_int(rig.Push(std::move(buffer)), GST_FLOW_OK);
  fail_unless_samples(SamplesOf(rig.Finish()), Samples(whole.begin() + 100, whole.end() - 2000));
}
GST_END_TEST;

Suite* eos_suite() {
  Suite* suite = suite_create("eos");
  TCase* tcase = AddCase(suite, "eos");
  tcase_add_test(tcase, test_6_eos_after_any_number_of_samples);
  tcase_add_test(tcase, test_6_eos_without_data_at_the_decoder_is_no_error);
  tcase_add_test(tcase, test_6_after_eos_a_flush_makes_the_element_usable_again);
  tcase_add_test(tcase, test_7_encode_and_decode_give_exactly_as_many_samples);
  tcase_add_test(tcase, test_7_the_count_survives_conversion_by_the_parser);
  tcase_add_test(tcase, test_7_a_pipeline_gives_exactly_as_many_samples);
  tcase_add_test(tcase, test_7_the_decoder_applies_a_clip_at_the_start_and_in_a_buffer_of_several_frames);
  return suite;
}

}  // namespace

GST_CHECK_MAIN(eos)

// SPDX-License-Identifier: MIT
// Models of the hub that are not on this machine yet: what waits, what is told, what is canceled (behavior 45).
#include <moshi/core.h>

#include <thread>

#include "recorder.h"

using namespace check;

namespace {

struct Progress {
  GstProgressType type;
  std::string text;
};

/** The progress messages up to the last of a load. */
std::vector<Progress> ProgressOf(GstBus* bus) {
  std::vector<Progress> all;
  for (;;) {
    const Message message = WaitMessage(bus, GST_MESSAGE_PROGRESS);
    fail_unless(message != nullptr, "the load does not end");
    GstProgressType type;
    char *raw_code, *raw_text;
    gst_message_parse_progress(message.get(), &type, &raw_code, &raw_text);
    const Text code(raw_code), text(raw_text);
    fail_unless_equals_string(code.get(), "model-load");
    all.push_back({type, text.get()});
    if (type != GST_PROGRESS_TYPE_START && type != GST_PROGRESS_TYPE_CONTINUE) return all;
  }
}

GST_START_TEST(test_45_a_fetch_goes_on_in_the_background_and_is_told) {
  Knob("FETCH_MS", 600);
  LmRig rig("sampling=false model=hub/moshi");
  const Codes user = SomeCodes(5, 8);
  rig.PushAll(user);
  rig.Finish();
  fail_unless_codes(CodesOf(rig.audio->Buffers()), Answer(user).codes);
  const std::vector<Progress> told = ProgressOf(rig.bus.get());
  fail_unless_equals_int(told.front().type, GST_PROGRESS_TYPE_START);
  fail_unless(told.front().text.find("hub/moshi") != std::string::npos);
  fail_unless_equals_int(told.back().type, GST_PROGRESS_TYPE_COMPLETE);
  bool megabytes = false;
  for (const Progress& one : told)
    megabytes |= one.text.find("model.safetensors") != std::string::npos && one.text.find(" MB") != std::string::npos;
  fail_unless(megabytes);
  fail_unless_equals_int64(Counts().fetches, 1);
}
GST_END_TEST;

GST_START_TEST(test_45_the_codec_fetches_too) {
  Knob("FETCH_MS", 50);
  const Samples sound = Sound(3 * kFrameSamples);
  Rig encoder("mimienc", "model=hub/mimi", kF32);
  fail_unless_equals_int(encoder.Push(F32(sound, 0)), GST_FLOW_OK);
  const Codes codes = CodesOf(encoder.Finish());
  fail_unless_codes(codes, Encoded(sound, 8));
  Rig decoder("mimidec", "model=hub/other", CodesCaps(8).c_str());
  fail_unless_equals_int(decoder.Push(Frames(codes, 8, 0)), GST_FLOW_OK);
  fail_unless_samples(SamplesOf(decoder.Finish()), Decoded(codes, 8));
  fail_unless_equals_int64(Counts().fetches, 2);
}
GST_END_TEST;

GST_START_TEST(test_45_upstream_takes_the_models_rate_before_it_is_known) {
  Knob("FETCH_MS", 200);
  Element pipeline = Launch(
      "audiotestsrc num-buffers=20 samplesperbuffer=1024 ! audioconvert ! audioresample ! mimienc model=hub/mimi ! "
      "fakesink");
  Bus bus = BusOf(pipeline);
  gst_element_set_state(pipeline.get(), GST_STATE_PLAYING);
  const Message end = WaitMessage(bus.get(), GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  fail_unless(end != nullptr);
  fail_unless_equals_int(GST_MESSAGE_TYPE(end.get()), GST_MESSAGE_EOS);
  gst_element_set_state(pipeline.get(), GST_STATE_NULL);
}
GST_END_TEST;

GST_START_TEST(test_45_what_was_fetched_is_not_fetched_again) {
  for (int i = 0; i < 2; ++i) {
    LmRig rig("sampling=false model=hub/moshi");
    rig.PushAll(SomeCodes(1, 8));
    rig.Finish();
  }
  fail_unless_equals_int64(Counts().fetches, 1);
}
GST_END_TEST;

GST_START_TEST(test_45_stopping_cancels_a_fetch) {
  Knob("FETCH_HOLD", 1);
  for (const char* factory : {"moshilm", "mimienc", "mimidec"}) {
    Element element = New(factory, "model=hub/slow");
    Bus bus(gst_bus_new());
    gst_element_set_bus(element.get(), bus.get());
    fail_unless_equals_int(gst_element_set_state(element.get(), GST_STATE_PLAYING), GST_STATE_CHANGE_SUCCESS);
    WaitFor(&MoshiFakeStats::fetches_running, 1);
    fail_unless_equals_int(gst_element_set_state(element.get(), GST_STATE_NULL), GST_STATE_CHANGE_SUCCESS);
    fail_unless_equals_int64(Counts().fetches_running, 0);
    fail_unless_equals_int(ProgressOf(bus.get()).back().type, GST_PROGRESS_TYPE_CANCELED);
    ExpectNoTrouble(bus.get());
    gst_element_set_bus(element.get(), nullptr);
    gst_bus_set_flushing(bus.get(), TRUE);
  }
}
GST_END_TEST;

GST_START_TEST(test_45_stopping_ends_the_wait_of_input) {
  Knob("FETCH_HOLD", 1);
  LmRig rig("model=hub/slow");
  GstFlowReturn flow = GST_FLOW_OK;
  std::thread pushing([&] { flow = rig.Push(Frames(SomeCodes(1, 8), 8, 0)); });
  WaitFor(&MoshiFakeStats::fetches_running, 1);
  gst_element_set_state(rig.lm(), GST_STATE_NULL);
  pushing.join();
  fail_unless_equals_int(flow, GST_FLOW_FLUSHING);
}
GST_END_TEST;

GST_START_TEST(test_45_a_fetch_that_fails_is_an_error) {
  struct Case {
    MoshiStatus status;
    gint code;
  };
  for (const Case& one : {Case{MOSHI_ERR_NETWORK, GST_RESOURCE_ERROR_OPEN_READ},
                          Case{MOSHI_ERR_NOT_AUTHORIZED, GST_RESOURCE_ERROR_NOT_AUTHORIZED},
                          Case{MOSHI_ERR_NOT_FOUND, GST_RESOURCE_ERROR_NOT_FOUND}}) {
    BeginWithFake();
    Knob("FETCH_FAIL", one.status);
    LmRig rig("model=hub/bad");
    fail_unless_equals_int(rig.Push(Frames(SomeCodes(1, 8), 8, 0)), GST_FLOW_ERROR);
    ExpectError(rig.bus.get(), GST_RESOURCE_ERROR, one.code);
    // And it can be tried again.
    Knob("FETCH_FAIL", 0);
    gst_element_set_state(rig.lm(), GST_STATE_NULL);
    rig.audio->Forget();
    rig.text->Forget();
    gst_element_set_state(rig.lm(), GST_STATE_PLAYING);
    fail_unless(rig.Send(gst_event_new_stream_start("again")));
    fail_unless(rig.SendCaps(CodesCaps(8)));
    fail_unless(rig.SendSegment());
    fail_unless_equals_int(rig.Push(Frames(SomeCodes(1, 8), 8, 0)), GST_FLOW_OK);
    rig.Finish();
    fail_unless_equals_int(rig.audio->Buffers().size(), 1);
  }
}
GST_END_TEST;

GST_START_TEST(test_45_caps_that_do_not_fit_a_fetched_model_are_an_error) {
  Knob("FETCH_HOLD", 1);
  LmRig rig({.properties = "model=hub/moshi", .caps = CodesCaps(4)});
  Knob("FETCH_HOLD", 0);
  fail_unless_equals_int(rig.Push(Frames(SomeCodes(1, 4), 4, 0)), GST_FLOW_ERROR);
  const Message error = ExpectError(rig.bus.get(), GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT);
  fail_unless(Says(error, "listens to 8"));
}
GST_END_TEST;

Suite* fetching_suite() {
  Suite* suite = suite_create("fetching");
  TCase* tcase = AddCase(suite, "fetching");
  tcase_add_test(tcase, test_45_a_fetch_goes_on_in_the_background_and_is_told);
  tcase_add_test(tcase, test_45_the_codec_fetches_too);
  tcase_add_test(tcase, test_45_upstream_takes_the_models_rate_before_it_is_known);
  tcase_add_test(tcase, test_45_what_was_fetched_is_not_fetched_again);
  tcase_add_test(tcase, test_45_stopping_cancels_a_fetch);
  tcase_add_test(tcase, test_45_stopping_ends_the_wait_of_input);
  tcase_add_test(tcase, test_45_a_fetch_that_fails_is_an_error);
  tcase_add_test(tcase, test_45_caps_that_do_not_fit_a_fetched_model_are_an_error);
  return suite;
}

}  // namespace

GST_CHECK_MAIN(fetching)

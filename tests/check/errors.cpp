// SPDX-License-Identifier: MIT
// Each bad input is one clear error within seconds, and the element works again afterwards (behavior 22).
#include <moshi/core.h>

#include "support.h"

using namespace check;

namespace {

// The element between a source and a sink, fed with some frames each time it is played.
class Pipeline {
 public:
  Pipeline(const char* factory, const std::string& properties)
      : encoder_(g_str_equal(factory, "mimienc")),
        pipeline_(Launch(std::string("appsrc name=src format=time caps=\"") + (encoder_ ? kF32 : CodesCaps(8)) +
                         "\" ! " + factory + " name=dut " + properties + " ! fakesink sync=false")),
        bus_(BusOf(pipeline_)) {}

  GstElement* Get(const char* name) const {
    GstElement* element = gst_bin_get_by_name(GST_BIN(pipeline_.get()), name);
    gst_object_unref(element);
    return element;
  }
  GstBus* bus() const { return bus_.get(); }

  void Play() {
    if (gst_element_set_state(pipeline_.get(), GST_STATE_PLAYING) == GST_STATE_CHANGE_FAILURE) return;
    Buffer data = encoder_ ? F32(Sound(5 * kFrameSamples), 0) : Frames(SomeCodes(5, 8), 8, 0);
    GstFlowReturn flow;
    g_signal_emit_by_name(Get("src"), "push-buffer", data.get(), &flow);
    g_signal_emit_by_name(Get("src"), "end-of-stream", &flow);
  }
  void Stop() {
    gst_element_set_state(pipeline_.get(), GST_STATE_NULL);
    gst_bus_set_flushing(bus_.get(), TRUE);
    gst_bus_set_flushing(bus_.get(), FALSE);
  }
  void ExpectEnd() {
    Message end = WaitMessage(bus_.get(), GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
    fail_unless(end != nullptr, "neither an error nor the end came");
    fail_unless(GST_MESSAGE_TYPE(end.get()) == GST_MESSAGE_EOS, "%s", TextOf(end).c_str());
  }

 private:
  bool encoder_;
  Element pipeline_;
  Bus bus_;
};

struct Bad {
  const char* what;
  std::string properties;  ///< of the element, to make it fail
  const char* knob;        ///< or a knob of the fake core
  MoshiStatus status;
  GQuark domain;
  int code;
  std::string says;
};

// All that goes wrong with a model, and the error that a program can expect. Domains are quarks, made at run time.
std::vector<Bad> BadInputs() {
  const GQuark resource = GST_RESOURCE_ERROR, library = GST_LIBRARY_ERROR;
  return {
      {"a model that is not there", "model=/no/such/model", nullptr, MOSHI_OK, resource, GST_RESOURCE_ERROR_NOT_FOUND,
       "/no/such/model"},
      {"an unknown hub id", "model=nobody/nothing", nullptr, MOSHI_OK, resource, GST_RESOURCE_ERROR_NOT_FOUND,
       "nobody/nothing"},
      {"weights that are not there", "weights=/no/such/file.safetensors", nullptr, MOSHI_OK, resource,
       GST_RESOURCE_ERROR_NOT_FOUND, "/no/such/file.safetensors"},
      {"a file of another kind", "weights=/dev/null", "OPEN_FAIL", MOSHI_ERR_FORMAT, resource, GST_RESOURCE_ERROR_READ,
       "/dev/null"},
      {"an unreadable file", "", "OPEN_FAIL", MOSHI_ERR_READ, resource, GST_RESOURCE_ERROR_OPEN_READ, "read"},
      {"a mismatching checkpoint", "", "LOAD_FAIL", MOSHI_ERR_MISMATCH, resource, GST_RESOURCE_ERROR_SETTINGS, "shape"},
      {"a damaged checkpoint", "", "LOAD_FAIL", MOSHI_ERR_FORMAT, resource, GST_RESOURCE_ERROR_READ, "damaged"},
      {"too little memory for the weights", "", "LOAD_FAIL", MOSHI_ERR_NO_MEMORY, resource,
       GST_RESOURCE_ERROR_NO_SPACE_LEFT, "MB"},
      {"too little memory for a session", "", "SESSION_FAIL", MOSHI_ERR_NO_MEMORY, resource,
       GST_RESOURCE_ERROR_NO_SPACE_LEFT, "MB"},
      {"no room for a session", "", "SESSION_FAIL", MOSHI_ERR_BUSY, resource, GST_RESOURCE_ERROR_BUSY, "session"},
      {"no embedded model", "", "OPEN_FAIL", MOSHI_ERR_NOT_FOUND, resource, GST_RESOURCE_ERROR_NOT_FOUND, "embedded"},
      {"a missing device", "device=cuda", nullptr, MOSHI_OK, resource, GST_RESOURCE_ERROR_NOT_FOUND, "cuda"},
      {"another missing device", "device=cuda:3", nullptr, MOSHI_OK, resource, GST_RESOURCE_ERROR_NOT_FOUND, "cuda:3"},
      {"a device that is none", "device=toaster", nullptr, MOSHI_OK, library, GST_LIBRARY_ERROR_SETTINGS, "toaster"},
      {"a precision that is not there", "precision=f16", nullptr, MOSHI_OK, library, GST_LIBRARY_ERROR_SETTINGS, "f16"},
  };
}

void CheckBadInput(const Bad& bad, const char* factory) {
  if (bad.knob != nullptr) Knob(bad.knob, bad.status);
  Pipeline pipeline(factory, bad.properties);
  pipeline.Play();
  Message error = ExpectError(pipeline.bus(), bad.domain, bad.code);
  fail_unless(GST_MESSAGE_SRC(error.get()) == GST_OBJECT(pipeline.Get("dut")), "%s blames %s", bad.what,
              GST_OBJECT_NAME(GST_MESSAGE_SRC(error.get())));
  fail_unless(Says(error, bad.says), "%s: \"%s\" does not say %s", bad.what, TextOf(error).c_str(), bad.says.c_str());
  error.reset();
  pipeline.Stop();
  SettleFake();
  fail_unless_equals_int64(Counts().models, 0);
  ResetFake();
  g_object_set(pipeline.Get("dut"), "model", nullptr, "weights", nullptr, "device", "auto", "precision", 0, nullptr);
  pipeline.Play();
  pipeline.ExpectEnd();
}

GST_START_TEST(test_22_each_bad_model_of_the_encoder_is_one_clear_error_and_then_it_works) {
  for (const Bad& bad : BadInputs()) CheckBadInput(bad, "mimienc");
}
GST_END_TEST;

GST_START_TEST(test_22_each_bad_model_of_the_decoder_is_one_clear_error_and_then_it_works) {
  for (const Bad& bad : BadInputs()) CheckBadInput(bad, "mimidec");
}
GST_END_TEST;

GST_START_TEST(test_22_the_element_posts_exactly_one_error) {
  for (const Bad& bad : BadInputs()) {
    if (bad.knob != nullptr) Knob(bad.knob, bad.status);
    Element encoder = New("mimienc", bad.properties.c_str());
    Bus bus(gst_bus_new());
    gst_element_set_bus(encoder.get(), bus.get());
    if (gst_element_set_state(encoder.get(), GST_STATE_PAUSED) != GST_STATE_CHANGE_FAILURE &&
        !g_str_equal(bad.knob ? bad.knob : "", "SESSION_FAIL"))
      fail_unless(WaitMessage(bus.get(), GST_MESSAGE_ERROR) != nullptr, "%s", bad.what);
    else if (!g_str_equal(bad.knob ? bad.knob : "", "SESSION_FAIL"))
      fail_unless(PopMessage(bus.get(), GST_MESSAGE_ERROR) != nullptr, "%s", bad.what);
    gst_element_set_state(encoder.get(), GST_STATE_NULL);
    SettleFake();
    Message second = PopMessage(bus.get(), GST_MESSAGE_ERROR);
    fail_unless(second == nullptr, "%s: a second error: %s", bad.what, TextOf(second).c_str());
    ResetFake();
    gst_element_set_bus(encoder.get(), nullptr);
  }
}
GST_END_TEST;

GST_START_TEST(test_22_what_the_headers_tell_fails_at_ready) {
  for (const char* properties : {"model=/no/such/model", "device=cuda", "precision=f16", "codebooks=33"}) {
    Element encoder = New("mimienc", properties);
    fail_unless_equals_int(gst_element_set_state(encoder.get(), GST_STATE_READY), GST_STATE_CHANGE_FAILURE);
  }
}
GST_END_TEST;

GST_START_TEST(test_22_auto_falls_back_to_the_cpu_and_says_so) {
  Element encoder = New("mimienc", "device=auto");
  fail_unless_equals_int(gst_element_set_state(encoder.get(), GST_STATE_READY), GST_STATE_CHANGE_SUCCESS);
  GstStructure* raw = nullptr;
  g_object_get(encoder.get(), "model-info", &raw, nullptr);
  Structure info(raw);
  fail_unless(info != nullptr);
  fail_unless_equals_string(gst_structure_get_string(info.get(), "device"), "cpu");
}
GST_END_TEST;

GST_START_TEST(test_22_a_failure_in_the_middle_of_a_stream) {
  for (auto [factory, code] : {std::pair{"mimienc", static_cast<int>(GST_STREAM_ERROR_ENCODE)},
                               std::pair{"mimidec", static_cast<int>(GST_STREAM_ERROR_DECODE)}}) {
    Knob("FAIL_FRAME", 2);
    const bool encoder = g_str_equal(factory, "mimienc");
    Rig rig(factory, "", encoder ? kF32 : CodesCaps(8).c_str());
    GstFlowReturn flow = GST_FLOW_OK;
    for (int f = 0; f < 5 && flow == GST_FLOW_OK; ++f)
      flow = rig.Push(encoder ? F32(Sound(kFrameSamples), FrameTime(f)) : Frames(SomeCodes(1, 8), 8, FrameTime(f)));
    fail_unless_equals_int(flow, GST_FLOW_ERROR);
    ExpectError(rig.bus.get(), GST_STREAM_ERROR, code);
    fail_unless_equals_int(rig.Take().size(), 2);
    ResetFake();
    gst_element_set_state(rig.element(), GST_STATE_NULL);
  }
}
GST_END_TEST;

GST_START_TEST(test_22_one_session_s_failure_leaves_the_others_alone) {
  Knob("FAIL_FRAME", 3);
  Rig bad("mimienc", "", kF32), good("mimienc", "", kF32);
  const Samples sound = Sound(3 * kFrameSamples);
  fail_unless_equals_int(good.Push(F32(sound, 0)), GST_FLOW_OK);
  fail_unless(bad.Push(F32(Sound(5 * kFrameSamples), 0)) != GST_FLOW_OK);
  Knob("FAIL_FRAME", -1);
  const Samples more = Sound(3 * kFrameSamples, 2);
  fail_unless_equals_int(good.Push(F32(more, FrameTime(3))), GST_FLOW_OK);
  fail_unless_codes(CodesOf(good.Finish()), Encoded(Joined(sound, more), 8));
  ExpectNoTrouble(good.bus.get());
}
GST_END_TEST;

Suite* errors_suite() {
  Suite* suite = suite_create("errors");
  TCase* tcase = AddCase(suite, "errors");
  tcase_add_test(tcase, test_22_each_bad_model_of_the_encoder_is_one_clear_error_and_then_it_works);
  tcase_add_test(tcase, test_22_each_bad_model_of_the_decoder_is_one_clear_error_and_then_it_works);
  tcase_add_test(tcase, test_22_the_element_posts_exactly_one_error);
  tcase_add_test(tcase, test_22_what_the_headers_tell_fails_at_ready);
  tcase_add_test(tcase, test_22_auto_falls_back_to_the_cpu_and_says_so);
  tcase_add_test(tcase, test_22_a_failure_in_the_middle_of_a_stream);
  tcase_add_test(tcase, test_22_one_session_s_failure_leaves_the_others_alone);
  return suite;
}

}  // namespace

GST_CHECK_MAIN(errors)

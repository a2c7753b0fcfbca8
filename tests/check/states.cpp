// SPDX-License-Identifier: MIT
// State changes of every element, alone and in pipelines (behaviors 1, 2 and 32).
#include <random>

#include "support.h"

using namespace check;

namespace {

const char* const kElements[] = {"mimienc", "mimidec", "mimiparse"};

void SetState(GstElement* element, GstState state) {
  const GstStateChangeReturn result = gst_element_set_state(element, state);
  fail_unless(result == GST_STATE_CHANGE_SUCCESS, "%s to %s gave %s", GST_ELEMENT_NAME(element),
              gst_element_state_get_name(state), gst_element_state_change_return_get_name(result));
}

GST_START_TEST(test_1_every_element_goes_up_and_down_100_times) {
  for (const char* name : kElements) {
    Element element = New(name);
    for (int i = 0; i < 100; ++i) {
      SetState(element.get(), GST_STATE_READY);
      SetState(element.get(), GST_STATE_PAUSED);
      SetState(element.get(), GST_STATE_PLAYING);
      SetState(element.get(), GST_STATE_NULL);
    }
  }
}
GST_END_TEST;

GST_START_TEST(test_1_states_in_any_order) {
  std::mt19937 draw(1);
  for (const char* name : kElements) {
    Element element = New(name);
    for (int i = 0; i < 200; ++i) SetState(element.get(), static_cast<GstState>(GST_STATE_NULL + draw() % 4));
  }
}
GST_END_TEST;

GST_START_TEST(test_1_states_with_data_100_times) {
  Element pipeline = Launch(std::string("audiotestsrc num-buffers=4 samplesperbuffer=1920 ! ") + kF32 +
                            " ! mimienc ! mimidec ! fakesink sync=false");
  Bus bus = BusOf(pipeline);
  for (int i = 0; i < 100; ++i) {
    fail_unless(gst_element_set_state(pipeline.get(), GST_STATE_PLAYING) != GST_STATE_CHANGE_FAILURE);
    // Every other time the pipeline is torn down while the data runs.
    if (i % 2 == 0) {
      Message end = WaitMessage(bus.get(), GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
      fail_unless(end != nullptr && GST_MESSAGE_TYPE(end.get()) == GST_MESSAGE_EOS);
    }
    if (i % 3 == 0) gst_element_set_state(pipeline.get(), GST_STATE_READY);
    SetState(pipeline.get(), GST_STATE_NULL);
  }
}
GST_END_TEST;

GST_START_TEST(test_1_ready_does_not_wait_for_the_model_and_null_cancels_the_load) {
  for (const char* name : {"mimienc", "mimidec"}) {
    Knob("LOAD_HOLD", 1);
    Element element = New(name);
    Bus bus(gst_bus_new());
    gst_element_set_bus(element.get(), bus.get());
    SetState(element.get(), GST_STATE_READY);
    SetState(element.get(), GST_STATE_PLAYING);
    fail_unless_equals_int64(Counts().loads_completed, 0);
    SetState(element.get(), GST_STATE_NULL);
    SettleFake();
    fail_unless_equals_int64(Counts().loads_completed, 0);
    fail_unless_equals_int64(Counts().models, 0);
    ExpectNoTrouble(bus.get());
    gst_element_set_bus(element.get(), nullptr);
  }
}
GST_END_TEST;

// The progress messages on the bus, as letters: s(tart), c(ontinue), C(omplete), X (canceled), E(rror).
std::string ProgressOn(GstBus* bus, const char* until) {
  std::string seen;
  for (;;) {
    Message message = WaitMessage(bus, GST_MESSAGE_PROGRESS);
    if (message == nullptr) return seen + "?";
    GstProgressType type;
    char *code = nullptr, *text = nullptr;
    gst_message_parse_progress(message.get(), &type, &code, &text);
    Text own_code(code), own_text(text);
    fail_unless(g_str_equal(code, "model-load") || g_str_equal(code, "model-download"), "code %s", code);
    fail_unless(text != nullptr && *text != '\0');
    seen += type == GST_PROGRESS_TYPE_START      ? 's'
            : type == GST_PROGRESS_TYPE_CONTINUE ? 'c'
            : type == GST_PROGRESS_TYPE_COMPLETE ? 'C'
            : type == GST_PROGRESS_TYPE_CANCELED ? 'X'
                                                 : 'E';
    if (std::string(until).find(seen.back()) != std::string::npos) return seen;
  }
}

// Exactly one start, first; exactly one end, last.
void ExpectProgress(GstBus* bus, char end) {
  const std::string seen = ProgressOn(bus, "CXE?");
  fail_unless(seen.front() == 's' && seen.back() == end, "progress was %s", seen.c_str());
  fail_unless(seen.find('s', 1) == std::string::npos, "progress was %s", seen.c_str());
}

GST_START_TEST(test_1_progress_starts_once_and_ends_once) {
  for (const char* name : {"mimienc", "mimidec"}) {
    Element element = New(name);
    Bus bus(gst_bus_new());
    gst_element_set_bus(element.get(), bus.get());
    SetState(element.get(), GST_STATE_READY);
    ExpectProgress(bus.get(), 'C');
    SetState(element.get(), GST_STATE_NULL);

    Knob("LOAD_HOLD", 1);
    SetState(element.get(), GST_STATE_READY);
    WaitFor(&MoshiFakeStats::loads_running, 1);
    SetState(element.get(), GST_STATE_NULL);
    ExpectProgress(bus.get(), 'X');
    Knob("LOAD_HOLD", 0);

    Knob("LOAD_FAIL", 4);
    gst_element_set_state(element.get(), GST_STATE_READY);
    ExpectProgress(bus.get(), 'E');
    gst_element_set_state(element.get(), GST_STATE_NULL);
    Knob("LOAD_FAIL", 0);
    SettleFake();
    fail_unless(PopMessage(bus.get(), GST_MESSAGE_PROGRESS) == nullptr);
    gst_element_set_bus(element.get(), nullptr);
  }
}
GST_END_TEST;

GST_START_TEST(test_1_a_cycle_of_ready_and_paused_keeps_the_model_and_forgets_the_stream) {
  Rig rig("mimienc", "codebooks=4", kF32);
  const Samples sound = Sound(2 * kFrameSamples + 500);
  fail_unless_equals_int(rig.Push(F32(sound, 0)), GST_FLOW_OK);
  SetState(rig.element(), GST_STATE_READY);
  SetState(rig.element(), GST_STATE_PLAYING);
  rig.Take();
  gst_harness_set_src_caps_str(rig.harness.get(), kF32);
  fail_unless(rig.SendSegment());
  fail_unless_equals_int(rig.Push(F32(sound, 0)), GST_FLOW_OK);
  fail_unless_codes(CodesOf(rig.Finish()), Encoded(sound, 4));
  fail_unless_equals_int64(Counts().loads_started, 1);
}
GST_END_TEST;

std::string EncodeLine(const char* properties = "") {
  return std::string("audiotestsrc num-buffers=50 samplesperbuffer=1000 ! ") + kF32 + " ! mimienc " + properties +
         " ! mimidec " + properties + " ! fakesink sync=false";
}

GST_START_TEST(test_2_two_pipelines_share_one_model) {
  Element one = Launch(EncodeLine()), two = Launch(EncodeLine());
  gst_element_set_state(one.get(), GST_STATE_PAUSED);
  gst_element_set_state(two.get(), GST_STATE_PAUSED);
  fail_unless(gst_element_get_state(one.get(), nullptr, nullptr, 10 * GST_SECOND) == GST_STATE_CHANGE_SUCCESS);
  fail_unless(gst_element_get_state(two.get(), nullptr, nullptr, 10 * GST_SECOND) == GST_STATE_CHANGE_SUCCESS);
  fail_unless_equals_int64(Counts().models, 1);
  fail_unless_equals_int64(Counts().loads_started, 1);
  fail_unless_equals_int64(Counts().sessions, 4);
  // The first one leaves; the second one goes on.
  one.reset();
  gst_element_set_state(two.get(), GST_STATE_PLAYING);
  Bus bus = BusOf(two);
  Message end = WaitMessage(bus.get(), GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  fail_unless(end != nullptr && GST_MESSAGE_TYPE(end.get()) == GST_MESSAGE_EOS);
  two.reset();
  fail_unless_equals_int64(Counts().models, 0);
}
GST_END_TEST;

GST_START_TEST(test_2_another_precision_is_another_model) {
  Element one = New("mimienc"), two = New("mimienc", "precision=bf16"), three = New("mimidec", "precision=f32");
  for (Element* element : {&one, &two, &three}) SetState(element->get(), GST_STATE_READY);
  fail_unless_equals_int64(Counts().models, 2);
}
GST_END_TEST;

GST_START_TEST(test_2_two_encoders_do_not_disturb_each_other) {
  const Samples a = Sound(5 * kFrameSamples, 1), b = Sound(5 * kFrameSamples, 2);
  Rig one("mimienc", "", kF32), two("mimienc", "codebooks=16", kF32);
  for (int f = 0; f < 5; ++f) {
    auto frame = [f](const Samples& all) {
      return F32(Samples(all.begin() + f * kFrameSamples, all.begin() + (f + 1) * kFrameSamples), FrameTime(f));
    };
    fail_unless_equals_int(one.Push(frame(a)), GST_FLOW_OK);
    fail_unless_equals_int(two.Push(frame(b)), GST_FLOW_OK);
  }
  fail_unless_codes(CodesOf(one.Finish()), Encoded(a, 8));
  fail_unless_codes(CodesOf(two.Finish()), Encoded(b, 16));
}
GST_END_TEST;

// Blocks the pad in front of the element, takes the element out, puts a new one in.
GST_START_TEST(test_32_element_removed_and_replaced_while_playing) {
  Element pipeline = Launch(std::string("audiotestsrc is-live=false ! ") + kF32 +
                            ",channels=1 ! identity name=before ! mimienc name=enc ! fakesink name=sink sync=false");
  fail_unless(gst_element_set_state(pipeline.get(), GST_STATE_PLAYING) != GST_STATE_CHANGE_FAILURE);
  Bus bus = BusOf(pipeline);
  auto* bin = GST_BIN(pipeline.get());
  for (int round = 0; round < 3; ++round) {
    WaitForAtLeast(&MoshiFakeStats::frames_encoded, Counts().frames_encoded + 3);
    GstElement* before = gst_bin_get_by_name(bin, "before");
    GstElement* encoder = gst_bin_get_by_name(bin, "enc");
    GstElement* sink = gst_bin_get_by_name(bin, "sink");
    Pad blocked(gst_element_get_static_pad(before, "src"));
    gint is_blocked = 0;
    const gulong probe = gst_pad_add_probe(
        blocked.get(), GST_PAD_PROBE_TYPE_BLOCK_DOWNSTREAM,
        [](GstPad*, GstPadProbeInfo*, gpointer flag) {
          g_atomic_int_set(static_cast<gint*>(flag), 1);
          return GST_PAD_PROBE_OK;
        },
        &is_blocked, nullptr);
    while (g_atomic_int_get(&is_blocked) == 0) g_usleep(1000);
    gst_element_unlink_many(before, encoder, sink, nullptr);
    gst_bin_remove(bin, encoder);
    SetState(encoder, GST_STATE_NULL);
    gst_object_unref(encoder);
    GstElement* fresh = gst_element_factory_make("mimienc", "enc");
    gst_bin_add(bin, fresh);
    fail_unless(gst_element_link_many(before, fresh, sink, nullptr));
    fail_unless(gst_element_sync_state_with_parent(fresh));
    gst_pad_remove_probe(blocked.get(), probe);
    gst_object_unref(before);
    gst_object_unref(sink);
  }
  WaitForAtLeast(&MoshiFakeStats::frames_encoded, Counts().frames_encoded + 3);
  ExpectNoTrouble(bus.get());
}
GST_END_TEST;

Suite* states_suite() {
  Suite* suite = suite_create("states");
  TCase* tcase = AddCase(suite, "states");
  tcase_add_test(tcase, test_1_every_element_goes_up_and_down_100_times);
  tcase_add_test(tcase, test_1_states_in_any_order);
  tcase_add_test(tcase, test_1_states_with_data_100_times);
  tcase_add_test(tcase, test_1_ready_does_not_wait_for_the_model_and_null_cancels_the_load);
  tcase_add_test(tcase, test_1_progress_starts_once_and_ends_once);
  tcase_add_test(tcase, test_1_a_cycle_of_ready_and_paused_keeps_the_model_and_forgets_the_stream);
  tcase_add_test(tcase, test_2_two_pipelines_share_one_model);
  tcase_add_test(tcase, test_2_another_precision_is_another_model);
  tcase_add_test(tcase, test_2_two_encoders_do_not_disturb_each_other);
  tcase_add_test(tcase, test_32_element_removed_and_replaced_while_playing);
  return suite;
}

}  // namespace

GST_CHECK_MAIN(states)

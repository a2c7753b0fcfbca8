// SPDX-License-Identifier: MIT
// Conversations: their draws, settings, resets and neighbors (behaviors 38, 39, 40, 42, 43).
#include <thread>

#include "recorder.h"

using namespace check;

namespace {

Codes Converse(const Codes& user, const char* properties) {
  LmRig rig(properties);
  rig.PushAll(user);
  rig.Finish();
  return CodesOf(rig.audio->Buffers());
}

GST_START_TEST(test_39_greedy_is_deterministic_whatever_the_seed) {
  const Codes user = SomeCodes(10, 8);
  fail_unless_codes(Converse(user, "sampling=false seed=1"), Answer(user).codes);
  fail_unless_codes(Converse(user, "sampling=false seed=2"), Answer(user).codes);
}
GST_END_TEST;

GST_START_TEST(test_39_a_seed_gives_the_same_again_whatever_others_do) {
  const Codes user = SomeCodes(30, 8), other = SomeCodes(30, 8, 9);
  const Codes alone = Converse(user, "seed=7");
  fail_unless_codes(alone, Answer(user, {}, 7).codes);
  fail_if(alone == Converse(user, "seed=8"));
  Codes beside;
  std::thread neighbor([&] { Converse(other, "seed=7"); });
  beside = Converse(user, "seed=7");
  neighbor.join();
  fail_unless_codes(beside, alone);
}
GST_END_TEST;

GST_START_TEST(test_39_a_random_seed_is_told) {
  LmRig rig;
  const Codes user = SomeCodes(5, 8);
  rig.PushAll(user);
  rig.Finish();
  const int64_t seed = rig.Stat("seed");
  fail_unless(seed >= 0);
  fail_unless_codes(CodesOf(rig.audio->Buffers()), Answer(user, {}, seed).codes);
}
GST_END_TEST;

GST_START_TEST(test_40_settings_change_while_playing_from_the_next_step_on) {
  LmRig rig("seed=1");
  rig.PushAll(SomeCodes(2, 8));
  rig.audio->WaitBuffers(2);
  fail_unless_equals_float(SettingOf("temperature"), 0.8);
  fail_unless_equals_float(SettingOf("text-top-k"), 25);
  g_object_set(rig.lm(), "temperature", 0.5, "text-temperature", 0.25, "top-k", 10, "text-top-k", 5, "sampling", FALSE,
               "seed", gint64{99}, nullptr);
  rig.PushAll(SomeCodes(2, 8), 8, FrameTime(2));
  rig.audio->WaitBuffers(4);
  fail_unless_equals_float(SettingOf("temperature"), 0.5);
  fail_unless_equals_float(SettingOf("text-temperature"), 0.25);
  fail_unless_equals_float(SettingOf("top-k"), 10);
  fail_unless_equals_float(SettingOf("text-top-k"), 5);
  fail_unless_equals_float(SettingOf("sampling"), 0);
  fail_unless_equals_float(SettingOf("seed"), 99);
  fail_unless_equals_int64(rig.Stat("seed"), 99);
  ExpectNoTrouble(rig.bus.get());
}
GST_END_TEST;

GST_START_TEST(test_40_guidance_is_turned_on_by_the_next_conversation_only) {
  LmRig rig("seed=1");
  rig.PushAll(SomeCodes(1, 8));
  rig.audio->WaitBuffers(1);
  g_object_set(rig.lm(), "cfg-coef", 2.0, nullptr);
  rig.PushAll(SomeCodes(1, 8), 8, FrameTime(1));
  rig.audio->WaitBuffers(2);
  fail_unless(Says(WaitMessage(rig.bus.get(), GST_MESSAGE_WARNING), "cfg-coef"));
  fail_unless_equals_float(SettingOf("cfg-coef"), 1);
  g_signal_emit_by_name(rig.lm(), "reset");
  rig.PushAll(SomeCodes(1, 8), 8, FrameTime(2));
  rig.audio->WaitBuffers(3);
  fail_unless_equals_float(SettingOf("cfg-coef"), 2);
  ExpectNoTrouble(rig.bus.get());
}
GST_END_TEST;

GST_START_TEST(test_40_what_nobody_has_set_is_the_model_s_own) {
  Knob("LM_TEMPERATURE", 0.4);
  Knob("LM_TOP_K", 33);
  LmRig rig("top-k=44");
  rig.PushAll(SomeCodes(1, 8));
  rig.Finish();
  double temperature;
  int top_k;
  g_object_get(rig.lm(), "temperature", &temperature, "top-k", &top_k, nullptr);
  fail_unless_equals_float(temperature, 0.4);
  fail_unless_equals_int(top_k, 44);
  fail_unless_equals_float(SettingOf("temperature"), 0.4);
  fail_unless_equals_float(SettingOf("top-k"), 44);
}
GST_END_TEST;

GST_START_TEST(test_40_every_property_reads_as_it_was_written) {
  Element lm = New("moshilm",
                   "temperature=0.25 text-temperature=0.5 top-k=5 text-top-k=6 sampling=false seed=7 cfg-coef=1.5 "
                   "weights=w tokenizer=t config=c lora=l lora-fuse=false max-sessions=3 late-policy=shift "
                   "eos-max-duration=9 conditions=\"c,a=b\"");
  for (const char* expected : {"temperature=0.25", "text-temperature=0.5", "top-k=5", "text-top-k=6", "sampling=FALSE",
                               "seed=7", "cfg-coef=1.5", "weights=w", "tokenizer=t", "config=c", "lora=l",
                               "lora-fuse=FALSE", "max-sessions=3", "late-policy=shift", "eos-max-duration=9"}) {
    const std::string text = expected, name = text.substr(0, text.find('='));
    GValue value = G_VALUE_INIT;
    g_object_get_property(G_OBJECT(lm.get()), name.c_str(), &value);
    const Text written(gst_value_serialize(&value));
    fail_unless(g_ascii_strcasecmp((name + "=" + written.get()).c_str(), expected) == 0, "%s: %s", expected,
                written.get());
    g_value_unset(&value);
  }
}
GST_END_TEST;

GST_START_TEST(test_40_conditions_are_given_before_the_first_step) {
  GstStructure* conditions = gst_structure_new("conditions", "description", G_TYPE_STRING, "very_good",
                                               "negative-description", G_TYPE_STRING, "very_bad", nullptr);
  const float tensor[6] = {1, 2, 3, 4, 5, 6};
  Buffer buffer = Bytes(tensor, sizeof tensor);
  gst_structure_set(conditions, "voice", GST_TYPE_BUFFER, buffer.get(), "voice-columns", G_TYPE_INT, 3, nullptr);
  LmRig rig("cfg-coef=3");
  g_object_set(rig.lm(), "conditions", conditions, nullptr);
  gst_structure_free(conditions);
  rig.PushAll(SomeCodes(1, 8));
  rig.Finish();
  fail_unless(ConditionsOf() == "description=very_good;-description=very_bad;voice[2x3]", "%s", ConditionsOf().c_str());
}
GST_END_TEST;

GST_START_TEST(test_40_conditions_that_cannot_be_are_errors) {
  for (const char* wrong : {"conditions=\"c,unknown=x\"", "conditions=\"c,description=(int)5\""}) {
    LmRig rig(wrong);
    rig.Push(Frames(SomeCodes(1, 8), 8, 0));
    const Message error = ExpectError(rig.bus.get(), GST_LIBRARY_ERROR, GST_LIBRARY_ERROR_SETTINGS);
    fail_unless(Says(error, "ondition"));
    rig.audio->WaitEvent(GST_EVENT_EOS);
  }
}
GST_END_TEST;

GST_START_TEST(test_38_a_flush_begins_a_new_conversation) {
  LmRig rig("sampling=false");
  rig.PushAll(SomeCodes(5, 8, 1));
  rig.audio->WaitBuffers(5);
  rig.Flush();
  rig.audio->Forget();
  const Codes user = SomeCodes(5, 8, 2);
  rig.PushAll(user);
  rig.Finish();
  fail_unless_codes(CodesOf(rig.audio->Buffers()), Answer(user).codes);
  fail_unless_equals_int64(rig.Stat("resets"), 1);
}
GST_END_TEST;

GST_START_TEST(test_38_so_do_a_stream_and_the_signal) {
  LmRig rig("sampling=false");
  const Codes a = SomeCodes(5, 8, 1), b = SomeCodes(5, 8, 2), c = SomeCodes(5, 8, 3);
  rig.PushAll(a);
  rig.audio->WaitBuffers(5);
  g_signal_emit_by_name(rig.lm(), "reset");
  rig.PushAll(b, 8, FrameTime(5));
  rig.audio->WaitBuffers(10);
  fail_unless(rig.Send(gst_event_new_stream_start("another")));
  fail_unless(rig.SendCaps(CodesCaps(8)));
  fail_unless(rig.SendSegment());
  rig.PushAll(c);
  rig.Finish();
  fail_unless_codes(CodesOf(rig.audio->Buffers()), Joined(Joined(Answer(a).codes, Answer(b).codes), Answer(c).codes));
  std::vector<std::string> ids;
  rig.audio->Look([&](const auto& items) {
    for (const auto& item : items) {
      const char* id = nullptr;
      if (item.Is(GST_EVENT_STREAM_START)) gst_event_parse_stream_start(item.event.get(), &id);
      if (id != nullptr) ids.emplace_back(id);
    }
  });
  const std::vector<std::string> expected = {"test/audio", "another/audio"};
  fail_unless(ids == expected);
}
GST_END_TEST;

GST_START_TEST(test_42_one_session_too_many_is_refused_at_once) {
  LmRig first("max-sessions=1");
  first.PushAll(SomeCodes(1, 8));
  first.audio->WaitBuffers(1);
  // Before any input has come.
  LmRig second("max-sessions=1");
  const Message error = ExpectError(second.bus.get(), GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_BUSY);
  fail_unless_equals_int(second.Push(Frames(SomeCodes(1, 8), 8, 0)), GST_FLOW_ERROR);
  // It is told once, and downstream gets the end.
  second.audio->WaitEvent(GST_EVENT_EOS);
  second.text->WaitEvent(GST_EVENT_EOS);
  ExpectNoTrouble(second.bus.get());
  // The first goes on, and once it has gone there is room.
  first.PushAll(SomeCodes(1, 8), 8, FrameTime(1));
  first.audio->WaitBuffers(2);
  gst_element_set_state(first.lm(), GST_STATE_NULL);
  gst_element_set_state(second.lm(), GST_STATE_NULL);
  LmRig third("max-sessions=1");
  third.PushAll(SomeCodes(1, 8));
  third.audio->WaitBuffers(1);
}
GST_END_TEST;

GST_START_TEST(test_43_an_error_stays_with_its_session) {
  LmRig good("sampling=false");
  const Codes user = SomeCodes(20, 8);
  good.PushAll(Codes(user.begin(), user.begin() + 80));
  good.audio->WaitBuffers(10);
  Knob("FAIL_FRAME", 3);  // of each session: the good one is past it
  LmRig bad("sampling=false");
  for (int frame = 0; frame < 40; ++frame)
    if (bad.Push(Frames(SomeCodes(1, 8), 8, FrameTime(frame))) != GST_FLOW_OK) break;
  ExpectError(bad.bus.get(), GST_STREAM_ERROR, GST_STREAM_ERROR_FAILED);
  bad.audio->WaitEvent(GST_EVENT_EOS);
  bad.text->WaitEvent(GST_EVENT_EOS);
  fail_unless_equals_int(bad.audio->Buffers().size(), 2);
  good.PushAll(Codes(user.begin() + 80, user.end()), 8, FrameTime(10));
  good.Finish();
  fail_unless_codes(CodesOf(good.audio->Buffers()), Answer(user).codes);
  ExpectNoTrouble(good.bus.get());
}
GST_END_TEST;

Suite* moshilm_sessions_suite() {
  Suite* suite = suite_create("moshilm_sessions");
  TCase* tcase = AddCase(suite, "sessions");
  tcase_add_test(tcase, test_39_greedy_is_deterministic_whatever_the_seed);
  tcase_add_test(tcase, test_39_a_seed_gives_the_same_again_whatever_others_do);
  tcase_add_test(tcase, test_39_a_random_seed_is_told);
  tcase_add_test(tcase, test_40_settings_change_while_playing_from_the_next_step_on);
  tcase_add_test(tcase, test_40_guidance_is_turned_on_by_the_next_conversation_only);
  tcase_add_test(tcase, test_40_what_nobody_has_set_is_the_model_s_own);
  tcase_add_test(tcase, test_40_every_property_reads_as_it_was_written);
  tcase_add_test(tcase, test_40_conditions_are_given_before_the_first_step);
  tcase_add_test(tcase, test_40_conditions_that_cannot_be_are_errors);
  tcase_add_test(tcase, test_38_a_flush_begins_a_new_conversation);
  tcase_add_test(tcase, test_38_so_do_a_stream_and_the_signal);
  tcase_add_test(tcase, test_42_one_session_too_many_is_refused_at_once);
  tcase_add_test(tcase, test_43_an_error_stays_with_its_session);
  return suite;
}

}  // namespace

GST_CHECK_MAIN(moshilm_sessions)

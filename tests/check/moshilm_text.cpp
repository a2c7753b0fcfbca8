// SPDX-License-Identifier: MIT
// The text pad (behaviors 35, 36, 44), token ids and extra heads.
#include <cstring>
#include <thread>

#include "recorder.h"

using namespace check;

namespace {

constexpr char kGreedy[] = "sampling=false";

/** Ids of bytes as force-text wants them. */
std::string ByteIds(const std::string& bytes) {
  std::string ids;
  for (unsigned char byte : bytes) ids += std::to_string(moshi_fake::kFirstByte + byte) + " ";
  return ids;
}

bool Force(const LmRig& rig, const std::string& ids) {
  gboolean taken = FALSE;
  g_signal_emit_by_name(rig.lm(), "force-text", ids.c_str(), &taken);
  return taken;
}

GST_START_TEST(test_36_text_comes_in_pieces_with_gaps_between) {
  LmRig rig(kGreedy);
  const Codes user = SomeCodes(40, 8);
  rig.PushAll(user);
  rig.Finish();
  const Said said = Answer(user);
  size_t frame = 0;
  rig.text->Look([&](const auto& items) {
    for (const auto& item : items) {
      if (item.Is(GST_EVENT_GAP)) {
        GstClockTime time, duration;
        gst_event_parse_gap(item.event.get(), &time, &duration);
        fail_unless_equals_uint64(time, FrameTime(frame));
        fail_unless_equals_uint64(duration, kFrame);
        fail_unless(moshi_fake::PieceOf(said.text[frame++]).empty());
      } else if (item.buffer != nullptr) {
        fail_unless_equals_uint64(GST_BUFFER_PTS(item.buffer.get()), FrameTime(frame));
        GstMapInfo map;
        gst_buffer_map(item.buffer.get(), &map, GST_MAP_READ);
        const std::string piece(reinterpret_cast<char*>(map.data), map.size);
        gst_buffer_unmap(item.buffer.get(), &map);
        fail_unless(piece == moshi_fake::PieceOf(said.text[frame++]));
      }
    }
  });
  fail_unless_equals_int(frame, 40);
}
GST_END_TEST;

GST_START_TEST(test_36_text_is_sparse_and_token_ids_are_not) {
  for (bool ids : {false, true}) {
    LmRig rig({.properties = kGreedy, .text_caps = ids ? "application/x-moshi-tokens" : "text/x-raw"});
    const Codes user = SomeCodes(10, 8);
    rig.PushAll(user);
    rig.Finish();
    GstStreamFlags flags = GST_STREAM_FLAG_NONE;
    std::string audio_id, text_id;
    rig.text->Look([&](const auto& items) {
      fail_unless(items[0].Is(GST_EVENT_STREAM_START) && items[1].Is(GST_EVENT_CAPS) && items[2].Is(GST_EVENT_SEGMENT));
      gst_event_parse_stream_flags(items[0].event.get(), &flags);
      const char* id;
      gst_event_parse_stream_start(items[0].event.get(), &id);
      text_id = id;
    });
    rig.audio->Look([&](const auto& items) {
      fail_unless(items[0].Is(GST_EVENT_STREAM_START) && items[1].Is(GST_EVENT_CAPS) && items[2].Is(GST_EVENT_SEGMENT));
      const char* id;
      gst_event_parse_stream_start(items[0].event.get(), &id);
      audio_id = id;
    });
    fail_unless(audio_id != text_id);
    fail_unless_equals_int((flags & GST_STREAM_FLAG_SPARSE) != 0, !ids);
    if (!ids) continue;
    const std::vector<uint8_t> bytes = BytesOf(rig.text->Buffers());
    std::vector<int32_t> tokens(bytes.size() / 4);
    std::memcpy(tokens.data(), bytes.data(), bytes.size());
    fail_unless(tokens == Answer(user).text);
    fail_unless_times(rig.text->Buffers(), 0);
  }
}
GST_END_TEST;

GST_START_TEST(test_36_a_model_without_a_tokenizer_gives_token_ids) {
  Knob("LM_NO_TOKENIZER", 1);
  LmRig rig(kGreedy);
  rig.PushAll(SomeCodes(5, 8));
  rig.Finish();
  const Caps caps = rig.text->CurrentCaps();
  fail_unless(gst_structure_has_name(gst_caps_get_structure(caps.get(), 0), "application/x-moshi-tokens"));
  fail_unless_equals_int(rig.text->Buffers().size(), 5);
}
GST_END_TEST;

GST_START_TEST(test_36_text_of_a_model_without_a_tokenizer_is_an_error) {
  Knob("LM_NO_TOKENIZER", 1);
  LmRig rig({.properties = kGreedy, .text_caps = "text/x-raw"});
  for (int frame = 0; frame < 30; ++frame)
    if (rig.Push(Frames(SomeCodes(1, 8), 8, FrameTime(frame))) != GST_FLOW_OK) break;
  const Message error = ExpectError(rig.bus.get(), GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS);
  fail_unless(Says(error, "tokenizer"));
}
GST_END_TEST;

GST_START_TEST(test_44_characters_that_come_in_pieces_are_joined) {
  LmRig rig(kGreedy);
  // 2, 3 and 4 bytes, then a character that breaks off, a byte that begins none, and an overlong form.
  fail_unless(Force(rig, ByteIds("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80")));
  fail_unless(Force(rig, ByteIds("\xE2\x82") + "262 " +
                             ByteIds("\xFF"
                                     "a\xC0\xAF")));
  rig.PushAll(SomeCodes(9 + 3 + 4, 8));
  rig.Finish();
  std::vector<std::string> pieces;
  for (const Buffer& buffer : rig.text->Buffers()) {
    std::vector<Buffer> one;
    one.emplace_back(gst_buffer_ref(buffer.get()));
    const std::vector<uint8_t> bytes = BytesOf(one);
    pieces.emplace_back(bytes.begin(), bytes.end());
    fail_unless(g_utf8_validate(pieces.back().c_str(), -1, nullptr), "%s", pieces.back().c_str());
  }
  const std::string bad = "\xEF\xBF\xBD";
  const std::vector<std::string> expected = {
      "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", bad + " w262", bad, "a", bad, bad};
  fail_unless(pieces == expected, "%s", rig.text->Text().c_str());
  // A character has the time of the frame that completes it.
  fail_unless_equals_uint64(GST_BUFFER_PTS(rig.text->Buffers()[0].get()), FrameTime(1));
}
GST_END_TEST;

GST_START_TEST(test_44_only_lists_of_tokens_can_be_forced) {
  LmRig rig(kGreedy);
  fail_if(Force(rig, "hello"));
  fail_if(Force(rig, "5 -1"));
  fail_if(Force(rig, "5 1000"));
  fail_unless(Force(rig, "260, 261"));
  rig.PushAll(SomeCodes(2, 8));
  rig.Finish();
  fail_unless(rig.text->Text() == " w260x261", "%s", rig.text->Text().c_str());
}
GST_END_TEST;

GST_START_TEST(test_35_the_text_pad_may_stay_unlinked) {
  LmRig rig({.properties = kGreedy, .link_text = false});
  const Codes user = SomeCodes(100, 8);
  rig.PushAll(user);
  rig.Finish();
  fail_unless_codes(CodesOf(rig.audio->Buffers()), Answer(user).codes);
}
GST_END_TEST;

GST_START_TEST(test_35_the_text_pad_can_be_linked_late) {
  LmRig rig({.properties = kGreedy, .link_text = false});
  const Codes user = SomeCodes(60, 8);
  rig.PushAll(Codes(user.begin(), user.begin() + 30 * 8));
  rig.audio->WaitBuffers(30);
  rig.text = std::make_unique<Recorder>(rig.lm(), "text_src", "application/x-moshi-tokens");
  rig.PushAll(Codes(user.begin() + 30 * 8, user.end()), 8, FrameTime(30));
  rig.Finish();
  rig.text->Look([](const auto& items) {
    fail_unless(items[0].Is(GST_EVENT_STREAM_START));
    size_t first = 0;
    while (items[first].buffer == nullptr) ++first;
    bool caps = false, segment = false;
    for (size_t i = 0; i < first; ++i) {
      caps |= items[i].Is(GST_EVENT_CAPS);
      segment |= items[i].Is(GST_EVENT_SEGMENT);
    }
    fail_unless(caps && segment);
  });
  fail_unless(rig.text->Buffers().size() >= 30 - 1);
  fail_unless_codes(CodesOf(rig.audio->Buffers()), Answer(user).codes);
}
GST_END_TEST;

GST_START_TEST(test_35_a_slow_text_sink_holds_up_no_more_than_its_queue) {
  LmRig rig({.properties = kGreedy, .text_caps = "application/x-moshi-tokens"});
  rig.text->Hold(true);
  std::thread pushing([&] { rig.PushAll(SomeCodes(60, 8)); });
  // Frames go on to the other pad until the queue of the text is full.
  rig.audio->WaitBuffers(16);
  while (rig.Stat("text-frames") < 16) g_usleep(1000);
  g_usleep(20000);
  fail_unless(rig.audio->Buffers().size() <= 18);
  fail_unless_equals_int64(rig.Stat("text-frames"), 16);
  rig.text->Hold(false);
  pushing.join();
  rig.Finish();
  fail_unless_equals_int(rig.text->Buffers().size(), 60);
  fail_unless_equals_int(rig.audio->Buffers().size(), 60);
}
GST_END_TEST;

GST_START_TEST(test_44_extra_heads_travel_with_the_text_and_on_the_bus) {
  Knob("LM_EXTRA_HEADS", 2);
  LmRig rig({.properties = kGreedy, .text_caps = "application/x-moshi-tokens"});
  rig.PushAll(SomeCodes(3, 8));
  rig.Finish();
  for (int frame = 0; frame < 3; ++frame) {
    const Message message = WaitMessage(rig.bus.get(), GST_MESSAGE_ELEMENT);
    fail_unless(message != nullptr);
    const GstStructure* said = gst_message_get_structure(message.get());
    fail_unless(gst_structure_has_name(said, "moshi-extra-heads"));
    fail_unless_equals_int64(FieldOf(said, "timestamp"), static_cast<int64_t>(FrameTime(frame)));
    GstCustomMeta* meta = gst_buffer_get_custom_meta(rig.text->Buffers()[frame].get(), "GstMoshiExtraHeadsMeta");
    fail_unless(meta != nullptr);
    for (const GstStructure* from : {said, static_cast<const GstStructure*>(gst_custom_meta_get_structure(meta))}) {
      const GValue* heads = gst_structure_get_value(from, "probabilities");
      fail_unless_equals_int(gst_value_array_get_size(heads), 2);
      const GValue* second = gst_value_array_get_value(heads, 1);
      fail_unless_equals_int(gst_value_array_get_size(second), moshi_fake::kExtraHeadWidth);
      fail_unless_equals_float(g_value_get_double(gst_value_array_get_value(second, 3)),
                               static_cast<double>(moshi_fake::ExtraHead(frame + 1, 1, 3)));
    }
  }
}
GST_END_TEST;

Suite* moshilm_text_suite() {
  Suite* suite = suite_create("moshilm_text");
  TCase* tcase = AddCase(suite, "text");
  tcase_add_test(tcase, test_36_text_comes_in_pieces_with_gaps_between);
  tcase_add_test(tcase, test_36_text_is_sparse_and_token_ids_are_not);
  tcase_add_test(tcase, test_36_a_model_without_a_tokenizer_gives_token_ids);
  tcase_add_test(tcase, test_36_text_of_a_model_without_a_tokenizer_is_an_error);
  tcase_add_test(tcase, test_44_characters_that_come_in_pieces_are_joined);
  tcase_add_test(tcase, test_44_only_lists_of_tokens_can_be_forced);
  tcase_add_test(tcase, test_35_the_text_pad_may_stay_unlinked);
  tcase_add_test(tcase, test_35_the_text_pad_can_be_linked_late);
  tcase_add_test(tcase, test_35_a_slow_text_sink_holds_up_no_more_than_its_queue);
  tcase_add_test(tcase, test_44_extra_heads_travel_with_the_text_and_on_the_bus);
  return suite;
}

}  // namespace

GST_CHECK_MAIN(moshilm_text)

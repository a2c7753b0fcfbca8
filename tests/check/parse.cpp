// SPDX-License-Identifier: MIT
// The parser, and seeking through it (behaviors 4, 12, 24 and 27 where a file of codes is the source).
#include <glib/gstdio.h>

#include <algorithm>

#include "support.h"

using namespace check;

namespace {

// Bytes cut into pieces, as from a file.
void PushBytes(Rig& rig, const std::vector<uint8_t>& bytes, size_t piece, GstFormat format = GST_FORMAT_BYTES) {
  GstSegment segment;
  gst_segment_init(&segment, format);
  fail_unless(rig.Send(gst_event_new_segment(&segment)));
  for (size_t at = 0; at < bytes.size(); at += piece)
    fail_unless_equals_int(rig.Push(Bytes(bytes.data() + at, std::min(piece, bytes.size() - at))), GST_FLOW_OK);
}

std::vector<uint8_t> Raw(const Codes& codes) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(codes.data());
  return {bytes, bytes + codes.size() * 2};
}

GST_START_TEST(test_4_a_byte_stream_cut_anywhere_becomes_frames_with_times) {
  const Codes codes = SomeCodes(20, 8);
  for (size_t piece : {1, 3, 16, 17, 100, 4096}) {
    Rig rig("mimiparse", "", CodesCaps(8, "codes", false).c_str());
    PushBytes(rig, Raw(codes), piece);
    std::vector<Buffer> out = rig.Finish();
    fail_unless_equals_int(out.size(), 20);
    fail_unless_times(out, 0);
    fail_unless_codes(CodesOf(out), codes);
    Caps caps = rig.OutCaps();
    Caps framed(gst_caps_from_string(CodesCaps(8).c_str()));
    fail_unless(gst_caps_is_subset(caps.get(), framed.get()));
  }
}
GST_END_TEST;

GST_START_TEST(test_4_a_byte_stream_in_a_time_segment_as_from_a_socket_gets_times_too) {
  const Codes codes = SomeCodes(20, 8);
  Rig rig("mimiparse", "", CodesCaps(8, "codes", false).c_str());
  PushBytes(rig, Raw(codes), 100, GST_FORMAT_TIME);
  std::vector<Buffer> out = rig.Finish();
  fail_unless_equals_int(out.size(), 20);
  fail_unless_times(out, 0);
  fail_unless_codes(CodesOf(out), codes);
}
GST_END_TEST;

GST_START_TEST(test_4_formats_are_converted_in_both_directions) {
  for (int codebooks : {1, 3, 8, 17, 32}) {
    const Codes codes = SomeCodes(5, codebooks);
    const std::vector<uint8_t> packed = Packed(codes, codebooks);
    Rig pack("mimiparse", "", CodesCaps(codebooks, "codes", false).c_str(), CodesCaps(codebooks, "packed").c_str());
    PushBytes(pack, Raw(codes), 5);
    fail_unless(BytesOf(pack.Finish()) == packed);
    Rig unpack("mimiparse", "", CodesCaps(codebooks, "packed", false).c_str(), CodesCaps(codebooks).c_str());
    PushBytes(unpack, packed, 5);
    fail_unless_codes(CodesOf(unpack.Finish()), codes);
  }
}
GST_END_TEST;

GST_START_TEST(test_4_framed_input_keeps_its_times) {
  const Codes codes = SomeCodes(4, 8);
  Rig rig("mimiparse", "", CodesCaps(8).c_str(), CodesCaps(8, "packed").c_str());
  for (int f = 0; f < 4; ++f)
    fail_unless_equals_int(
        rig.Push(Frames(Codes(codes.begin() + 8 * f, codes.begin() + 8 * f + 8), 8, FrameTime(f, 3 * GST_SECOND))),
        GST_FLOW_OK);
  std::vector<Buffer> out = rig.Finish();
  fail_unless_equals_int(out.size(), 4);
  fail_unless_times(out, 3 * GST_SECOND);
}
GST_END_TEST;

GST_START_TEST(test_3_the_parser_keeps_the_model_in_the_caps) {
  const std::string model = ",model=(string)" + moshi_fake::FileHash("any");
  for (const char* format : {"codes", "packed"}) {
    Rig rig("mimiparse", "", (CodesCaps(8) + model).c_str(), CodesCaps(8, format).c_str());
    fail_unless_equals_int(rig.Push(Frames(SomeCodes(1, 8), 8, 0)), GST_FLOW_OK);
    rig.Finish();
    Caps caps = rig.OutCaps();
    Caps expected(gst_caps_from_string((CodesCaps(8, format) + model).c_str()));
    fail_unless(gst_caps_is_subset(caps.get(), expected.get()), "%s", Text(gst_caps_to_string(caps.get())).get());
  }
}
GST_END_TEST;

GST_START_TEST(test_24_a_truncated_file_gives_its_whole_frames) {
  const Codes codes = SomeCodes(5, 8);
  std::vector<uint8_t> bytes = Raw(codes);
  bytes.resize(bytes.size() - 7);
  Rig rig("mimiparse", "", CodesCaps(8, "codes", false).c_str());
  PushBytes(rig, bytes, 11);
  fail_unless_codes(CodesOf(rig.Finish()), Codes(codes.begin(), codes.begin() + 32));
  fail_unless(PopMessage(rig.bus.get(), GST_MESSAGE_ERROR) == nullptr);
}
GST_END_TEST;

GST_START_TEST(test_22_a_byte_stream_without_caps_is_refused_within_seconds) {
  Element pipeline = Launch("fakesrc num-buffers=5 sizetype=fixed sizemax=160 ! mimiparse ! mimidec ! fakesink");
  Bus bus = BusOf(pipeline);
  gst_element_set_state(pipeline.get(), GST_STATE_PLAYING);
  fail_unless(WaitMessage(bus.get(), GST_MESSAGE_ERROR) != nullptr);
}
GST_END_TEST;

// A file of codes that is gone when the test is over.
class CodeFile {
 public:
  explicit CodeFile(const Codes& codes) {
    const int file = g_file_open_tmp("moshi-XXXXXX.codes", &path_, nullptr);
    fail_unless(file >= 0);
    g_close(file, nullptr);
    const std::vector<uint8_t> bytes = Raw(codes);
    fail_unless(g_file_set_contents(path_, reinterpret_cast<const char*>(bytes.data()),
                                    static_cast<gssize>(bytes.size()), nullptr));
  }
  ~CodeFile() {
    g_remove(path_);
    g_free(path_);
  }
  CodeFile(const CodeFile&) = delete;
  CodeFile& operator=(const CodeFile&) = delete;
  const char* path() const { return path_; }

 private:
  char* path_ = nullptr;
};

// What a pipeline's sink, called "sink", was given, with the time of each buffer.
struct Heard {
  explicit Heard(const Element& pipeline) {
    GstElement* sink = gst_bin_get_by_name(GST_BIN(pipeline.get()), "sink");
    g_object_set(sink, "signal-handoffs", TRUE, "sync", FALSE, nullptr);
    g_signal_connect(sink, "handoff", G_CALLBACK(Handoff), this);
    g_signal_connect(sink, "preroll-handoff", G_CALLBACK(Preroll), this);
    gst_object_unref(sink);
  }
  static void Preroll(GstElement*, GstBuffer* buffer, GstPad*, gpointer user) {
    static_cast<Heard*>(user)->prerolled.reset(gst_buffer_ref(buffer));
  }
  static void Handoff(GstElement*, GstBuffer* buffer, GstPad*, gpointer user) {
    static_cast<Heard*>(user)->buffers.emplace_back(gst_buffer_ref(buffer));
  }
  std::vector<Buffer> buffers;
  Buffer prerolled;
};

Element FilePipeline(const CodeFile& file) {
  return Launch(std::string("filesrc location=") + file.path() + " ! " + CodesCaps(8, "codes", false) +
                " ! mimiparse name=parse ! mimidec ! fakesink name=sink");
}

void Preroll(const Element& pipeline) {
  gst_element_set_state(pipeline.get(), GST_STATE_PAUSED);
  fail_unless(gst_element_get_state(pipeline.get(), nullptr, nullptr, 15 * GST_SECOND) == GST_STATE_CHANGE_SUCCESS);
}

GST_START_TEST(test_12_a_file_plays_from_start_to_end_and_knows_its_duration) {
  const Codes codes = SomeCodes(100, 8);
  CodeFile file(codes);
  Element pipeline = FilePipeline(file);
  Heard heard(pipeline);
  Preroll(pipeline);
  gint64 duration = 0;
  fail_unless(gst_element_query_duration(pipeline.get(), GST_FORMAT_TIME, &duration));
  fail_unless_equals_int64(duration, 8 * GST_SECOND);
  Query seeking(gst_query_new_seeking(GST_FORMAT_TIME));
  fail_unless(gst_element_query(pipeline.get(), seeking.get()));
  gboolean can = FALSE;
  gst_query_parse_seeking(seeking.get(), nullptr, &can, nullptr, nullptr);
  fail_unless(can);
  PlayToEnd(pipeline);
  fail_unless_samples(SamplesOf(heard.buffers), Decoded(codes, 8));
}
GST_END_TEST;

// Frames from `first` on as they sound when `lead` frames are decoded before them and thrown away.
Samples After(const Codes& codes, int first, int lead, int last) {
  const int start = std::max(0, first - lead);
  const Samples all = Decoded(Codes(codes.begin() + start * 8, codes.begin() + last * 8), 8);
  return Samples(all.begin() + (first - start) * kFrameSamples, all.end());
}

GST_START_TEST(test_12_a_flushing_seek_decodes_the_lead_in_and_starts_exactly) {
  const Codes codes = SomeCodes(100, 8);
  CodeFile file(codes);
  for (auto [lead, seconds] : {std::pair{25, 4}, std::pair{25, 1}, std::pair{10, 6}, std::pair{0, 2}}) {
    Element pipeline = FilePipeline(file);
    GstElement* parse = gst_bin_get_by_name(GST_BIN(pipeline.get()), "parse");
    g_object_set(parse, "lead-in", lead, nullptr);
    gst_object_unref(parse);
    Heard heard(pipeline);
    Preroll(pipeline);
    fail_unless(gst_element_seek_simple(pipeline.get(), GST_FORMAT_TIME,
                                        static_cast<GstSeekFlags>(GST_SEEK_FLAG_FLUSH | GST_SEEK_FLAG_ACCURATE),
                                        seconds * GST_SECOND));
    PlayToEnd(pipeline);
    const int frame = seconds * 25 / 2;
    const size_t inside = seconds * 24000 - frame * kFrameSamples;
    Samples expected = After(codes, frame, lead, 100);
    expected.erase(expected.begin(), expected.begin() + inside);
    fail_unless_samples(SamplesOf(heard.buffers), expected);
    fail_unless_equals_uint64(GST_BUFFER_PTS(heard.buffers.front().get()), seconds * GST_SECOND);
  }
}
GST_END_TEST;

GST_START_TEST(test_12_a_segment_seek_ends_with_segment_done) {
  const Codes codes = SomeCodes(100, 8);
  CodeFile file(codes);
  Element pipeline = FilePipeline(file);
  Heard heard(pipeline);
  Preroll(pipeline);
  const auto flags = static_cast<GstSeekFlags>(GST_SEEK_FLAG_FLUSH | GST_SEEK_FLAG_SEGMENT | GST_SEEK_FLAG_ACCURATE);
  fail_unless(gst_element_seek(pipeline.get(), 1.0, GST_FORMAT_TIME, flags, GST_SEEK_TYPE_SET, 4 * GST_SECOND,
                               GST_SEEK_TYPE_SET, 5 * GST_SECOND));
  gst_element_set_state(pipeline.get(), GST_STATE_PLAYING);
  Bus bus = BusOf(pipeline);
  Message done = WaitMessage(bus.get(), GST_MESSAGE_SEGMENT_DONE | GST_MESSAGE_ERROR | GST_MESSAGE_EOS);
  fail_unless(done != nullptr && GST_MESSAGE_TYPE(done.get()) == GST_MESSAGE_SEGMENT_DONE);
  Samples expected = After(codes, 50, 25, 63);
  expected.resize(24000);
  fail_unless_samples(SamplesOf(heard.buffers), expected);
}
GST_END_TEST;

GST_START_TEST(test_12_a_seek_in_front_of_the_encoder_starts_exactly_with_a_new_state) {
  // wavparse answers seeks in samples; wavenc makes its file.
  char* path = nullptr;
  const int file = g_file_open_tmp("moshi-XXXXXX.wav", &path, nullptr);
  fail_unless(file >= 0);
  g_close(file, nullptr);
  PlayToEnd(Launch(std::string("audiotestsrc num-buffers=96 samplesperbuffer=1000 ! ") + kS16 +
                   " ! wavenc ! filesink location=" + path));
  const std::string line = std::string("filesrc location=") + path + " ! wavparse ! " + kS16 + " ! ";
  Element plain = Launch(line + "fakesink name=sink");
  Heard raw(plain);
  PlayToEnd(plain);
  Samples all;
  for (int16_t sample : ShortsOf(raw.buffers)) all.push_back(sample / 32768.0f);

  Element pipeline = Launch(line + "mimienc ! fakesink name=sink");
  Heard heard(pipeline);
  Preroll(pipeline);
  fail_unless(gst_element_seek_simple(pipeline.get(), GST_FORMAT_TIME,
                                      static_cast<GstSeekFlags>(GST_SEEK_FLAG_FLUSH | GST_SEEK_FLAG_ACCURATE),
                                      GST_SECOND));
  PlayToEnd(pipeline);
  g_remove(path);
  g_free(path);
  fail_unless_codes(CodesOf(heard.buffers), Encoded(Samples(all.begin() + 24000, all.end()), 8));
  fail_unless_times(heard.buffers, GST_SECOND);
  // A file is encoded up to 2 s at a time, and still comes out frame by frame.
  fail_unless(Counts().job_frames_max > 1 && Counts().job_frames_max <= 25);
}
GST_END_TEST;

GST_START_TEST(test_12_many_seeks_one_after_another) {
  const Codes codes = SomeCodes(200, 8);
  CodeFile file(codes);
  Element pipeline = FilePipeline(file);
  Preroll(pipeline);
  for (int i = 0; i < 30; ++i) {
    if (i % 5 == 2) gst_element_set_state(pipeline.get(), i % 2 == 0 ? GST_STATE_PLAYING : GST_STATE_PAUSED);
    fail_unless(gst_element_seek_simple(pipeline.get(), GST_FORMAT_TIME,
                                        static_cast<GstSeekFlags>(GST_SEEK_FLAG_FLUSH | GST_SEEK_FLAG_KEY_UNIT),
                                        (i * 7 % 15) * GST_SECOND));
  }
  PlayToEnd(pipeline);
}
GST_END_TEST;

// wavparse asks all of GStreamer's type finders, which stay loaded and would count as leaks of one test.
void LoadTypeFinders() {
  GList* finders = gst_type_find_factory_get_list();
  for (GList* entry = finders; entry != nullptr; entry = entry->next)
    if (GstPluginFeature* loaded = gst_plugin_feature_load(GST_PLUGIN_FEATURE(entry->data))) gst_object_unref(loaded);
  gst_plugin_feature_list_free(finders);
}

Suite* parse_suite() {
  LoadTypeFinders();
  Suite* suite = suite_create("parse");
  TCase* tcase = AddCase(suite, "parse");
  tcase_add_test(tcase, test_4_a_byte_stream_cut_anywhere_becomes_frames_with_times);
  tcase_add_test(tcase, test_4_a_byte_stream_in_a_time_segment_as_from_a_socket_gets_times_too);
  tcase_add_test(tcase, test_4_formats_are_converted_in_both_directions);
  tcase_add_test(tcase, test_4_framed_input_keeps_its_times);
  tcase_add_test(tcase, test_3_the_parser_keeps_the_model_in_the_caps);
  tcase_add_test(tcase, test_24_a_truncated_file_gives_its_whole_frames);
  tcase_add_test(tcase, test_22_a_byte_stream_without_caps_is_refused_within_seconds);
  tcase_add_test(tcase, test_12_a_file_plays_from_start_to_end_and_knows_its_duration);
  tcase_add_test(tcase, test_12_a_flushing_seek_decodes_the_lead_in_and_starts_exactly);
  tcase_add_test(tcase, test_12_a_segment_seek_ends_with_segment_done);
  tcase_add_test(tcase, test_12_a_seek_in_front_of_the_encoder_starts_exactly_with_a_new_state);
  tcase_add_test(tcase, test_12_many_seeks_one_after_another);
  return suite;
}

}  // namespace

GST_CHECK_MAIN(parse)

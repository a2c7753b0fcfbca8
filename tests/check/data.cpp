// SPDX-License-Identifier: MIT
// Bad and odd data: corrupt frames, strange memory, extreme samples (behaviors 23 to 26).
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "support.h"

using namespace check;

namespace {

Buffer OneFrame(const Codes& codes, int frame) {
  return Frames(Codes(codes.begin() + frame * 8, codes.begin() + frame * 8 + 8), 8, FrameTime(frame));
}

Buffer BadFrame(int frame) {
  Codes codes = SomeCodes(1, 8);
  codes[3] = 2048;
  return Frames(codes, 8, FrameTime(frame));
}

GST_START_TEST(test_23_a_code_out_of_range_is_an_error_by_default) {
  Rig rig("mimidec", "", CodesCaps(8).c_str());
  fail_unless_equals_int(rig.Push(OneFrame(SomeCodes(1, 8), 0)), GST_FLOW_OK);
  fail_unless_equals_int(rig.Push(BadFrame(1)), GST_FLOW_ERROR);
  Message error = ExpectError(rig.bus.get(), GST_STREAM_ERROR, GST_STREAM_ERROR_DECODE);
  fail_unless(Says(error, "2048"));
  // The same element, started again, works.
  gst_element_set_state(rig.element(), GST_STATE_NULL);
  rig.Take();
  gst_element_set_state(rig.element(), GST_STATE_PLAYING);
  gst_harness_set_src_caps_str(rig.harness.get(), CodesCaps(8).c_str());
  rig.SendSegment();
  const Codes codes = SomeCodes(2, 8);
  fail_unless_equals_int(rig.Push(Frames(codes, 8, 0)), GST_FLOW_OK);
  fail_unless_samples(SamplesOf(rig.Finish()), Decoded(codes, 8));
}
GST_END_TEST;

GST_START_TEST(test_23_half_a_frame_is_an_error_by_default) {
  for (size_t size : {1, 8, 15, 24}) {
    Rig rig("mimidec", "", CodesCaps(8).c_str());
    const Codes codes = SomeCodes(2, 8);
    fail_unless_equals_int(rig.Push(Bytes(codes.data(), size, 0)), GST_FLOW_ERROR);
    ExpectError(rig.bus.get(), GST_STREAM_ERROR, GST_STREAM_ERROR_DECODE);
  }
}
GST_END_TEST;

GST_START_TEST(test_23_max_errors_conceals_and_counts) {
  Rig rig("mimidec", "max-errors=2", CodesCaps(8).c_str());
  const Codes codes = SomeCodes(5, 8);
  for (int f = 0; f < 5; ++f)
    fail_unless_equals_int(rig.Push(f % 2 == 1 ? BadFrame(f) : OneFrame(codes, f)), GST_FLOW_OK);
  std::vector<Buffer> out = rig.Take();
  fail_unless_times(out, 0);
  fail_unless_equals_int(SamplesOf(out).size(), 5 * kFrameSamples);
  fail_unless_equals_uint64(StatOf(rig, "errors"), 2);
  ExpectNoTrouble(rig.bus.get());
}
GST_END_TEST;

GST_START_TEST(test_23_more_than_max_errors_in_a_row_is_an_error) {
  Rig rig("mimidec", "max-errors=2", CodesCaps(8).c_str());
  GstFlowReturn flow = GST_FLOW_OK;
  int pushed = 0;
  while (flow == GST_FLOW_OK && pushed < 10) flow = rig.Push(BadFrame(pushed++));
  fail_unless_equals_int(flow, GST_FLOW_ERROR);
  fail_unless_equals_int(pushed, 3);
  ExpectError(rig.bus.get(), GST_STREAM_ERROR, GST_STREAM_ERROR_DECODE);
}
GST_END_TEST;

GST_START_TEST(test_24_a_buffer_of_several_frames_gives_them_all) {
  for (int frames : {2, 5, 25, 100}) {
    const Codes codes = SomeCodes(frames, 8);
    Rig rig("mimidec", "", CodesCaps(8).c_str());
    fail_unless_equals_int(rig.Push(Frames(codes, 8, 0)), GST_FLOW_OK);
    std::vector<Buffer> out = rig.Finish();
    fail_unless_samples(SamplesOf(out), Decoded(codes, 8));
    GstClockTime next = 0;
    for (const Buffer& buffer : out) {
      fail_unless_equals_uint64(GST_BUFFER_PTS(buffer.get()), next);
      next += GST_BUFFER_DURATION(buffer.get());
    }
    fail_unless_equals_uint64(next, FrameTime(frames));
  }
}
GST_END_TEST;

GST_START_TEST(test_24_packed_codes_decode_alike_for_every_number_of_codebooks) {
  for (int codebooks = 1; codebooks <= 32; ++codebooks) {
    const Codes codes = SomeCodes(2, codebooks);
    const std::vector<uint8_t> bytes = Packed(codes, codebooks);
    Rig rig("mimidec", "", CodesCaps(codebooks, "packed").c_str());
    fail_unless_equals_int(rig.Push(Bytes(bytes.data(), bytes.size(), 0)), GST_FLOW_OK);
    fail_unless_samples(SamplesOf(rig.Finish()), Decoded(codes, codebooks));
  }
}
GST_END_TEST;

GST_START_TEST(test_24_an_empty_buffer_is_ignored) {
  Rig decoder("mimidec", "", CodesCaps(8).c_str()), encoder("mimienc", "", kF32);
  const Codes codes = SomeCodes(2, 8);
  const Samples sound = Sound(2 * kFrameSamples);
  fail_unless_equals_int(decoder.Push(OneFrame(codes, 0)), GST_FLOW_OK);
  fail_unless_equals_int(decoder.Push(Bytes("", 0, FrameTime(1))), GST_FLOW_OK);
  fail_unless_equals_int(decoder.Push(OneFrame(codes, 1)), GST_FLOW_OK);
  fail_unless_samples(SamplesOf(decoder.Finish()), Decoded(codes, 8));
  fail_unless_equals_int(encoder.Push(F32(Samples(sound.begin(), sound.begin() + kFrameSamples), 0)), GST_FLOW_OK);
  fail_unless_equals_int(encoder.Push(F32({}, FrameTime(1))), GST_FLOW_OK);
  fail_unless_equals_int(encoder.Push(F32(Samples(sound.begin() + kFrameSamples, sound.end()), FrameTime(1))),
                         GST_FLOW_OK);
  fail_unless_codes(CodesOf(encoder.Finish()), Encoded(sound, 8));
  ExpectNoTrouble(decoder.bus.get());
  ExpectNoTrouble(encoder.bus.get());
}
GST_END_TEST;

// The same bytes: read-only; in many pieces; at an odd address.
enum class Memory { kReadOnly, kPieces, kUnaligned };

Buffer In(Memory kind, const Buffer& plain) {
  GstMapInfo map;
  fail_unless(gst_buffer_map(plain.get(), &map, GST_MAP_READ));
  Buffer buffer(gst_buffer_new());
  auto append = [&](const uint8_t* data, size_t size, size_t offset, int flags) {
    auto* copy = static_cast<uint8_t*>(g_malloc(size + offset));
    std::memcpy(copy + offset, data, size);
    gst_buffer_append_memory(buffer.get(), gst_memory_new_wrapped(static_cast<GstMemoryFlags>(flags), copy,
                                                                  size + offset, offset, size, copy, g_free));
  };
  if (kind == Memory::kReadOnly) append(map.data, map.size, 0, GST_MEMORY_FLAG_READONLY);
  if (kind == Memory::kUnaligned) append(map.data, map.size, 1, 0);
  if (kind == Memory::kPieces)
    for (size_t at = 0; at < map.size; at += 7) append(map.data + at, std::min<size_t>(7, map.size - at), 0, 0);
  gst_buffer_unmap(plain.get(), &map);
  gst_buffer_copy_into(buffer.get(), plain.get(), GST_BUFFER_COPY_METADATA, 0, -1);
  return buffer;
}

GST_START_TEST(test_24_any_kind_of_memory) {
  for (Memory kind : {Memory::kReadOnly, Memory::kPieces, Memory::kUnaligned}) {
    const Codes codes = SomeCodes(3, 8);
    const Samples sound = Sound(100);
    Rig decoder("mimidec", "", CodesCaps(8).c_str()), encoder("mimienc", "", kF32), shorts("mimienc", "", kS16);
    Rig parser("mimiparse", "", CodesCaps(8).c_str(), CodesCaps(8, "packed").c_str());
    fail_unless_equals_int(decoder.Push(In(kind, Frames(codes, 8, 0))), GST_FLOW_OK);
    fail_unless_samples(SamplesOf(decoder.Finish()), Decoded(codes, 8));
    fail_unless_equals_int(encoder.Push(In(kind, F32(sound, 0))), GST_FLOW_OK);
    fail_unless_codes(CodesOf(encoder.Finish()), Encoded(sound, 8));
    fail_unless_equals_int(shorts.Push(In(kind, S16(sound, 0))), GST_FLOW_OK);
    fail_unless_codes(CodesOf(shorts.Finish()), Encoded(sound, 8));
    fail_unless_equals_int(parser.Push(In(kind, Frames(codes, 8, 0))), GST_FLOW_OK);
    fail_unless(BytesOf(parser.Finish()) == Packed(codes, 8));
  }
}
GST_END_TEST;

GST_START_TEST(test_24_the_input_is_not_written_to) {
  const Samples sound = Sound(kFrameSamples);
  Rig encoder("mimienc", "", kF32), shorts("mimienc", "", kS16);
  Buffer input = F32(sound, 0);
  Buffer kept(gst_buffer_ref(input.get()));
  fail_unless_equals_int(encoder.Push(std::move(input)), GST_FLOW_OK);
  encoder.Finish();
  fail_unless_samples(SamplesOf(kept), sound);
}
GST_END_TEST;

GST_START_TEST(test_25_nan_and_infinity_end_in_an_error_or_in_codes_and_leave_no_trace) {
  for (float odd : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Rig rig("mimienc", "", kF32);
    Samples sound = Sound(kFrameSamples);
    sound[17] = odd;
    const GstFlowReturn flow = rig.Push(F32(sound, 0));
    if (flow == GST_FLOW_OK) {
      fail_unless_equals_int(CodesOf(rig.Take()).size(), 8);
    } else {
      ExpectError(rig.bus.get(), GST_STREAM_ERROR, GST_STREAM_ERROR_ENCODE);
    }
    rig.Flush();
    const Samples clean = Sound(2 * kFrameSamples);
    fail_unless_equals_int(rig.Push(F32(clean, 0)), GST_FLOW_OK);
    fail_unless_codes(CodesOf(rig.Finish()), Encoded(clean, 8));
  }
}
GST_END_TEST;

GST_START_TEST(test_25_a_full_scale_square_wave_is_encoded) {
  Samples square(3 * kFrameSamples), over(square.size());
  for (size_t i = 0; i < square.size(); ++i) square[i] = i / 50 % 2 == 0 ? 32767 / 32768.0f : -1.0f;
  for (size_t i = 0; i < over.size(); ++i) over[i] = 4 * square[i];
  Rig floats("mimienc", "", kF32), shorts("mimienc", "", kS16), loud("mimienc", "", kF32);
  fail_unless_equals_int(floats.Push(F32(square, 0)), GST_FLOW_OK);
  fail_unless_equals_int(shorts.Push(S16(square, 0)), GST_FLOW_OK);
  fail_unless_equals_int(loud.Push(F32(over, 0)), GST_FLOW_OK);
  fail_unless_codes(CodesOf(floats.Finish()), Encoded(square, 8));
  fail_unless_codes(CodesOf(shorts.Finish()), Encoded(square, 8));
  fail_unless_equals_int(CodesOf(loud.Finish()).size(), 24);
}
GST_END_TEST;

GST_START_TEST(test_26_s16_output_is_rounded_and_clipped_and_never_wrapped) {
  for (float gain : {0.3f, 1.0f, 4.0f, 10.0f}) {
    Knob("GAIN", gain);
    const Codes codes = SomeCodes(3, 8);
    const Samples exact = Decoded(codes, 8, nullptr, gain);
    Rig rig("mimidec", "", CodesCaps(8).c_str(), kS16);
    fail_unless_equals_int(rig.Push(Frames(codes, 8, 0)), GST_FLOW_OK);
    const std::vector<int16_t> shorts = ShortsOf(rig.Finish());
    fail_unless_equals_int(shorts.size(), exact.size());
    for (size_t i = 0; i < shorts.size(); ++i) {
      const double wanted = std::clamp(exact[i] * 32768.0, -32768.0, 32767.0);
      fail_unless(std::abs(shorts[i] - wanted) <= 0.5, "sample %zu is %d and not %f", i, shorts[i], wanted);
    }
  }
}
GST_END_TEST;

GST_START_TEST(test_26_f32_output_is_left_as_the_model_gives_it) {
  Knob("GAIN", 10);
  const Codes codes = SomeCodes(3, 8);
  Rig rig("mimidec", "", CodesCaps(8).c_str());
  fail_unless_equals_int(rig.Push(Frames(codes, 8, 0)), GST_FLOW_OK);
  fail_unless_samples(SamplesOf(rig.Finish()), Decoded(codes, 8, nullptr, 10));
}
GST_END_TEST;

Suite* data_suite() {
  Suite* suite = suite_create("data");
  TCase* tcase = AddCase(suite, "data");
  tcase_add_test(tcase, test_23_a_code_out_of_range_is_an_error_by_default);
  tcase_add_test(tcase, test_23_half_a_frame_is_an_error_by_default);
  tcase_add_test(tcase, test_23_max_errors_conceals_and_counts);
  tcase_add_test(tcase, test_23_more_than_max_errors_in_a_row_is_an_error);
  tcase_add_test(tcase, test_24_a_buffer_of_several_frames_gives_them_all);
  tcase_add_test(tcase, test_24_packed_codes_decode_alike_for_every_number_of_codebooks);
  tcase_add_test(tcase, test_24_an_empty_buffer_is_ignored);
  tcase_add_test(tcase, test_24_any_kind_of_memory);
  tcase_add_test(tcase, test_24_the_input_is_not_written_to);
  tcase_add_test(tcase, test_25_nan_and_infinity_end_in_an_error_or_in_codes_and_leave_no_trace);
  tcase_add_test(tcase, test_25_a_full_scale_square_wave_is_encoded);
  tcase_add_test(tcase, test_26_s16_output_is_rounded_and_clipped_and_never_wrapped);
  tcase_add_test(tcase, test_26_f32_output_is_left_as_the_model_gives_it);
  return suite;
}

}  // namespace

GST_CHECK_MAIN(data)

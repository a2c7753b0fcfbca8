// SPDX-License-Identifier: MIT
#include "caps.h"

#include <gst/audio/audio.h>

#include <algorithm>
#include <bit>
#include <cstring>

static_assert(std::endian::native == std::endian::little, "the elements' raw formats are the machine's own");

namespace gstmoshi {
namespace {

constexpr gsize kHeadBytes = 56;
constexpr gsize kHashBytes = 32;
constexpr int kAutoBatchSeconds = 2;

const char* NameOf(CodeLayout layout) { return layout == CodeLayout::kCodes ? "codes" : "packed"; }

/** The digest's bytes; zeros if `hex` is not one. */
void ParseHash(const std::string& hex, guint8* bytes) {
  std::memset(bytes, 0, kHashBytes);
  if (hex.size() != 2 * kHashBytes) return;
  for (char digit : hex)
    if (!g_ascii_isxdigit(digit)) return;
  for (gsize i = 0; i < kHashBytes; ++i)
    bytes[i] = static_cast<guint8>(g_ascii_xdigit_value(hex[2 * i]) << 4 | g_ascii_xdigit_value(hex[2 * i + 1]));
}

void SetBufferField(GstStructure* structure, const char* name, GstBuffer* buffer, bool in_array) {
  GValue value = G_VALUE_INIT;
  g_value_init(&value, GST_TYPE_BUFFER);
  gst_value_set_buffer(&value, buffer);
  if (in_array) {
    GValue array = G_VALUE_INIT;
    g_value_init(&array, GST_TYPE_ARRAY);
    gst_value_array_append_and_take_value(&array, &value);
    gst_structure_take_value(structure, name, &array);
  } else {
    gst_structure_take_value(structure, name, &value);
  }
}

}  // namespace

GstClockTime CodesFormat::FrameTime(guint64 frame) const {
  return gst_util_uint64_scale(frame, GST_SECOND * framerate_den, framerate_num);
}

guint CodesFormat::bitrate() const {
  return static_cast<guint>(
      gst_util_uint64_scale_round(guint64{1} * codebooks * BitsPerCode(cardinality), framerate_num, framerate_den));
}

std::optional<CodesFormat> ParseCodesCaps(const GstCaps* caps) {
  if (gst_caps_get_size(caps) != 1) return std::nullopt;
  const GstStructure* structure = gst_caps_get_structure(caps, 0);
  CodesFormat format;
  if (!gst_structure_get_int(structure, "codebooks", &format.codebooks)) return std::nullopt;
  gst_structure_get_int(structure, "rate", &format.rate);
  gst_structure_get_fraction(structure, "framerate", &format.framerate_num, &format.framerate_den);
  gst_structure_get_int(structure, "cardinality", &format.cardinality);
  if (g_strcmp0(gst_structure_get_string(structure, "stream-format"), "packed") == 0)
    format.layout = CodeLayout::kPacked;
  gboolean framed;
  if (gst_structure_get_boolean(structure, "framed", &framed)) format.framed = framed;
  const char* model = gst_structure_get_string(structure, "model");
  if (model != nullptr) format.model = model;
  const bool sane = format.codebooks >= 1 && format.codebooks <= kMaxCodebooks && format.rate > 0 &&
                    format.framerate_num > 0 && format.framerate_den > 0 && format.cardinality >= 2 &&
                    format.cardinality <= 65536 && format.frame_samples() > 0;
  if (!sane) return std::nullopt;
  return format;
}

BufferPtr MakeHead(const CodesFormat& format) {
  BufferPtr head(gst_buffer_new_allocate(nullptr, kHeadBytes, nullptr));
  BufferMap map(head.get(), GST_MAP_WRITE);
  guint8* bytes = map.data();
  std::memcpy(bytes, "MimiHead", 8);
  bytes[8] = 1;
  bytes[9] = static_cast<guint8>(format.codebooks);
  bytes[10] = format.layout == CodeLayout::kPacked ? 1 : 0;
  bytes[11] = 0;
  GST_WRITE_UINT32_LE(bytes + 12, format.rate);
  GST_WRITE_UINT16_LE(bytes + 16, format.framerate_num);
  GST_WRITE_UINT16_LE(bytes + 18, format.framerate_den);
  GST_WRITE_UINT32_LE(bytes + 20, format.cardinality);
  ParseHash(format.model, bytes + 24);
  GST_BUFFER_FLAG_SET(head.get(), GST_BUFFER_FLAG_HEADER);
  return head;
}

CapsPtr MakeCodesCaps(const CodesFormat& format) {
  CapsPtr caps(gst_caps_new_simple("audio/x-mimi", "rate", G_TYPE_INT, format.rate, "channels", G_TYPE_INT, 1,
                                   "framerate", GST_TYPE_FRACTION, format.framerate_num, format.framerate_den,
                                   "codebooks", G_TYPE_INT, format.codebooks, "cardinality", G_TYPE_INT,
                                   format.cardinality, "stream-format", G_TYPE_STRING, NameOf(format.layout), "framed",
                                   G_TYPE_BOOLEAN, format.framed, nullptr));
  GstStructure* structure = gst_caps_get_structure(caps.get(), 0);
  if (!format.model.empty()) gst_structure_set(structure, "model", G_TYPE_STRING, format.model.c_str(), nullptr);
  BufferPtr head = MakeHead(format);
  SetBufferField(structure, "streamheader", head.get(), true);
  SetBufferField(structure, "codec_data", head.get(), false);
  return caps;
}

CapsPtr CodesCapsOf(const ModelFacts& facts, int codebooks) {
  CapsPtr caps(gst_caps_from_string(MOSHI_CAPS_MIMI("true")));
  if (facts.open())
    gst_caps_set_simple(caps.get(), "rate", G_TYPE_INT, facts.rate, "framerate", GST_TYPE_FRACTION, facts.framerate_num,
                        facts.framerate_den, "cardinality", G_TYPE_INT, facts.cardinality, nullptr);
  const int most = facts.open() ? std::min(facts.codebooks, kMaxCodebooks) : kMaxCodebooks;
  if (codebooks > 0 || most == 1)
    gst_caps_set_simple(caps.get(), "codebooks", G_TYPE_INT, std::max(codebooks, 1), nullptr);
  else
    gst_caps_set_simple(caps.get(), "codebooks", GST_TYPE_INT_RANGE, 1, most, nullptr);
  return caps;
}

CapsPtr RawCapsOf(const ModelFacts& facts) {
  CapsPtr caps(gst_caps_from_string(MOSHI_CAPS_RAW));
  // Upstream settles on a rate before a model that is being fetched can name its own: let it be that of all published
  // models.
  constexpr int kUsualRate = 24000;
  const int rate = facts.fetching ? kUsualRate : facts.rate;
  if (rate > 0) gst_caps_set_simple(caps.get(), "rate", G_TYPE_INT, rate, nullptr);
  return caps;
}

bool ChooseCodes(GstPad* srcpad, const ModelFacts& facts, int codebooks, CodesFormat& format) {
  CapsPtr offer = CodesCapsOf(facts, codebooks);
  if (!facts.sha256.empty()) gst_caps_set_simple(offer.get(), "model", G_TYPE_STRING, facts.sha256.c_str(), nullptr);
  CapsPtr taken(gst_pad_peer_query_caps(srcpad, offer.get()));
  // A peer may answer with more than it was asked about.
  CapsPtr allowed(gst_caps_intersect_full(taken.get(), offer.get(), GST_CAPS_INTERSECT_FIRST));
  if (gst_caps_is_empty(allowed.get())) return false;
  allowed.reset(gst_caps_make_writable(gst_caps_truncate(allowed.release())));
  GstStructure* structure = gst_caps_get_structure(allowed.get(), 0);
  gst_structure_fixate_field_nearest_int(structure, "codebooks", kDefaultCodebooks);
  gst_structure_fixate_field_string(structure, "stream-format", NameOf(CodeLayout::kCodes));
  allowed.reset(gst_caps_fixate(allowed.release()));
  const std::optional<CodesFormat> chosen = ParseCodesCaps(allowed.get());
  if (!chosen) return false;
  format = *chosen;
  format.framed = true;
  format.model = facts.sha256;
  return true;
}

TagListPtr MakeTags(const CodesFormat& format, const char* encoder) {
  TagListPtr tags(gst_tag_list_new(GST_TAG_AUDIO_CODEC, "Kyutai Mimi", GST_TAG_NOMINAL_BITRATE, format.bitrate(),
                                   GST_TAG_BITRATE, format.bitrate(), nullptr));
  if (encoder != nullptr) gst_tag_list_add(tags.get(), GST_TAG_MERGE_REPLACE, GST_TAG_ENCODER, encoder, nullptr);
  return tags;
}

bool UpstreamIsLive(GstPad* sinkpad) {
  QueryPtr query(gst_query_new_latency());
  gboolean live = FALSE;
  if (gst_pad_peer_query(sinkpad, query.get())) gst_query_parse_latency(query.get(), &live, nullptr, nullptr);
  return live;
}

bool UpstreamIsSeekable(GstPad* sinkpad) {
  QueryPtr query(gst_query_new_seeking(GST_FORMAT_TIME));
  gboolean seekable = FALSE;
  if (gst_pad_peer_query(sinkpad, query.get()))
    gst_query_parse_seeking(query.get(), nullptr, &seekable, nullptr, nullptr);
  return seekable;
}

int BatchFrames(int wanted, GstPad* sinkpad, const ModelFacts& facts) {
  if (wanted > 0) return wanted;
  if (!facts.open() || UpstreamIsLive(sinkpad) || !UpstreamIsSeekable(sinkpad)) return 1;
  return std::max(1, kAutoBatchSeconds * facts.framerate_num / facts.framerate_den);
}

}  // namespace gstmoshi

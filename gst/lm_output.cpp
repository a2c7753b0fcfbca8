// SPDX-License-Identifier: MIT
#include "lm_output.h"

#include <algorithm>
#include <string>
#include <vector>

#include "errors.h"
#include "moshilm.h"

#define GST_CAT_DEFAULT moshilm_debug

namespace gstmoshi {
namespace {

constexpr char kProbabilities[] = "probabilities";

/** One array of doubles for each head. */
void SetHeads(GstStructure* structure, std::span<const float> heads, gint width) {
  GValue all = G_VALUE_INIT;
  g_value_init(&all, GST_TYPE_ARRAY);
  for (size_t begin = 0; begin + width <= heads.size(); begin += width) {
    GValue one = G_VALUE_INIT;
    g_value_init(&one, GST_TYPE_ARRAY);
    for (gint i = 0; i < width; ++i) {
      GValue number = G_VALUE_INIT;
      g_value_init(&number, G_TYPE_DOUBLE);
      g_value_set_double(&number, static_cast<double>(heads[begin + i]));
      gst_value_array_append_and_take_value(&one, &number);
    }
    gst_value_array_append_and_take_value(&all, &one);
  }
  gst_structure_take_value(structure, kProbabilities, &all);
}

}  // namespace

void RegisterExtraHeadsMeta() {
  static const gchar* tags[] = {nullptr};
  if (gst_meta_get_info(kExtraHeadsMeta) == nullptr)
    gst_meta_register_custom(kExtraHeadsMeta, tags, nullptr, nullptr, nullptr);
}

void LmOutput::StartPad(SourcePad& pad, GstEvent* stream_start, const char* name, GstStreamFlags flags) {
  // gst_pad_create_stream_id() would look at the sink pad, which may not have stored this event yet.
  const char* upstream;
  gst_event_parse_stream_start(stream_start, &upstream);
  const std::string id = std::string(upstream) + "/" + name;
  EventPtr event(gst_event_new_stream_start(id.c_str()));
  guint group;
  if (!gst_event_parse_group_id(stream_start, &group)) group = gst_util_group_id_next();
  gst_event_set_group_id(event.get(), group);
  gst_event_set_seqnum(event.get(), gst_event_get_seqnum(stream_start));
  gst_event_set_stream_flags(event.get(), flags);
  pad.Push(std::move(event));
}

void LmOutput::StartStream(GstEvent* stream_start) {
  GstStreamFlags flags;
  gst_event_parse_stream_flags(stream_start, &flags);
  StartPad(audio_, stream_start, "audio", flags);
  started_ = true;
  // Whether text is sparse depends on its format, which downstream chooses.
  text_format_ = TextFormat::kNone;
  CapsPtr wanted(gst_pad_peer_query_caps(text_.pad(), nullptr));
  CapsPtr text(gst_caps_from_string(MOSHI_CAPS_TEXT));
  const bool sparse = !model_.facts().lm.tokenizer.empty() && gst_caps_can_intersect(wanted.get(), text.get());
  StartPad(text_, stream_start, "text", sparse ? GST_STREAM_FLAG_SPARSE : GST_STREAM_FLAG_NONE);
  output_.reset();
  joiner_.Reset();
  MarkDiscont();
}

void LmOutput::SetInput(const CodesFormat& format) {
  if (input_ && (input_->model != format.model)) output_.reset();
  input_ = format;
}

GstFlowReturn LmOutput::Forward(EventPtr event) {
  // Tags are those of a sound.
  const bool to_text = GST_EVENT_TYPE(event.get()) != GST_EVENT_TAG;
  if (GST_EVENT_TYPE(event.get()) == GST_EVENT_SEGMENT && input_ && !Negotiate()) return GST_FLOW_NOT_NEGOTIATED;
  bool pushed = true;
  if (to_text) pushed = text_.Push(EventPtr(gst_event_ref(event.get())));
  return audio_.Push(std::move(event)) && pushed ? GST_FLOW_OK : GST_FLOW_FLUSHING;
}

bool LmOutput::Negotiate() { return NegotiateAudio() && NegotiateText(); }

bool LmOutput::NegotiateAudio() {
  ModelFacts facts = model_.facts();
  if (facts.lm.own_streams == 0 || !input_) return true;
  const bool again = audio_.ReconfigureBegins();
  if (output_ && !again) return true;
  facts.sha256 = input_->model;
  facts.codebooks = kMaxCodebooks;
  CodesFormat format;
  if (!ChooseCodes(audio_.pad(), facts, facts.lm.own_streams, format)) {
    gst_pad_mark_reconfigure(audio_.pad());
    GST_WARNING_OBJECT(element_, "downstream does not take codes of %d codebooks", facts.lm.own_streams);
    return false;
  }
  if (output_ && *output_ == format) {
    audio_.KeepCaps();
    return true;
  }
  output_ = format;
  audio_.Push(EventPtr(gst_event_new_caps(MakeCodesCaps(format).get())));
  return true;
}

bool LmOutput::NegotiateText() {
  const bool again = text_.ReconfigureBegins();
  if (text_format_ != TextFormat::kNone && !again) return true;
  const bool tokenizer = !model_.facts().lm.tokenizer.empty();
  CapsPtr offer(gst_caps_from_string(tokenizer ? MOSHI_CAPS_TEXT "; " MOSHI_CAPS_TOKENS : MOSHI_CAPS_TOKENS));
  CapsPtr taken(gst_pad_peer_query_caps(text_.pad(), offer.get()));
  CapsPtr allowed(gst_caps_intersect_full(taken.get(), offer.get(), GST_CAPS_INTERSECT_FIRST));
  if (gst_caps_is_empty(allowed.get())) {
    gst_pad_mark_reconfigure(text_.pad());
    if (!tokenizer)
      GST_ELEMENT_ERROR(element_, RESOURCE, SETTINGS,
                        ("The model has no tokenizer, so it gives token ids but no text. Set tokenizer, or let "
                         "text_src give application/x-moshi-tokens."),
                        ("%s", model_.Context().c_str()));
    return false;
  }
  allowed.reset(gst_caps_fixate(gst_caps_truncate(allowed.release())));
  const bool text = gst_structure_has_name(gst_caps_get_structure(allowed.get(), 0), "text/x-raw");
  const TextFormat chosen = text ? TextFormat::kText : TextFormat::kTokens;
  if (chosen == text_format_) {
    text_.KeepCaps();
    return true;
  }
  text_format_ = chosen;
  joiner_.Reset();
  text_.Push(EventPtr(gst_event_new_caps(allowed.get())));
  return true;
}

GstFlowReturn LmOutput::SendFrame(GstClockTime pts, GstClockTime duration, std::span<const int32_t> tokens,
                                  std::span<const float> heads) {
  if (!Negotiate()) return GST_FLOW_NOT_NEGOTIATED;
  StructurePtr probabilities;
  if (!heads.empty()) {
    probabilities.reset(gst_structure_new("moshi-extra-heads", "timestamp", G_TYPE_UINT64, pts, nullptr));
    SetHeads(probabilities.get(), heads, model_.facts().lm.extra_head_width);
    gst_element_post_message(element_,
                             gst_message_new_element(GST_OBJECT(element_), gst_structure_copy(probabilities.get())));
  }
  ++frames_;
  const GstFlowReturn flow = SendAudio(pts, duration, tokens.subspan(1));
  return flow == GST_FLOW_OK ? SendText(pts, duration, tokens[0], probabilities.get()) : flow;
}

GstFlowReturn LmOutput::SendGap(GstClockTime pts, GstClockTime duration) {
  if (!Negotiate()) return GST_FLOW_NOT_NEGOTIATED;
  const bool audio = audio_.Push(EventPtr(gst_event_new_gap(pts, duration)));
  const bool text = text_.Push(EventPtr(gst_event_new_gap(pts, duration)));
  return audio && text ? GST_FLOW_OK : GST_FLOW_FLUSHING;
}

GstFlowReturn LmOutput::SendAudio(GstClockTime pts, GstClockTime duration, std::span<const int32_t> codes) {
  if (codes.empty()) return audio_.Push(EventPtr(gst_event_new_gap(pts, duration))) ? GST_FLOW_OK : GST_FLOW_FLUSHING;
  const std::vector<uint16_t> narrow(codes.begin(), codes.end());
  BufferPtr buffer(gst_buffer_new_allocate(nullptr, output_->frame_bytes(), nullptr));
  {
    BufferMap map(buffer.get(), GST_MAP_WRITE);
    WriteFrames(output_->layout, output_->cardinality, output_->codebooks, narrow, {map.data(), map.size()});
  }
  return SendTo(audio_, std::move(buffer), pts, duration, audio_discont_);
}

GstFlowReturn LmOutput::SendText(GstClockTime pts, GstClockTime duration, int32_t token, GstStructure* heads) {
  BufferPtr buffer = TextBuffer(token);
  if (!buffer) return text_.Push(EventPtr(gst_event_new_gap(pts, duration))) ? GST_FLOW_OK : GST_FLOW_FLUSHING;
  if (heads != nullptr) {
    GstCustomMeta* meta = gst_buffer_add_custom_meta(buffer.get(), kExtraHeadsMeta);
    gst_structure_set_value(gst_custom_meta_get_structure(meta), kProbabilities,
                            gst_structure_get_value(heads, kProbabilities));
  }
  return SendTo(text_, std::move(buffer), pts, duration, text_discont_);
}

BufferPtr LmOutput::TextBuffer(int32_t token) {
  if (text_format_ == TextFormat::kTokens) {
    BufferPtr buffer(gst_buffer_new_allocate(nullptr, sizeof token, nullptr));
    gst_buffer_fill(buffer.get(), 0, &token, sizeof token);
    return buffer;
  }
  MoshiPiece piece{};
  piece.size = sizeof piece;
  MoshiError error = EmptyError();
  if (model_.api()->lm_piece(model_.engine(), token, &piece, &error) != MOSHI_OK) {
    GST_WARNING_OBJECT(element_, "no text for token %d: %s", token, error.message);
    return nullptr;
  }
  const std::string text = joiner_.Add(piece.kind, {piece.bytes, piece.count});
  if (text.empty()) return nullptr;
  BufferPtr buffer(gst_buffer_new_allocate(nullptr, text.size(), nullptr));
  gst_buffer_fill(buffer.get(), 0, text.data(), text.size());
  return buffer;
}

GstFlowReturn LmOutput::SendTo(SourcePad& pad, BufferPtr buffer, GstClockTime pts, GstClockTime duration,
                               bool& discont) {
  GST_BUFFER_PTS(buffer.get()) = pts;
  GST_BUFFER_DURATION(buffer.get()) = duration;
  if (discont) GST_BUFFER_FLAG_SET(buffer.get(), GST_BUFFER_FLAG_DISCONT);
  discont = false;
  return pad.Push(std::move(buffer)) ? GST_FLOW_OK : GST_FLOW_FLUSHING;
}

void LmOutput::Flush() {
  joiner_.Reset();
  MarkDiscont();
}

void LmOutput::Forget() {
  Flush();
  started_ = false;
  input_.reset();
  output_.reset();
  text_format_ = TextFormat::kNone;
}

}  // namespace gstmoshi

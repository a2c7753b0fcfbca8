// SPDX-License-Identifier: MIT
#include "parser.h"

#include <algorithm>
#include <vector>

#include "mimiparse.h"

#define GST_CAT_DEFAULT mimiparse_debug

namespace gstmoshi {
namespace {

class ObjectLock {
 public:
  explicit ObjectLock(gpointer object) : object_(GST_OBJECT(object)) { GST_OBJECT_LOCK(object_); }
  ~ObjectLock() { GST_OBJECT_UNLOCK(object_); }
  ObjectLock(const ObjectLock&) = delete;
  ObjectLock& operator=(const ObjectLock&) = delete;

 private:
  GstObject* object_;
};

guint64 FrameAt(const CodesFormat& format, GstClockTime time) {
  return gst_util_uint64_scale(time, format.framerate_num, GST_SECOND * format.framerate_den);
}

/** The caps' head, if they have one. */
BufferPtr HeadOf(const GstCaps* caps) {
  const GValue* value = gst_structure_get_value(gst_caps_get_structure(caps, 0), "streamheader");
  if (value != nullptr && GST_VALUE_HOLDS_ARRAY(value) && gst_value_array_get_size(value) > 0)
    value = gst_value_array_get_value(value, 0);
  if (value == nullptr || !GST_VALUE_HOLDS_BUFFER(value)) return nullptr;
  return BufferPtr(gst_buffer_ref(gst_value_get_buffer(value)));
}

}  // namespace

Parser::Parser(GstBaseParse* element)
    : element_(element),
      sinkpad_(GST_BASE_PARSE_SINK_PAD(element)),
      srcpad_(GST_BASE_PARSE_SRC_PAD(element)),
      base_chain_(GST_PAD_CHAINFUNC(sinkpad_)) {}

void Parser::Start() {
  ObjectLock lock(element_);
  input_.reset();
  output_.reset();
  head_.reset();
  timed_ = through_ = warned_left_over_ = false;
}

// What the caps leave out is what downstream, for example a decoder with its model, fixes.
CapsPtr Parser::Completed(const GstCaps* caps) {
  CapsPtr complete(gst_caps_copy(caps));
  CapsPtr any(gst_caps_from_string(MOSHI_CAPS_MIMI("true")));
  CapsPtr taken(gst_pad_peer_query_caps(srcpad_, any.get()));
  if (gst_caps_get_size(taken.get()) == 0 || gst_caps_is_any(taken.get())) return complete;
  const GstStructure* theirs = gst_caps_get_structure(taken.get(), 0);
  GstStructure* ours = gst_caps_get_structure(complete.get(), 0);
  for (const char* field : {"rate", "framerate", "cardinality"}) {
    const GValue* value = gst_structure_get_value(theirs, field);
    if (value != nullptr && gst_value_is_fixed(value) && !gst_structure_has_field(ours, field))
      gst_structure_set_value(ours, field, value);
  }
  return complete;
}

bool Parser::SetFormat(const GstCaps* caps) {
  const std::optional<CodesFormat> format = ParseCodesCaps(Completed(caps).get());
  if (!format) {
    GST_ELEMENT_ERROR(element_, STREAM, FORMAT,
                      ("The number of codebooks cannot be told from the data. Name it in the caps before this element, "
                       "as in audio/x-mimi,codebooks=8,framed=false."),
                      ("the caps do not have it, or do not make sense"));
    return false;
  }
  {
    ObjectLock lock(element_);
    input_ = format;
    output_.reset();
  }
  head_ = HeadOf(caps);
  gst_base_parse_set_min_frame_size(element_, static_cast<guint>(format->frame_bytes()));
  gst_base_parse_set_frame_rate(element_, format->framerate_num, format->framerate_den, lead_in_, 0);
  gst_base_parse_set_syncable(element_, TRUE);
  gst_base_parse_merge_tags(element_, MakeTags(*format, nullptr).get(), GST_TAG_MERGE_REPLACE);
  ChooseWay();
  return true;
}

void Parser::SetSegment(const GstSegment& segment) {
  timed_ = segment.format == GST_FORMAT_TIME;
  next_time_ = timed_ ? segment.start : GST_CLOCK_TIME_NONE;
  ChooseWay();
}

void Parser::ChooseWay() {
  gboolean refused = FALSE;
  g_object_get(element_, "disable-passthrough", &refused, nullptr);
  through_ = timed_ && input_ && input_->framed && !refused;
  gst_base_parse_set_passthrough(element_, through_);
}

// In pull mode no caps events come: the peer, for example a capsfilter, is asked instead.
bool Parser::FindFormat() {
  if (input_) return true;
  CapsPtr caps(gst_pad_get_current_caps(sinkpad_));
  if (!caps) {
    CapsPtr known(gst_pad_get_pad_template_caps(sinkpad_));
    caps.reset(gst_pad_peer_query_caps(sinkpad_, known.get()));
    // Any number of codebooks is as good as none.
    if (gst_caps_get_size(caps.get()) == 0) return SetFormat(known.get());
    caps.reset(gst_caps_make_writable(gst_caps_truncate(caps.release())));
    GstStructure* structure = gst_caps_get_structure(caps.get(), 0);
    gint codebooks;
    if (!gst_structure_get_int(structure, "codebooks", &codebooks)) return SetFormat(caps.get());
    // What is open is Mimi's own, as for a field that is not there.
    for (const char* field : {"rate", "framerate", "cardinality"}) {
      const GValue* value = gst_structure_get_value(structure, field);
      if (value != nullptr && !gst_value_is_fixed(value)) gst_structure_remove_field(structure, field);
    }
    caps.reset(gst_caps_fixate(caps.release()));
  }
  return SetFormat(caps.get());
}

// Of a byte stream only the number of codebooks is asked for, so that caps with just that are fixed.
CapsPtr Parser::SinkCaps() {
  CapsPtr known(gst_pad_get_pad_template_caps(sinkpad_));
  CapsPtr taken(gst_pad_peer_query_caps(srcpad_, nullptr));
  if (gst_caps_is_any(taken.get())) return known;
  CapsPtr result(gst_caps_new_empty());
  for (const char* framed : {"true", "false"}) {
    CapsPtr limits(gst_caps_copy(taken.get()));
    for (guint i = 0; i < gst_caps_get_size(limits.get()); ++i) {
      GstStructure* structure = gst_caps_get_structure(limits.get(), i);
      gst_structure_remove_fields(structure, "stream-format", "framed", "streamheader", "codec_data", nullptr);
      if (g_str_equal(framed, "true")) continue;
      gst_structure_remove_fields(structure, "rate", "channels", "framerate", "cardinality", "model", nullptr);
    }
    StringPtr text(g_strdup_printf("audio/x-mimi, framed = (boolean) %s", framed));
    CapsPtr kind(gst_caps_from_string(text.get()));
    CapsPtr of_kind(gst_caps_intersect(known.get(), kind.get()));
    gst_caps_append(result.get(), gst_caps_intersect_full(limits.get(), of_kind.get(), GST_CAPS_INTERSECT_FIRST));
  }
  return result;
}

bool Parser::ChooseOutput() {
  CodesFormat format = *input_;
  format.framed = true;
  const CodeLayout layouts[] = {format.layout,
                                format.layout == CodeLayout::kCodes ? CodeLayout::kPacked : CodeLayout::kCodes};
  for (CodeLayout layout : layouts) {
    format.layout = layout;
    CapsPtr caps = MakeCodesCaps(format);
    CapsPtr taken(gst_pad_peer_query_caps(srcpad_, caps.get()));
    if (!gst_caps_can_intersect(taken.get(), caps.get())) continue;
    if (output_ != format && !gst_pad_set_caps(srcpad_, caps.get())) return false;
    ObjectLock lock(element_);
    output_ = format;
    return true;
  }
  return false;
}

GstFlowReturn Parser::FollowDownstream() {
  if (output_ && !gst_pad_check_reconfigure(srcpad_)) return GST_FLOW_OK;
  if (ChooseOutput()) return GST_FLOW_OK;
  gst_pad_mark_reconfigure(srcpad_);
  if (GST_PAD_IS_FLUSHING(srcpad_)) return GST_FLOW_FLUSHING;
  CapsPtr taken(gst_pad_peer_query_caps(srcpad_, nullptr));
  StringPtr text(gst_caps_to_string(taken.get()));
  GST_ELEMENT_WARNING(
      element_, CORE, NEGOTIATION,
      ("Downstream takes no codes of %d codebooks of %d at %d Hz. Correct the caps before this element, "
       "or choose the model that made the codes.",
       input_->codebooks, input_->cardinality, input_->rate),
      ("downstream takes %s", text.get()));
  return GST_FLOW_NOT_NEGOTIATED;
}

bool Parser::IsHead(GstBuffer* buffer) {
  if (!head_ || gst_buffer_get_size(buffer) < gst_buffer_get_size(head_.get())) return false;
  BufferMap head(head_.get(), GST_MAP_READ);
  return head && gst_buffer_memcmp(buffer, 0, head.data(), head.size()) == 0;
}

GstFlowReturn Parser::HandleFrame(GstBaseParseFrame* frame, int& skip) {
  if (!FindFormat()) return GST_FLOW_NOT_NEGOTIATED;
  const gsize available = gst_buffer_get_size(frame->buffer);
  if (frame->offset == 0 && IsHead(frame->buffer)) {
    skip = static_cast<int>(gst_buffer_get_size(head_.get()));
    head_.reset();
    return GST_FLOW_OK;
  }
  if (available < input_->frame_bytes())
    return GST_BASE_PARSE_DRAINING(element_) ? PostLeftOver(available) : GST_FLOW_OK;
  return FinishOne(frame);
}

// A file that was cut off plays up to the cut.
GstFlowReturn Parser::PostLeftOver(gsize bytes) {
  if (warned_left_over_ || bytes == 0) return GST_FLOW_OK;
  warned_left_over_ = true;
  GST_ELEMENT_WARNING(element_, STREAM, DECODE,
                      ("The codes end within a frame: %" G_GSIZE_FORMAT " bytes are left over. The data is cut off, or "
                       "codebooks or stream-format in the caps is wrong.",
                       bytes),
                      ("a frame has %" G_GSIZE_FORMAT " bytes", input_->frame_bytes()));
  return GST_FLOW_OK;
}

GstFlowReturn Parser::FinishOne(GstBaseParseFrame* frame) {
  const GstFlowReturn flow = FollowDownstream();
  if (flow != GST_FLOW_OK) return flow;
  const gsize frame_bytes = input_->frame_bytes();
  if (!timed_) {
    const guint64 number = frame->offset / frame_bytes;
    const GstClockTime start = input_->FrameTime(number);
    GST_BUFFER_PTS(frame->buffer) = GST_BUFFER_DTS(frame->buffer) = start;
    GST_BUFFER_DURATION(frame->buffer) = input_->FrameTime(number + 1) - start;
  }
  if (output_->layout != input_->layout) {
    BufferMap map(frame->buffer, GST_MAP_READ);
    BufferPtr relaid = map ? Relaid(map.data(), 1) : nullptr;
    if (!relaid) return GST_FLOW_ERROR;
    gst_buffer_copy_into(relaid.get(), frame->buffer,
                         static_cast<GstBufferCopyFlags>(GST_BUFFER_COPY_TIMESTAMPS | GST_BUFFER_COPY_FLAGS), 0, -1);
    frame->out_buffer = relaid.release();
  }
  return gst_base_parse_finish_frame(element_, frame, static_cast<gint>(frame_bytes));
}

// The frames in the other layout; nothing, with an error posted, if a code does not fit it.
BufferPtr Parser::Relaid(const guint8* bytes, gsize frames) {
  const CodesFormat& in = *input_;
  std::vector<uint16_t> codes(frames * in.codebooks);
  ReadFrames(in.layout, in.cardinality, in.codebooks, {bytes, frames * in.frame_bytes()}, codes);
  const auto bad = std::find_if(codes.begin(), codes.end(), [&in](int code) { return code >= in.cardinality; });
  if (bad != codes.end()) {
    GST_ELEMENT_ERROR(
        element_, STREAM, DECODE,
        ("Code %d of codebook %d is not below %d. The codes are damaged, or codebooks or stream-format in "
         "the caps is wrong.",
         *bad, static_cast<int>((bad - codes.begin()) % in.codebooks), in.cardinality),
        (nullptr));
    return nullptr;
  }
  BufferPtr buffer(gst_buffer_new_allocate(nullptr, frames * output_->frame_bytes(), nullptr));
  BufferMap map(buffer.get(), GST_MAP_WRITE);
  WriteFrames(output_->layout, in.cardinality, in.codebooks, codes, {map.data(), map.size()});
  return buffer;
}

GstFlowReturn Parser::Chain(GstBuffer* buffer) {
  BufferPtr owned(buffer);
  if (through_) {
    const GstFlowReturn flow = FollowDownstream();
    if (flow != GST_FLOW_OK) return flow;
    owned = Converted(std::move(owned));
    if (!owned) return GST_FLOW_ERROR;
  }
  return base_chain_(sinkpad_, GST_OBJECT(element_), owned.release());
}

void Parser::BeforeGap() {
  if (through_) FollowDownstream();
}

BufferPtr Parser::Converted(BufferPtr buffer) {
  if (output_->layout == input_->layout) return buffer;
  BufferMap map(buffer.get(), GST_MAP_READ);
  if (!map || map.size() % input_->frame_bytes() != 0) {
    GST_ELEMENT_ERROR(element_, STREAM, DECODE,
                      ("A buffer of %" G_GSIZE_FORMAT " bytes is not a whole number of frames of %" G_GSIZE_FORMAT
                       " bytes. The codes are damaged, or codebooks or stream-format in the caps is wrong.",
                       gst_buffer_get_size(buffer.get()), input_->frame_bytes()),
                      (nullptr));
    return nullptr;
  }
  BufferPtr relaid = Relaid(map.data(), map.size() / input_->frame_bytes());
  if (relaid) gst_buffer_copy_into(relaid.get(), buffer.get(), GST_BUFFER_COPY_METADATA, 0, -1);
  return relaid;
}

GstFlowReturn Parser::BeforePush(GstBaseParseFrame* frame) {
  // The base class makes data of the head in the caps; that of a byte stream is skipped earlier.
  if (through_) return IsHead(frame->buffer) ? GST_BASE_PARSE_FLOW_DROPPED : GST_FLOW_OK;
  frame->flags |= GST_BASE_PARSE_FRAME_FLAG_CLIP;
  if (!timed_) return GST_FLOW_OK;
  // Upstream has time, but need not have said it; then it goes on from the segment's start.
  if (!GST_BUFFER_PTS_IS_VALID(frame->buffer)) GST_BUFFER_PTS(frame->buffer) = next_time_;
  next_time_ = GST_BUFFER_PTS(frame->buffer) + input_->FrameTime(1);
  return GST_FLOW_OK;
}

bool Parser::Convert(GstFormat from, gint64 value, GstFormat to, gint64& result) {
  std::optional<CodesFormat> format;
  {
    ObjectLock lock(element_);
    format = input_;
  }
  if (from == to || value == -1) {
    result = value;
    return true;
  }
  if (!format || value < 0) return false;
  const gint64 bytes = static_cast<gint64>(format->frame_bytes());
  // By way of the frame's number, so that every place is the start of a frame. DEFAULT counts frames.
  guint64 frame;
  if (from == GST_FORMAT_TIME)
    frame = FrameAt(*format, value);
  else if (from == GST_FORMAT_BYTES)
    frame = value / bytes;
  else if (from == GST_FORMAT_DEFAULT)
    frame = value;
  else
    return false;
  if (to == GST_FORMAT_TIME)
    result = static_cast<gint64>(format->FrameTime(frame));
  else if (to == GST_FORMAT_BYTES)
    result = static_cast<gint64>(frame) * bytes;
  else if (to == GST_FORMAT_DEFAULT)
    result = static_cast<gint64>(frame);
  else
    return false;
  return true;
}

std::optional<gint64> Parser::ByteDuration() {
  gint64 bytes = 0, duration = 0;
  if (timed_ || !gst_pad_peer_query_duration(sinkpad_, GST_FORMAT_BYTES, &bytes)) return std::nullopt;
  if (!Convert(GST_FORMAT_BYTES, bytes, GST_FORMAT_TIME, duration)) return std::nullopt;
  return duration;
}

// The base class knows only once it has sent a frame; decoders ask before that.
bool Parser::AnswerSeeking(GstQuery* query) {
  GstFormat format;
  gst_query_parse_seeking(query, &format, nullptr, nullptr, nullptr);
  const std::optional<gint64> duration = ByteDuration();
  if (format != GST_FORMAT_TIME || !duration) return false;
  QueryPtr bytes(gst_query_new_seeking(GST_FORMAT_BYTES));
  gboolean seekable = FALSE;
  if (!gst_pad_peer_query(sinkpad_, bytes.get())) return false;
  gst_query_parse_seeking(bytes.get(), nullptr, &seekable, nullptr, nullptr);
  if (seekable) gst_query_set_seeking(query, GST_FORMAT_TIME, TRUE, 0, *duration);
  return seekable;
}

// The base class finds places by its index and reads on from there. An entry right where the lead-in begins makes it
// exact and cheap; ACCURATE makes it keep the start that was asked for and send the lead-in.
GstEvent* Parser::PrepareSeek(GstEvent* event) {
  gdouble rate;
  GstFormat seek_format;
  GstSeekFlags flags;
  GstSeekType start_type, stop_type;
  gint64 start, stop;
  gst_event_parse_seek(event, &rate, &seek_format, &flags, &start_type, &start, &stop_type, &stop);
  std::optional<CodesFormat> format;
  {
    ObjectLock lock(element_);
    format = input_;
  }
  gint64 target = start;
  const bool ours = format && !timed_ && rate > 0 && start_type == GST_SEEK_TYPE_SET && start >= 0 &&
                    (seek_format == GST_FORMAT_TIME || Convert(seek_format, start, GST_FORMAT_TIME, target));
  if (!ours) return event;
  const int lead_in = lead_in_;
  gst_base_parse_set_frame_rate(element_, format->framerate_num, format->framerate_den, lead_in, 0);
  const guint64 frame = FrameAt(*format, target);
  const guint64 first = frame > static_cast<guint64>(lead_in) ? frame - lead_in : 0;
  gst_base_parse_add_index_entry(element_, first * format->frame_bytes(), format->FrameTime(first), TRUE, TRUE);
  GstEvent* exact = gst_event_new_seek(rate, seek_format, static_cast<GstSeekFlags>(flags | GST_SEEK_FLAG_ACCURATE),
                                       start_type, start, stop_type, stop);
  gst_event_set_seqnum(exact, gst_event_get_seqnum(event));
  gst_event_unref(event);
  return exact;
}

}  // namespace gstmoshi

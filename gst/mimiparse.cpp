// SPDX-License-Identifier: MIT
/**
 * SECTION:element-mimiparse
 *
 * Cuts a byte stream of Mimi codes, such as a file, into time-stamped frames, and converts between the layouts `codes`
 * and `packed`. Codes have no header: the caps before it say how many codebooks there are; what else they leave out is
 * taken from what downstream fixes, or else to be 24 kHz, 12.5 frames a second and 2048 codes per codebook; without
 * `stream-format`, the layout is `codes`.
 *
 * Every frame has the same size, so that duration, position and seeking are exact. After a seek, `lead-in` frames from
 * before its target come first, for the decoder's memory; they lie outside the segment, and the decoder drops them.
 *
 * ## Example launch line
 * |[
 * gst-launch-1.0 filesrc location=speech.codes ! audio/x-mimi,codebooks=8,framed=false ! mimiparse \
 *   ! audio/x-mimi,stream-format=packed ! filesink location=speech.packed
 * ]|
 */
#include "mimiparse.h"

#include "parser.h"

GST_DEBUG_CATEGORY(mimiparse_debug);
#define GST_CAT_DEFAULT mimiparse_debug

G_DECLARE_FINAL_TYPE(GstMimiParse, gst_mimi_parse, GST, MIMI_PARSE, GstBaseParse)

struct _GstMimiParse {
  GstBaseParse parent;
  gstmoshi::Parser* parser;
};

G_DEFINE_TYPE(GstMimiParse, gst_mimi_parse, GST_TYPE_BASE_PARSE)
#define parent_class gst_mimi_parse_parent_class
GST_ELEMENT_REGISTER_DEFINE(mimiparse, "mimiparse", GST_RANK_PRIMARY, gst_mimi_parse_get_type())

namespace {

using gstmoshi::CapsPtr;
using gstmoshi::Parser;

enum Property : guint { kPropLeadIn = 1 };
constexpr int kLeadIn = 25;

GstStaticPadTemplate sink_template = GST_STATIC_PAD_TEMPLATE(
    "sink", GST_PAD_SINK, GST_PAD_ALWAYS,
    GST_STATIC_CAPS(MOSHI_CAPS_MIMI("true") "; audio/x-mimi, codebooks = (int) [ 1, 32 ], framed = (boolean) false"));
GstStaticPadTemplate src_template =
    GST_STATIC_PAD_TEMPLATE("src", GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS(MOSHI_CAPS_MIMI("true")));

Parser* Of(gpointer element) { return GST_MIMI_PARSE(element)->parser; }

void SetProperty(GObject* object, guint id, const GValue* value, GParamSpec* spec) {
  if (id == kPropLeadIn)
    Of(object)->SetLeadIn(g_value_get_int(value));
  else
    G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
}

void GetProperty(GObject* object, guint id, GValue* value, GParamSpec* spec) {
  if (id == kPropLeadIn)
    g_value_set_int(value, Of(object)->lead_in());
  else
    G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
}

gboolean Start(GstBaseParse* element) {
  Of(element)->Start();
  return TRUE;
}

gboolean SetSinkCaps(GstBaseParse* element, GstCaps* caps) { return Of(element)->SetFormat(caps); }

GstCaps* GetSinkCaps(GstBaseParse* element, GstCaps* filter) {
  CapsPtr caps = Of(element)->SinkCaps();
  if (filter != nullptr) caps.reset(gst_caps_intersect_full(filter, caps.get(), GST_CAPS_INTERSECT_FIRST));
  return caps.release();
}

GstFlowReturn HandleFrame(GstBaseParse* element, GstBaseParseFrame* frame, gint* skip) {
  return Of(element)->HandleFrame(frame, *skip);
}

GstFlowReturn PrePushFrame(GstBaseParse* element, GstBaseParseFrame* frame) { return Of(element)->BeforePush(frame); }

gboolean Convert(GstBaseParse* element, GstFormat from, gint64 value, GstFormat to, gint64* result) {
  return Of(element)->Convert(from, value, to, *result);
}

GstFlowReturn Chain(GstPad*, GstObject* parent, GstBuffer* buffer) { return Of(parent)->Chain(buffer); }

gboolean SinkEvent(GstBaseParse* element, GstEvent* event) {
  if (GST_EVENT_TYPE(event) == GST_EVENT_GAP) Of(element)->BeforeGap();
  if (GST_EVENT_TYPE(event) != GST_EVENT_SEGMENT) return GST_BASE_PARSE_CLASS(parent_class)->sink_event(element, event);
  GstSegment segment;
  gst_event_copy_segment(event, &segment);
  // What the base class still has belongs to the old segment.
  const gboolean handled = GST_BASE_PARSE_CLASS(parent_class)->sink_event(element, event);
  Of(element)->SetSegment(segment);
  return handled;
}

gboolean SrcEvent(GstBaseParse* element, GstEvent* event) {
  if (GST_EVENT_TYPE(event) == GST_EVENT_SEEK) event = Of(element)->PrepareSeek(event);
  return GST_BASE_PARSE_CLASS(parent_class)->src_event(element, event);
}

gboolean SrcQuery(GstBaseParse* element, GstQuery* query) {
  if (GST_QUERY_TYPE(query) == GST_QUERY_DURATION) {
    GstFormat format;
    gint64 duration = 0;
    gst_query_parse_duration(query, &format, nullptr);
    const std::optional<gint64> time = Of(element)->ByteDuration();
    const bool known = time && (format == GST_FORMAT_TIME || format == GST_FORMAT_DEFAULT) &&
                       Of(element)->Convert(GST_FORMAT_TIME, *time, format, duration);
    if (known) {
      gst_query_set_duration(query, format, duration);
      return TRUE;
    }
  }
  if (GST_QUERY_TYPE(query) == GST_QUERY_SEEKING && Of(element)->AnswerSeeking(query)) return TRUE;
  return GST_BASE_PARSE_CLASS(parent_class)->src_query(element, query);
}

}  // namespace

static void gst_mimi_parse_init(GstMimiParse* self) {
  self->parser = new Parser(GST_BASE_PARSE(self));
  // Caps that leave fields out are taken; see the documentation above.
  GST_PAD_SET_ACCEPT_INTERSECT(GST_BASE_PARSE_SINK_PAD(self));
  GST_PAD_SET_ACCEPT_TEMPLATE(GST_BASE_PARSE_SINK_PAD(self));
  gst_pad_set_chain_function(GST_BASE_PARSE_SINK_PAD(self), GST_DEBUG_FUNCPTR(Chain));
}

static void gst_mimi_parse_finalize(GObject* object) {
  delete GST_MIMI_PARSE(object)->parser;
  G_OBJECT_CLASS(parent_class)->finalize(object);
}

static void gst_mimi_parse_class_init(GstMimiParseClass* klass) {
  GST_DEBUG_CATEGORY_INIT(mimiparse_debug, "mimiparse", 0, "Mimi parser");
  auto* object_class = G_OBJECT_CLASS(klass);
  auto* element_class = GST_ELEMENT_CLASS(klass);
  auto* parse_class = GST_BASE_PARSE_CLASS(klass);
  object_class->set_property = SetProperty;
  object_class->get_property = GetProperty;
  object_class->finalize = gst_mimi_parse_finalize;
  constexpr int flags = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_PLAYING;
  g_object_class_install_property(
      object_class, kPropLeadIn,
      g_param_spec_int(
          "lead-in", "Lead-in",
          "Frames before the target of a seek that are sent to be decoded and dropped, so that the decoder "
          "has warmed up; applies to the next seek",
          0, 1000, kLeadIn, static_cast<GParamFlags>(flags)));
  parse_class->start = GST_DEBUG_FUNCPTR(Start);
  parse_class->set_sink_caps = GST_DEBUG_FUNCPTR(SetSinkCaps);
  parse_class->get_sink_caps = GST_DEBUG_FUNCPTR(GetSinkCaps);
  parse_class->handle_frame = GST_DEBUG_FUNCPTR(HandleFrame);
  parse_class->pre_push_frame = GST_DEBUG_FUNCPTR(PrePushFrame);
  parse_class->convert = GST_DEBUG_FUNCPTR(Convert);
  parse_class->sink_event = GST_DEBUG_FUNCPTR(SinkEvent);
  parse_class->src_event = GST_DEBUG_FUNCPTR(SrcEvent);
  parse_class->src_query = GST_DEBUG_FUNCPTR(SrcQuery);
  gst_element_class_add_static_pad_template(element_class, &sink_template);
  gst_element_class_add_static_pad_template(element_class, &src_template);
  gst_element_class_set_static_metadata(element_class, "Mimi parser", "Codec/Parser/Audio",
                                        "Cuts Mimi codes into frames, gives them time, and converts their layout",
                                        "gst-moshi contributors");
}

// SPDX-License-Identifier: MIT
/**
 * SECTION:element-mimidec
 *
 * Decodes the tokens of Kyutai's neural codec Mimi to speech: mono audio at the model's rate, usually 24 kHz. A buffer
 * may hold several frames. #GstAudioClippingMeta is applied, so that what #mimienc has encoded in the same pipeline
 * comes back with as many samples.
 *
 * Damaged codes (not below the cardinality, or half a frame) are an error. With `max-errors` above 0, so many bad
 * frames in a row are concealed instead. With `plc`, gaps are concealed too: the last good frame is held and fades out
 * within 0.3 s; each gap gives exactly its samples. Neither a gap, nor DISCONT, nor other codebooks reset the decoder;
 * a flush and a new stream do.
 *
 * ## Example launch line
 * |[
 * gst-launch-1.0 filesrc location=speech.codes ! audio/x-mimi,codebooks=8,framed=false ! mimiparse ! mimidec \
 *   ! audioconvert ! wavenc ! filesink location=speech.wav
 * ]|
 */
#include "mimidec.h"

#include "notices.h"

GST_DEBUG_CATEGORY(mimidec_debug);
#define GST_CAT_DEFAULT mimidec_debug

G_DECLARE_FINAL_TYPE(GstMimiDec, gst_mimi_dec, GST, MIMI_DEC, GstAudioDecoder)

struct _GstMimiDec {
  GstAudioDecoder parent;
  gstmoshi::Decoder* decoder;
  gstmoshi::CapsGate* gate;
};

G_DEFINE_TYPE(GstMimiDec, gst_mimi_dec, GST_TYPE_AUDIO_DECODER)
#define parent_class gst_mimi_dec_parent_class
GST_ELEMENT_REGISTER_DEFINE(mimidec, "mimidec", GST_RANK_MARGINAL, gst_mimi_dec_get_type())

namespace {

using gstmoshi::CapsPtr;
using gstmoshi::Decoder;

enum Property : guint { kPropBatchFrames = gstmoshi::kPropOwn };

GstStaticPadTemplate sink_template =
    GST_STATIC_PAD_TEMPLATE("sink", GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS(MOSHI_CAPS_MIMI("true")));
GstStaticPadTemplate src_template =
    GST_STATIC_PAD_TEMPLATE("src", GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS(MOSHI_CAPS_RAW));

Decoder* Of(gpointer element) { return GST_MIMI_DEC(element)->decoder; }

void SetProperty(GObject* object, guint id, const GValue* value, GParamSpec* spec) {
  Decoder* decoder = Of(object);
  if (id == kPropBatchFrames)
    decoder->SetBatch(g_value_get_int(value));
  else if (!decoder->model().settings().Set(GST_ELEMENT(object), id, value))
    G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
  else if (id == gstmoshi::kPropProcessingLatency)
    decoder->UpdateLatency();
}

void GetProperty(GObject* object, guint id, GValue* value, GParamSpec* spec) {
  Decoder* decoder = Of(object);
  if (id == kPropBatchFrames)
    g_value_set_int(value, decoder->batch());
  else if (id == gstmoshi::kPropStats)
    g_value_take_boxed(value, decoder->Stats());
  else if (id == gstmoshi::kPropModelInfo)
    g_value_take_boxed(value, decoder->model().Info());
  else if (!decoder->model().settings().Get(id, value))
    G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
}

GstStateChangeReturn ChangeState(GstElement* element, GstStateChange transition) {
  Decoder* decoder = Of(element);
  switch (transition) {
    case GST_STATE_CHANGE_NULL_TO_READY:
      if (!decoder->model().Open()) return GST_STATE_CHANGE_FAILURE;
      break;
    case GST_STATE_CHANGE_READY_TO_PAUSED:
      // Properties may have changed in READY.
      if (!decoder->model().ReopenIfChanged()) return GST_STATE_CHANGE_FAILURE;
      decoder->session().Resume(gstmoshi::kStopping);
      decoder->session().Resume(gstmoshi::kFlushing);
      break;
    case GST_STATE_CHANGE_PAUSED_TO_READY:
      // Before the base class waits for the streaming thread.
      decoder->session().Interrupt(gstmoshi::kStopping);
      break;
    default:
      break;
  }
  const GstStateChangeReturn result = GST_ELEMENT_CLASS(parent_class)->change_state(element, transition);
  const bool failed_up = transition == GST_STATE_CHANGE_NULL_TO_READY && result == GST_STATE_CHANGE_FAILURE;
  if (transition == GST_STATE_CHANGE_READY_TO_NULL || failed_up) decoder->model().Close();
  return result;
}

gboolean Start(GstAudioDecoder* element) {
  Of(element)->Start();
  return TRUE;
}

gboolean Stop(GstAudioDecoder* element) {
  Of(element)->Stop();
  return TRUE;
}

gboolean SetFormat(GstAudioDecoder* element, GstCaps* caps) { return Of(element)->SetFormat(caps); }

GstFlowReturn HandleFrame(GstAudioDecoder* element, GstBuffer* buffer) { return Of(element)->HandleFrame(buffer); }

gboolean SinkEvent(GstAudioDecoder* element, GstEvent* event) { return Of(element)->SinkEvent(event); }

GstCaps* GetCaps(GstAudioDecoder* element, GstCaps* filter) {
  CapsPtr caps = gstmoshi::CodesCapsOf(Of(element)->model().facts(), 0);
  return gst_audio_decoder_proxy_getcaps(element, caps.get(), filter);
}

gboolean SinkQuery(GstAudioDecoder* element, GstQuery* query) {
  if (GST_QUERY_TYPE(query) != GST_QUERY_ACCEPT_CAPS)
    return GST_AUDIO_DECODER_CLASS(parent_class)->sink_query(element, query);
  GstCaps* caps;
  gst_query_parse_accept_caps(query, &caps);
  CapsPtr allowed = gstmoshi::CodesCapsOf(Of(element)->model().facts(), 0);
  const bool accepted = GST_MIMI_DEC(element)->gate->Accept(
      GST_ELEMENT(element), caps, allowed.get(), "Add mimiparse before it, or choose the model that made the codes.");
  gst_query_set_accept_caps_result(query, accepted);
  return TRUE;
}

gboolean SrcQuery(GstAudioDecoder* element, GstQuery* query) {
  if (GST_QUERY_TYPE(query) != GST_QUERY_CAPS) return GST_AUDIO_DECODER_CLASS(parent_class)->src_query(element, query);
  GstCaps* filter;
  gst_query_parse_caps(query, &filter);
  CapsPtr caps = gstmoshi::RawCapsOf(Of(element)->model().facts());
  if (filter != nullptr) caps.reset(gst_caps_intersect_full(filter, caps.get(), GST_CAPS_INTERSECT_FIRST));
  gst_query_set_caps_result(query, caps.get());
  return TRUE;
}

void InstallProperties(GObjectClass* klass) {
  gstmoshi::InstallModelProperties(
      klass,
      "Counts since the element was made: frames, jobs and resets of the core, dropped live "
      "buffers, errors, concealed frames, times in ns");
  constexpr int flags = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_READY;
  g_object_class_install_property(
      klass, kPropBatchFrames,
      g_param_spec_int(
          "batch-frames", "Batch frames",
          "Frames to decode at once, which takes less time and adds the latency of all but one; 0: one, but where "
          "upstream is seekable up to 2 s, as long as they come without a pause",
          0, 250, 0, static_cast<GParamFlags>(flags)));
}

}  // namespace

gstmoshi::Decoder* gst_mimi_dec_get_decoder(GstElement* element) { return Of(element); }

static void gst_mimi_dec_init(GstMimiDec* self) {
  auto* decoder = GST_AUDIO_DECODER(self);
  self->decoder = new Decoder(decoder, GST_AUDIO_DECODER_CLASS(parent_class)->sink_event);
  self->gate = new gstmoshi::CapsGate;
  gst_audio_decoder_set_needs_format(decoder, TRUE);
  gst_audio_decoder_set_drainable(decoder, TRUE);
}

static void gst_mimi_dec_finalize(GObject* object) {
  delete GST_MIMI_DEC(object)->decoder;
  delete GST_MIMI_DEC(object)->gate;
  G_OBJECT_CLASS(parent_class)->finalize(object);
}

static void gst_mimi_dec_class_init(GstMimiDecClass* klass) {
  GST_DEBUG_CATEGORY_INIT(mimidec_debug, "mimidec", 0, "Mimi decoder");
  auto* object_class = G_OBJECT_CLASS(klass);
  auto* element_class = GST_ELEMENT_CLASS(klass);
  auto* decoder_class = GST_AUDIO_DECODER_CLASS(klass);
  object_class->set_property = SetProperty;
  object_class->get_property = GetProperty;
  object_class->finalize = gst_mimi_dec_finalize;
  InstallProperties(object_class);
  element_class->change_state = GST_DEBUG_FUNCPTR(ChangeState);
  decoder_class->start = GST_DEBUG_FUNCPTR(Start);
  decoder_class->stop = GST_DEBUG_FUNCPTR(Stop);
  decoder_class->set_format = GST_DEBUG_FUNCPTR(SetFormat);
  decoder_class->handle_frame = GST_DEBUG_FUNCPTR(HandleFrame);
  decoder_class->getcaps = GST_DEBUG_FUNCPTR(GetCaps);
  decoder_class->sink_event = GST_DEBUG_FUNCPTR(SinkEvent);
  decoder_class->sink_query = GST_DEBUG_FUNCPTR(SinkQuery);
  decoder_class->src_query = GST_DEBUG_FUNCPTR(SrcQuery);
  gst_element_class_add_static_pad_template(element_class, &sink_template);
  gst_element_class_add_static_pad_template(element_class, &src_template);
  gst_element_class_set_static_metadata(element_class, "Mimi audio decoder", "Codec/Decoder/Audio",
                                        "Decodes Kyutai's neural codec Mimi to speech", "gst-moshi contributors");
}

// SPDX-License-Identifier: MIT
/**
 * SECTION:element-mimienc
 *
 * Encodes speech to the tokens of Kyutai's neural codec Mimi: 12.5 frames a second, each of 1 to 32 codes of 11 bits
 * (8 codebooks: 1.1 kbit/s). It takes mono audio at the model's rate, usually 24 kHz.
 *
 * The model is opened in NULL to READY and loaded in the background, with progress messages of the code `model-load`.
 * Live input that comes before it is ready is dropped and counted; other input waits.
 *
 * Holes of up to a second, in time stamps or as GAP events, are filled with silence. A time stamp that is off by less
 * than `tolerance` counts as jitter, unless the buffer is marked DISCONT. After a larger hole, encoding starts afresh.
 * The last frame is padded with silence; a #GstAudioClippingMeta says by how much. Samples that are no numbers are
 * encoded as silence, with a warning.
 *
 * ## Example launch line
 * |[
 * gst-launch-1.0 filesrc location=speech.wav ! wavparse ! audioconvert ! audioresample ! mimienc codebooks=8 \
 *   ! filesink location=speech.codes
 * ]|
 */
#include "mimienc.h"

#include "notices.h"

GST_DEBUG_CATEGORY(mimienc_debug);
#define GST_CAT_DEFAULT mimienc_debug

G_DECLARE_FINAL_TYPE(GstMimiEnc, gst_mimi_enc, GST, MIMI_ENC, GstAudioEncoder)

struct _GstMimiEnc {
  GstAudioEncoder parent;
  gstmoshi::Encoder* encoder;
  gstmoshi::CapsGate* gate;
};

G_DEFINE_TYPE(GstMimiEnc, gst_mimi_enc, GST_TYPE_AUDIO_ENCODER)
#define parent_class gst_mimi_enc_parent_class
GST_ELEMENT_REGISTER_DEFINE(mimienc, "mimienc", GST_RANK_NONE, gst_mimi_enc_get_type())

namespace {

using gstmoshi::CapsPtr;
using gstmoshi::Encoder;

enum Property : guint { kPropCodebooks = gstmoshi::kPropOwn, kPropBatchFrames };

GstStaticPadTemplate sink_template =
    GST_STATIC_PAD_TEMPLATE("sink", GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS(MOSHI_CAPS_RAW));
GstStaticPadTemplate src_template =
    GST_STATIC_PAD_TEMPLATE("src", GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS(MOSHI_CAPS_MIMI("true")));

Encoder* Of(gpointer element) { return GST_MIMI_ENC(element)->encoder; }

void SetProperty(GObject* object, guint id, const GValue* value, GParamSpec* spec) {
  Encoder* encoder = Of(object);
  if (id == kPropCodebooks) {
    encoder->SetCodebooks(g_value_get_int(value));
  } else if (id == kPropBatchFrames) {
    encoder->SetBatch(g_value_get_int(value));
  } else if (!encoder->model().settings().Set(GST_ELEMENT(object), id, value)) {
    G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
  } else if (id == gstmoshi::kPropProcessingLatency) {
    encoder->UpdateLatency();
  }
}

void GetProperty(GObject* object, guint id, GValue* value, GParamSpec* spec) {
  Encoder* encoder = Of(object);
  if (id == kPropCodebooks)
    g_value_set_int(value, encoder->codebooks());
  else if (id == kPropBatchFrames)
    g_value_set_int(value, encoder->batch());
  else if (id == gstmoshi::kPropStats)
    g_value_take_boxed(value, encoder->Stats());
  else if (id == gstmoshi::kPropModelInfo)
    g_value_take_boxed(value, encoder->model().Info());
  else if (!encoder->model().settings().Get(id, value))
    G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
}

GstStateChangeReturn ChangeState(GstElement* element, GstStateChange transition) {
  Encoder* encoder = Of(element);
  switch (transition) {
    case GST_STATE_CHANGE_NULL_TO_READY:
      if (!encoder->CheckCodebooks() || !encoder->model().Open()) return GST_STATE_CHANGE_FAILURE;
      if (!encoder->CheckCodebooks()) {
        encoder->model().Close();
        return GST_STATE_CHANGE_FAILURE;
      }
      break;
    case GST_STATE_CHANGE_READY_TO_PAUSED:
      // Properties may have changed in READY.
      if (!encoder->model().ReopenIfChanged() || !encoder->CheckCodebooks()) return GST_STATE_CHANGE_FAILURE;
      encoder->session().Resume(gstmoshi::kStopping);
      encoder->session().Resume(gstmoshi::kFlushing);
      break;
    case GST_STATE_CHANGE_PAUSED_TO_READY:
      // Before the base class waits for the streaming thread.
      encoder->session().Interrupt(gstmoshi::kStopping);
      break;
    default:
      break;
  }
  const GstStateChangeReturn result = GST_ELEMENT_CLASS(parent_class)->change_state(element, transition);
  const bool failed_up = transition == GST_STATE_CHANGE_NULL_TO_READY && result == GST_STATE_CHANGE_FAILURE;
  if (transition == GST_STATE_CHANGE_READY_TO_NULL || failed_up) encoder->model().Close();
  return result;
}

gboolean Start(GstAudioEncoder* element) {
  Of(element)->Start();
  return TRUE;
}

gboolean Stop(GstAudioEncoder* element) {
  Of(element)->Stop();
  return TRUE;
}

gboolean SetFormat(GstAudioEncoder* element, GstAudioInfo* info) { return Of(element)->SetFormat(*info); }

GstFlowReturn HandleFrame(GstAudioEncoder* element, GstBuffer* buffer) { return Of(element)->HandleFrame(buffer); }

GstFlowReturn Chain(GstPad*, GstObject* parent, GstBuffer* buffer) { return Of(parent)->Chain(buffer); }

gboolean SinkEvent(GstAudioEncoder* element, GstEvent* event) { return Of(element)->SinkEvent(event); }

GstCaps* GetCaps(GstAudioEncoder* element, GstCaps* filter) {
  CapsPtr caps = gstmoshi::RawCapsOf(Of(element)->model().facts());
  return gst_audio_encoder_proxy_getcaps(element, caps.get(), filter);
}

gboolean SinkQuery(GstAudioEncoder* element, GstQuery* query) {
  if (GST_QUERY_TYPE(query) != GST_QUERY_ACCEPT_CAPS)
    return GST_AUDIO_ENCODER_CLASS(parent_class)->sink_query(element, query);
  GstCaps* caps;
  gst_query_parse_accept_caps(query, &caps);
  CapsPtr allowed = gstmoshi::RawCapsOf(Of(element)->model().facts());
  const bool accepted = GST_MIMI_ENC(element)->gate->Accept(GST_ELEMENT(element), caps, allowed.get(),
                                                            "Add audioconvert ! audioresample before it.");
  gst_query_set_accept_caps_result(query, accepted);
  return TRUE;
}

gboolean SrcQuery(GstAudioEncoder* element, GstQuery* query) {
  if (GST_QUERY_TYPE(query) != GST_QUERY_CAPS) return GST_AUDIO_ENCODER_CLASS(parent_class)->src_query(element, query);
  GstCaps* filter;
  gst_query_parse_caps(query, &filter);
  // What cannot be is told at READY; it must not keep the pads from linking before.
  const int wanted = Of(element)->codebooks();
  const int codebooks = wanted >= 1 && wanted <= gstmoshi::kMaxCodebooks ? wanted : 0;
  CapsPtr caps = gstmoshi::CodesCapsOf(Of(element)->model().facts(), codebooks);
  if (filter != nullptr) caps.reset(gst_caps_intersect_full(filter, caps.get(), GST_CAPS_INTERSECT_FIRST));
  gst_query_set_caps_result(query, caps.get());
  return TRUE;
}

// Metas that describe the samples do not describe the codes.
gboolean TransformMeta(GstAudioEncoder* element, GstBuffer* out, GstMeta* meta, GstBuffer* in) {
  if (meta->info->api == GST_AUDIO_META_API_TYPE || meta->info->api == GST_AUDIO_CLIPPING_META_API_TYPE) return FALSE;
  return GST_AUDIO_ENCODER_CLASS(parent_class)->transform_meta(element, out, meta, in);
}

void InstallProperties(GObjectClass* klass) {
  gstmoshi::InstallModelProperties(klass,
                                   "Counts since the element was made: frames, jobs and resets of the core, dropped "
                                   "live buffers, filled, padded and "
                                   "non-finite samples, times in ns");
  constexpr int strings = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS;
  g_object_class_install_property(
      klass, kPropCodebooks,
      g_param_spec_int("codebooks", "Codebooks",
                       "Codes per frame, 1 to 32; 0: what downstream's caps fix, else 8. Can be changed while playing",
                       G_MININT, G_MAXINT, 0, static_cast<GParamFlags>(strings | GST_PARAM_MUTABLE_PLAYING)));
  g_object_class_install_property(
      klass, kPropBatchFrames,
      g_param_spec_int(
          "batch-frames", "Batch frames",
          "Frames to encode at once, which takes less time and adds as much latency; 0: one, but where upstream is "
          "seekable up to 2 s, as long as they come without a pause. Buffers hold one frame in any case",
          0, 250, 0, static_cast<GParamFlags>(strings | GST_PARAM_MUTABLE_READY)));
}

}  // namespace

gstmoshi::Encoder* gst_mimi_enc_get_encoder(GstElement* element) { return Of(element); }

static void gst_mimi_enc_init(GstMimiEnc* self) {
  GstPad* sinkpad = GST_AUDIO_ENCODER_SINK_PAD(self);
  self->encoder = new Encoder(GST_AUDIO_ENCODER(self), GST_AUDIO_ENCODER_CLASS(parent_class)->sink_event);
  self->gate = new gstmoshi::CapsGate;
  gst_pad_set_chain_function(sinkpad, GST_DEBUG_FUNCPTR(Chain));
}

static void gst_mimi_enc_finalize(GObject* object) {
  delete GST_MIMI_ENC(object)->encoder;
  delete GST_MIMI_ENC(object)->gate;
  G_OBJECT_CLASS(parent_class)->finalize(object);
}

static void gst_mimi_enc_class_init(GstMimiEncClass* klass) {
  GST_DEBUG_CATEGORY_INIT(mimienc_debug, "mimienc", 0, "Mimi encoder");
  auto* object_class = G_OBJECT_CLASS(klass);
  auto* element_class = GST_ELEMENT_CLASS(klass);
  auto* encoder_class = GST_AUDIO_ENCODER_CLASS(klass);
  object_class->set_property = SetProperty;
  object_class->get_property = GetProperty;
  object_class->finalize = gst_mimi_enc_finalize;
  InstallProperties(object_class);
  element_class->change_state = GST_DEBUG_FUNCPTR(ChangeState);
  encoder_class->start = GST_DEBUG_FUNCPTR(Start);
  encoder_class->stop = GST_DEBUG_FUNCPTR(Stop);
  encoder_class->set_format = GST_DEBUG_FUNCPTR(SetFormat);
  encoder_class->handle_frame = GST_DEBUG_FUNCPTR(HandleFrame);
  encoder_class->getcaps = GST_DEBUG_FUNCPTR(GetCaps);
  encoder_class->sink_event = GST_DEBUG_FUNCPTR(SinkEvent);
  encoder_class->sink_query = GST_DEBUG_FUNCPTR(SinkQuery);
  encoder_class->src_query = GST_DEBUG_FUNCPTR(SrcQuery);
  encoder_class->transform_meta = GST_DEBUG_FUNCPTR(TransformMeta);
  gst_element_class_add_static_pad_template(element_class, &sink_template);
  gst_element_class_add_static_pad_template(element_class, &src_template);
  gst_element_class_set_static_metadata(element_class, "Mimi audio encoder", "Codec/Encoder/Audio",
                                        "Encodes speech with Kyutai's neural codec Mimi (0.14 to 4.4 kbit/s)",
                                        "gst-moshi contributors");
}

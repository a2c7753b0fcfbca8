// SPDX-License-Identifier: MIT
/**
 * SECTION:element-moshilm
 *
 * Holds a conversation: takes the codes of what the user says from #mimienc and gives the codes of what Kyutai's speech
 * model Moshi says, for #mimidec, and its text. The same element runs the models that are made like it: Hibiki
 * translates, speech-to-text models give text alone.
 *
 * Each frame that comes in makes one step of the model and gives one frame of codes, which has the same time; models
 * that answer some frames later add that to the latency. `text_src` gives each piece of text with the time of its
 * frame and GAP events between them, or token ids. Either source pad may be left unlinked. Upstream's gaps are silence
 * to the model. A flush, a new stream and the signal `reset` begin a new conversation; nothing else does.
 *
 * ## Example launch line
 * |[
 * gst-launch-1.0 -q filesrc location=speech.wav ! wavparse ! audioconvert ! audioresample ! mimienc \
 *   ! moshilm name=lm ! mimidec ! audioconvert ! wavenc ! filesink location=answer.wav \
 *   lm.text_src ! queue ! filesink location=answer.txt
 * ]|
 */
#include "moshilm.h"

#include "generation.h"
#include "lm_stream.h"

GST_DEBUG_CATEGORY(moshilm_debug);
#define GST_CAT_DEFAULT moshilm_debug

G_DECLARE_FINAL_TYPE(GstMoshiLm, gst_moshi_lm, GST, MOSHI_LM, GstElement)

struct _GstMoshiLm {
  GstElement parent;
  gstmoshi::LmStream* stream;
};

G_DEFINE_TYPE(GstMoshiLm, gst_moshi_lm, GST_TYPE_ELEMENT)
#define parent_class gst_moshi_lm_parent_class
GST_ELEMENT_REGISTER_DEFINE(moshilm, "moshilm", GST_RANK_NONE, gst_moshi_lm_get_type())

namespace {

using gstmoshi::LatePolicy;
using gstmoshi::LmStream;

enum Property : guint { kPropMaxSessions = gstmoshi::kPropGenerationEnd, kPropLatePolicy, kPropEosMaxDuration };

GstStaticPadTemplate sink_template =
    GST_STATIC_PAD_TEMPLATE("sink", GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS(MOSHI_CAPS_MIMI("true")));
GstStaticPadTemplate src_template =
    GST_STATIC_PAD_TEMPLATE("src", GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS(MOSHI_CAPS_MIMI("true")));
GstStaticPadTemplate text_template = GST_STATIC_PAD_TEMPLATE("text_src", GST_PAD_SRC, GST_PAD_ALWAYS,
                                                             GST_STATIC_CAPS(MOSHI_CAPS_TEXT "; " MOSHI_CAPS_TOKENS));

LmStream* Of(gpointer element) { return GST_MOSHI_LM(element)->stream; }

GType LatePolicyType() {
  static const GEnumValue values[] = {
      {static_cast<gint>(LatePolicy::kAuto), "Drop when upstream is live, else wait", "auto"},
      {static_cast<gint>(LatePolicy::kWait), "Let upstream wait: nothing is lost", "wait"},
      {static_cast<gint>(LatePolicy::kDrop), "Leave late input out, so that what follows is in time", "drop"},
      {static_cast<gint>(LatePolicy::kShift), "Keep late input and let the output's time slip", "shift"},
      {0, nullptr, nullptr}};
  static const GType type = [] {
    const GType made = g_enum_register_static("GstMoshiLatePolicy", values);
    gst_type_mark_as_plugin_api(made, static_cast<GstPluginAPIFlags>(0));
    return made;
  }();
  return type;
}

void SetProperty(GObject* object, guint id, const GValue* value, GParamSpec* spec) {
  LmStream* stream = Of(object);
  gstmoshi::Conversation& conversation = stream->conversation();
  switch (id) {
    case kPropMaxSessions:
      stream->SetMaxSessions(g_value_get_int(value));
      return;
    case kPropLatePolicy:
      conversation.SetLatePolicy(static_cast<LatePolicy>(g_value_get_enum(value)));
      return;
    case kPropEosMaxDuration:
      conversation.SetEosMaxDuration(g_value_get_uint64(value));
      return;
    default:
      break;
  }
  if (conversation.generation().Set(id, value)) return;
  if (!stream->model().settings().Set(GST_ELEMENT(object), id, value))
    G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
  else if (id == gstmoshi::kPropProcessingLatency)
    stream->UpdateLatency();
}

void GetProperty(GObject* object, guint id, GValue* value, GParamSpec* spec) {
  LmStream* stream = Of(object);
  gstmoshi::Conversation& conversation = stream->conversation();
  switch (id) {
    case kPropMaxSessions:
      g_value_set_int(value, stream->max_sessions());
      return;
    case kPropLatePolicy:
      g_value_set_enum(value, static_cast<gint>(conversation.late_policy()));
      return;
    case kPropEosMaxDuration:
      g_value_set_uint64(value, conversation.eos_max_duration());
      return;
    case gstmoshi::kPropStats:
      g_value_take_boxed(value, stream->Stats());
      return;
    case gstmoshi::kPropModelInfo:
      g_value_take_boxed(value, stream->model().Info());
      return;
    default:
      break;
  }
  if (!conversation.generation().Get(id, value, stream->model().facts().lm) &&
      !stream->model().settings().Get(id, value))
    G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, spec);
}

GstStateChangeReturn ChangeState(GstElement* element, GstStateChange transition) {
  LmStream* stream = Of(element);
  switch (transition) {
    case GST_STATE_CHANGE_NULL_TO_READY:
      if (!stream->model().Open()) return GST_STATE_CHANGE_FAILURE;
      break;
    case GST_STATE_CHANGE_READY_TO_PAUSED:
      // Properties may have changed in READY.
      if (!stream->model().ReopenIfChanged() || !stream->Start()) return GST_STATE_CHANGE_FAILURE;
      break;
    case GST_STATE_CHANGE_PAUSED_TO_READY:
      // Before the base class waits for the pads' threads.
      stream->Interrupt();
      break;
    default:
      break;
  }
  const GstStateChangeReturn result = GST_ELEMENT_CLASS(parent_class)->change_state(element, transition);
  const bool failed = result == GST_STATE_CHANGE_FAILURE;
  if (transition == GST_STATE_CHANGE_READY_TO_PAUSED && failed) stream->Interrupt();
  if (transition == GST_STATE_CHANGE_PAUSED_TO_READY || (transition == GST_STATE_CHANGE_READY_TO_PAUSED && failed))
    stream->Stop();
  if (transition == GST_STATE_CHANGE_READY_TO_NULL || (transition == GST_STATE_CHANGE_NULL_TO_READY && failed))
    stream->model().Close();
  return result;
}

GstFlowReturn Chain(GstPad*, GstObject* parent, GstBuffer* buffer) { return Of(parent)->Chain(buffer); }
gboolean SinkEvent(GstPad*, GstObject* parent, GstEvent* event) { return Of(parent)->SinkEvent(event); }
gboolean SinkQuery(GstPad*, GstObject* parent, GstQuery* query) { return Of(parent)->SinkQuery(query); }
gboolean SourceEvent(GstPad* pad, GstObject* parent, GstEvent* event) { return Of(parent)->SourceEvent(pad, event); }
gboolean SourceQuery(GstPad* pad, GstObject* parent, GstQuery* query) { return Of(parent)->SourceQuery(pad, query); }

gboolean ActivateSource(GstPad* pad, GstObject* parent, GstPadMode mode, gboolean active) {
  return mode == GST_PAD_MODE_PUSH && Of(parent)->ActivateSource(pad, active);
}

void Reset(GstMoshiLm* self) { self->stream->conversation().RequestReset(); }
gboolean ForceText(GstMoshiLm* self, const char* ids) { return self->stream->ForceText(ids); }

void InstallProperties(GObjectClass* klass) {
  gstmoshi::InstallLmModelProperties(
      klass,
      "Counts since the element was made: steps, frames in and out, dropped frames and live buffers, steps longer than "
      "a frame, step times (median and 99th percentile of the last 512), frames in the queues, slip, resets, and the "
      "seed in use; times in ns");
  gstmoshi::InstallGenerationProperties(klass);
  constexpr int writable = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS;
  constexpr auto ready = static_cast<GParamFlags>(writable | GST_PARAM_MUTABLE_READY);
  constexpr auto playing = static_cast<GParamFlags>(writable | GST_PARAM_MUTABLE_PLAYING);
  g_object_class_install_property(
      klass, kPropMaxSessions,
      g_param_spec_int("max-sessions", "Most sessions",
                       "Conversations that this model may hold in the process at once; one more is an error (0: as "
                       "many as fit into memory)",
                       0, G_MAXINT, 0, ready));
  g_object_class_install_property(
      klass, kPropLatePolicy,
      g_param_spec_enum("late-policy", "Late policy",
                        "What to do with live input whose step would begin after its time and the pipeline's latency",
                        LatePolicyType(), static_cast<gint>(LatePolicy::kAuto), playing));
  g_object_class_install_property(
      klass, kPropEosMaxDuration,
      g_param_spec_uint64("eos-max-duration", "Longest end",
                          "Time in ns for which a translation may go on after the end of its input", 0, G_MAXUINT64,
                          60 * GST_SECOND, playing));
}

void InstallSignals(GType type) {
  constexpr auto action = static_cast<GSignalFlags>(G_SIGNAL_RUN_LAST | G_SIGNAL_ACTION);
  g_signal_new_class_handler("reset", type, action, G_CALLBACK(Reset), nullptr, nullptr, nullptr, G_TYPE_NONE, 0);
  g_signal_new_class_handler("force-text", type, action, G_CALLBACK(ForceText), nullptr, nullptr, nullptr,
                             G_TYPE_BOOLEAN, 1, G_TYPE_STRING);
}

GstPad* AddPad(GstMoshiLm* self, GstStaticPadTemplate* pad_template, const char* name) {
  GstPad* pad = gst_pad_new_from_static_template(pad_template, name);
  if (GST_PAD_IS_SRC(pad)) {
    gst_pad_set_event_function(pad, GST_DEBUG_FUNCPTR(SourceEvent));
    gst_pad_set_query_function(pad, GST_DEBUG_FUNCPTR(SourceQuery));
    gst_pad_set_activatemode_function(pad, GST_DEBUG_FUNCPTR(ActivateSource));
  } else {
    gst_pad_set_chain_function(pad, GST_DEBUG_FUNCPTR(Chain));
    gst_pad_set_event_function(pad, GST_DEBUG_FUNCPTR(SinkEvent));
    gst_pad_set_query_function(pad, GST_DEBUG_FUNCPTR(SinkQuery));
  }
  gst_element_add_pad(GST_ELEMENT(self), pad);
  return pad;
}

}  // namespace

void gst_moshi_lm_loaded(GstElement* element) {
  Of(element)->UpdateLatency();
  // Values that nobody has set are the model's own now.
  for (const char* name : {"temperature", "text-temperature", "top-k", "text-top-k", "sampling", "cfg-coef"})
    g_object_notify(G_OBJECT(element), name);
}

static void gst_moshi_lm_init(GstMoshiLm* self) {
  GstPad* sink = AddPad(self, &sink_template, "sink");
  GstPad* audio = AddPad(self, &src_template, "src");
  GstPad* text = AddPad(self, &text_template, "text_src");
  self->stream = new LmStream(GST_ELEMENT(self), sink, audio, text);
}

static void gst_moshi_lm_finalize(GObject* object) {
  delete GST_MOSHI_LM(object)->stream;
  G_OBJECT_CLASS(parent_class)->finalize(object);
}

static void gst_moshi_lm_class_init(GstMoshiLmClass* klass) {
  GST_DEBUG_CATEGORY_INIT(moshilm_debug, "moshilm", 0, "Moshi language model");
  gstmoshi::RegisterExtraHeadsMeta();
  auto* object_class = G_OBJECT_CLASS(klass);
  auto* element_class = GST_ELEMENT_CLASS(klass);
  object_class->set_property = SetProperty;
  object_class->get_property = GetProperty;
  object_class->finalize = gst_moshi_lm_finalize;
  InstallProperties(object_class);
  InstallSignals(G_TYPE_FROM_CLASS(klass));
  element_class->change_state = GST_DEBUG_FUNCPTR(ChangeState);
  gst_element_class_add_static_pad_template(element_class, &sink_template);
  gst_element_class_add_static_pad_template(element_class, &src_template);
  gst_element_class_add_static_pad_template(element_class, &text_template);
  gst_element_class_set_static_metadata(element_class, "Moshi speech language model", "Filter/Audio",
                                        "Holds a conversation: codes of the user's speech in, Moshi's codes and text "
                                        "out",
                                        "gst-moshi contributors");
}

// SPDX-License-Identifier: MIT
//
// A conversation with a language model: microphone or file in, speaker or file out, text on standard output. One
// pipeline of plain elements; this program only builds it, watches its bus and prints.
//
//   moshi-conversation [--model DIRECTORY-or-hub-id] [--input mic|FILE] [--output speaker|none|FILE] [options]
//
// Ctrl-C ends the conversation: what was said until then is still written. A second one ends the program.
// Exit status: 0 success, 1 an error, 2 wrong usage.
#include <glib-unix.h>
#include <gst/app/gstappsink.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "app.h"
#include "silence.h"

namespace {

using app::fail;
using app::Object;
using app::Pipeline;

/// Options that are properties of `moshilm` of the same name, passed on as they are written.
struct Setting {
  const char *name, *help, *value;
};
constexpr Setting kSettings[] = {
    {"temperature", "Of the codes (default: the model's, as of the next four)", "T"},
    {"text-temperature", "Of the text", "T"},
    {"top-k", "Of the codes; 0: all", "K"},
    {"text-top-k", "Of the text; 0: all", "K"},
    {"cfg-coef", "Guidance; 1: none", "C"},
    {"seed", "Of sampling (default: drawn; --stats tells)", "N"},
    {"weights", "The language model's weights", "FILE"},
    {"tokenizer", "A sentencepiece model", "FILE"},
    {"config", "A config.json", "FILE"},
    {"lora", "A LoRA for the language model", "FILE"},
    {"precision", "Of the language model: auto, f32 or bf16", "NAME"},
    {"late-policy", "What to do with input that comes too late: auto, wait, drop or shift", "NAME"},
    {"device", "Of all models", "NAME"},
    {"threads", "Compute threads (default: all cores)", "N"},
};
constexpr size_t kSettingCount = std::size(kSettings);

struct Options {
  std::string model, mimi_model, text;
  std::string input = "mic", output = "speaker";
  std::map<std::string, std::string> settings;
  std::map<std::string, std::string> conditions;
  bool greedy = false, echo_cancel = false, stats = false;
  double eos_max_seconds = 60;

  bool live() const { return input == "mic"; }
  bool speaks() const { return output != "none"; }
  bool to_speaker() const { return output == "speaker"; }
  bool to_file() const { return speaks() && !to_speaker(); }
};

// --- The command line ---------------------------------------------------------------------------------------------

bool wrong(const std::string& sentence) { return fail(sentence + "; --help tells more"); }

/// What GOption writes to.
struct Raw {
  gchar *model = nullptr, *mimi_model = nullptr, *input = nullptr, *output = nullptr, *text = nullptr;
  gchar** conditions = nullptr;
  gboolean greedy = FALSE, echo_cancel = FALSE, stats = FALSE;
  double eos_max_seconds = Options().eos_max_seconds;
  std::array<gchar*, kSettingCount> settings{};
  ~Raw() {
    for (gchar* one : {model, mimi_model, input, output, text}) g_free(one);
    for (gchar* one : settings) g_free(one);
    g_strfreev(conditions);
  }
};

bool take(const Raw& raw, Options* options) {
  if (raw.model) options->model = options->mimi_model = raw.model;
  if (raw.mimi_model) options->mimi_model = raw.mimi_model;
  if (raw.input) options->input = raw.input;
  if (raw.output) options->output = raw.output;
  if (raw.text) options->text = raw.text;
  options->greedy = raw.greedy;
  options->echo_cancel = raw.echo_cancel;
  options->stats = raw.stats;
  options->eos_max_seconds = raw.eos_max_seconds;
  if (!(options->eos_max_seconds >= 0 && options->eos_max_seconds <= 1e6))
    return wrong("--eos-max-duration is a number of seconds, 0 or more");
  if (options->echo_cancel && !(options->live() && options->to_speaker()))
    return wrong("--echo-cancel needs the microphone and the speaker");
  for (size_t i = 0; i < kSettingCount; ++i) {
    if (raw.settings[i]) options->settings[kSettings[i].name] = raw.settings[i];
  }
  if (options->settings.contains("weights") && !raw.model && !raw.mimi_model)
    return wrong("--weights does not tell the codec that goes with it: give --model or --mimi-model, too");
  for (gchar** one = raw.conditions; one && *one; ++one) {
    const char* sign = std::strchr(*one, '=');
    if (!sign || sign == *one) return wrong("a condition is NAME=VALUE, not \"" + std::string(*one) + "\"");
    options->conditions[std::string(*one, static_cast<size_t>(sign - *one))] = sign + 1;
  }
  return app::distinct(
      {options->live() ? "" : options->input, options->to_file() ? options->output : "", options->text});
}

bool parse(int argc, char** argv, Options* options) {
  Raw raw;
  std::vector<GOptionEntry> entries = {
      {"model", 'm', 0, G_OPTION_ARG_FILENAME, &raw.model, "A model's directory or hub id (default: the embedded one)",
       "MODEL"},
      {"mimi-model", 0, 0, G_OPTION_ARG_FILENAME, &raw.mimi_model, "Another model for the codec", "MODEL"},
      {"input", 'i', 0, G_OPTION_ARG_FILENAME, &raw.input, "What the model hears (default: mic)", "mic|FILE|URI"},
      {"output", 'o', 0, G_OPTION_ARG_FILENAME, &raw.output, "Where its voice goes (default: speaker)",
       "speaker|none|FILE"},
      {"text", 't', 0, G_OPTION_ARG_FILENAME, &raw.text, "Also write its text to a file", "FILE"},
      {"greedy", 0, 0, G_OPTION_ARG_NONE, &raw.greedy, "Take the likeliest token instead of sampling", nullptr},
      {"condition", 0, 0, G_OPTION_ARG_STRING_ARRAY, &raw.conditions,
       "May be repeated; negative-NAME=VALUE is what guidance leads away from", "NAME=VALUE"},
      {"eos-max-duration", 0, 0, G_OPTION_ARG_DOUBLE, &raw.eos_max_seconds,
       "How long a translation may go on after its input (default 60)", "SECONDS"},
      {"echo-cancel", 0, 0, G_OPTION_ARG_NONE, &raw.echo_cancel,
       "Take the model's own voice out of the microphone; better: headphones", nullptr},
      {"stats", 0, 0, G_OPTION_ARG_NONE, &raw.stats, "Print the elements' statistics at the end", nullptr}};
  for (size_t i = 0; i < kSettingCount; ++i) {
    entries.push_back(
        {kSettings[i].name, 0, 0, G_OPTION_ARG_STRING, &raw.settings[i], kSettings[i].help, kSettings[i].value});
  }
  entries.push_back({});
  constexpr const char* kSummary =
      "A conversation with a language model that listens while it speaks. Its text goes to\n"
      "standard output; without a tokenizer, its token ids do. Ctrl-C ends it.";
  if (!app::parse_options(nullptr, kSummary, entries.data(), &argc, &argv)) return false;
  if (argc > 1) return wrong("what is \"" + std::string(argv[1]) + "\"? Files are named with --input and --output");
  return take(raw, options);
}

// --- The pipeline -------------------------------------------------------------------------------------------------

std::string describe(const Options& options) {
  std::string line;
  if (options.live()) {
    line = "autoaudiosrc ! queue ! audioconvert ! audioresample ! ";
    if (options.echo_cancel) line += app::echo_canceller() + " ! audioconvert ! audioresample ! ";
  } else {
    line = "uridecodebin name=source  audioconvert name=convert dithering=none ! audioresample ! ";
    line += "audio/x-raw,format=F32LE ! ";  // or 16-bit samples would be resampled as such
  }
  line += "mimienc name=encoder ! moshilm name=lm ";
  if (options.speaks()) line += " lm.src ! mimidec name=decoder ! audioconvert ! ";
  if (options.to_speaker()) {
    line += "audioresample ! ";
    if (options.echo_cancel) line += app::echo_probe() + " ! audioconvert ! audioresample ! ";
    line += "queue ! autoaudiosink ";
  } else if (options.speaks()) {
    line += "audio/x-raw,format=S16LE ! wavenc ! filesink name=file ";
  }
  // Text appears when it is spoken; for files, as soon as it is there.
  const bool in_time = options.live() || options.to_speaker();
  return line + " lm.text_src ! appsink name=text async=false sync=" + (in_time ? "true" : "false");
}

bool set_property(GstElement* element, const std::string& name, const std::string& text) {
  GParamSpec* spec = g_object_class_find_property(G_OBJECT_GET_CLASS(element), name.c_str());
  if (!spec) return fail(std::string("this ") + GST_OBJECT_NAME(element) + " has no " + name);
  GValue value = G_VALUE_INIT;
  g_value_init(&value, spec->value_type);
  bool good = true;
  if (spec->value_type == G_TYPE_STRING) {
    g_value_set_string(&value, text.c_str());
  } else {
    good = gst_value_deserialize(&value, text.c_str());
  }
  GValue checked = G_VALUE_INIT;
  g_value_init(&checked, spec->value_type);
  if (good) g_value_copy(&value, &checked);
  // A value out of range would be changed to one within.
  good = good && !g_param_value_validate(spec, &checked);
  if (good) g_object_set_property(G_OBJECT(element), name.c_str(), &value);
  g_value_unset(&value);
  g_value_unset(&checked);
  return good || fail("--" + name + " cannot be " + text + "; gst-inspect-1.0 moshilm tells what it can be");
}

void set_model(GstElement* element, const std::string& model) {
  g_object_set(element, "model", model.empty() ? nullptr : model.c_str(), nullptr);
}

bool set_up(const Pipeline& pipeline, const Options& options) {
  const auto lm = pipeline.element("lm");
  set_model(lm.get(), options.model);
  for (const auto& [name, value] : options.settings) {
    if (!set_property(lm.get(), name, value)) return false;
  }
  if (options.greedy) g_object_set(lm.get(), "sampling", FALSE, nullptr);
  const auto eos_max_ns = static_cast<guint64>(options.eos_max_seconds * GST_SECOND);
  g_object_set(lm.get(), "eos-max-duration", eos_max_ns, nullptr);
  if (!options.conditions.empty()) {
    const app::Structure conditions(gst_structure_new_empty("conditions"));
    for (const auto& [name, value] : options.conditions)
      gst_structure_set(conditions.get(), name.c_str(), G_TYPE_STRING, value.c_str(), nullptr);
    g_object_set(lm.get(), "conditions", conditions.get(), nullptr);
  }
  for (const char* codec : {"encoder", "decoder"}) {
    const auto element = pipeline.element(codec);
    if (!element) continue;
    set_model(element.get(), options.mimi_model);
    for (const char* name : {"device", "threads"}) {
      const auto given = options.settings.find(name);
      if (given != options.settings.end() && !set_property(element.get(), name, given->second)) return false;
    }
  }
  if (options.speaks() && !options.to_speaker())
    g_object_set(pipeline.element("file").get(), "location", options.output.c_str(), nullptr);
  return true;
}

// --- Running ------------------------------------------------------------------------------------------------------

struct Conversation {
  const Pipeline& pipeline;
  const Options& options;
  GMainLoop* loop;
  FILE* text = nullptr;
  int loading = 0;  // elements whose model is not there yet
  bool stopping = false;
  bool good = true;
  bool written = false;  // text; by the streaming thread until the pipeline has stopped
};

void write_text(Conversation* run, const char* bytes, size_t count) {
  run->written = true;
  for (FILE* file : {stdout, run->text}) {
    if (!file) continue;
    fwrite(bytes, 1, count, file);
    fflush(file);
  }
}

// Streaming thread.
GstFlowReturn on_text(GstAppSink* sink, gpointer user) {
  auto* run = static_cast<Conversation*>(user);
  const app::Sample sample(gst_app_sink_pull_sample(sink));
  if (!sample) return GST_FLOW_EOS;
  const GstStructure* caps = gst_caps_get_structure(gst_sample_get_caps(sample.get()), 0);
  GstBuffer* buffer = gst_sample_get_buffer(sample.get());
  GstMapInfo map;
  if (!gst_buffer_map(buffer, &map, GST_MAP_READ)) return GST_FLOW_ERROR;
  if (gst_structure_has_name(caps, "text/x-raw")) {
    write_text(run, reinterpret_cast<const char*>(map.data), map.size);
  } else {
    for (gsize at = 0; at + 4 <= map.size; at += 4) {
      const std::string id = std::to_string(static_cast<gint32>(GST_READ_UINT32_LE(map.data + at))) + " ";
      write_text(run, id.data(), id.size());
    }
  }
  gst_buffer_unmap(buffer, &map);
  return GST_FLOW_OK;
}

// Takes the decoder and all behind it out of a pipeline in READY.
void remove_voice(const Pipeline& pipeline) {
  auto element = pipeline.element("decoder");
  while (element) {
    const Object<GstPad> source(gst_element_get_static_pad(element.get(), "src"));
    const Object<GstPad> sink(source ? gst_pad_get_peer(source.get()) : nullptr);
    Object<GstElement> next(sink ? gst_pad_get_parent_element(sink.get()) : nullptr);
    gst_element_set_state(element.get(), GST_STATE_NULL);
    gst_bin_remove(GST_BIN(pipeline.get()), element.get());
    element = std::move(next);
  }
}

// All models are there, so that nothing that is said is lost, and what this one wants is known.
void begin(Conversation* run) {
  const auto lm = run->pipeline.element("lm");
  GstStructure* raw = nullptr;
  g_object_get(lm.get(), "model-info", &raw, nullptr);
  const app::Structure info(raw);
  const char* type = info ? gst_structure_get_string(info.get(), "model-type") : nullptr;
  if (g_strcmp0(type, "stt") == 0) {
    // It has learned to write text that much later than it hears it, after that much silence.
    guint64 prefix = 0, delay = 0;
    gst_structure_get_uint64(info.get(), "silence-prefix", &prefix);
    gst_structure_get_uint64(info.get(), "audio-delay", &delay);
    const auto encoder = run->pipeline.element("encoder");
    const Object<GstPad> pad(gst_element_get_static_pad(encoder.get(), "sink"));
    app::surround_with_silence(pad.get(), run->options.live() ? 0 : prefix, delay + GST_SECOND);
  }
  gint voice = 1;
  if (info) gst_structure_get_int(info.get(), "own-codebooks", &voice);
  if (voice == 0 && run->options.speaks()) {
    fprintf(stderr, "%s: this model only writes: nothing goes to %s\n", app::program, run->options.output.c_str());
    remove_voice(run->pipeline);
  }
  if (g_strcmp0(type, "hibiki") == 0 && run->options.conditions.empty()) {
    fprintf(stderr, "%s: no --condition is given; Hibiki is usually told description=very_good\n", app::program);
  }
  if (run->options.live()) fprintf(stderr, "%s: listening; Ctrl-C ends the conversation\n", app::program);
  gst_element_set_state(run->pipeline.get(), GST_STATE_PLAYING);
}

void show_progress(Conversation* run, GstMessage* message) {
  GstProgressType type;
  gchar *code = nullptr, *raw_text = nullptr;
  gst_message_parse_progress(message, &type, &code, &raw_text);
  const app::Text freed(code), text(raw_text);
  const bool terminal = isatty(STDERR_FILENO);
  const bool more = type == GST_PROGRESS_TYPE_CONTINUE;
  if (more && !terminal) return;
  fprintf(stderr, "%s%s: %s: %s%s", terminal ? "\r\033[K" : "", app::program, GST_OBJECT_NAME(GST_MESSAGE_SRC(message)),
          text ? text.get() : "", more ? "" : "\n");
  if (type == GST_PROGRESS_TYPE_COMPLETE && --run->loading == 0) begin(run);
}

void show_warning(GstMessage* message) {
  GError* raw = nullptr;
  gst_message_parse_warning(message, &raw, nullptr);
  const app::Error warning(raw);
  fail(std::string("warning: ") + warning->message);
}

gboolean on_message(GstBus*, GstMessage* message, gpointer user) {
  auto* run = static_cast<Conversation*>(user);
  switch (GST_MESSAGE_TYPE(message)) {
    case GST_MESSAGE_EOS:
      g_main_loop_quit(run->loop);
      break;
    case GST_MESSAGE_ERROR:
      run->good = fail(std::string("error in ") + GST_OBJECT_NAME(GST_MESSAGE_SRC(message)), message);
      g_main_loop_quit(run->loop);
      break;
    case GST_MESSAGE_APPLICATION:
      run->good = fail("cannot read " + run->options.input + ": " +
                       gst_structure_get_string(gst_message_get_structure(message), "text"));
      g_main_loop_quit(run->loop);
      break;
    case GST_MESSAGE_WARNING:
      show_warning(message);
      break;
    case GST_MESSAGE_PROGRESS:
      show_progress(run, message);
      break;
    case GST_MESSAGE_LATENCY:
      gst_bin_recalculate_latency(GST_BIN(run->pipeline.get()));
      break;
    case GST_MESSAGE_CLOCK_LOST:
      gst_element_set_state(run->pipeline.get(), GST_STATE_PAUSED);
      gst_element_set_state(run->pipeline.get(), GST_STATE_PLAYING);
      break;
    default:
      break;
  }
  return G_SOURCE_CONTINUE;
}

gboolean on_interrupt(gpointer user) {
  auto* run = static_cast<Conversation*>(user);
  if (run->stopping || run->loading > 0) {
    run->good = false;
    g_main_loop_quit(run->loop);
  } else {
    run->stopping = true;
    gst_element_send_event(run->pipeline.get(), gst_event_new_eos());
  }
  return G_SOURCE_CONTINUE;
}

void print_stats(const Pipeline& pipeline) {
  for (const char* name : {"encoder", "lm", "decoder"}) {
    const auto element = pipeline.element(name);
    if (!element) continue;
    GstStructure* raw = nullptr;
    g_object_get(element.get(), "stats", &raw, nullptr);
    const app::Structure stats(raw);
    const app::Text text(stats ? gst_structure_to_string(stats.get()) : nullptr);
    if (text) fprintf(stderr, "%s: %s: %s\n", app::program, name, text.get());
  }
}

bool play(Conversation* run) {
  const auto sink = run->pipeline.element("text");
  GstAppSinkCallbacks callbacks{};
  callbacks.new_sample = on_text;
  gst_app_sink_set_callbacks(GST_APP_SINK(sink.get()), &callbacks, run, nullptr);
  const auto bus = run->pipeline.bus();
  const guint sources[] = {gst_bus_add_watch(bus.get(), on_message, run), g_unix_signal_add(SIGINT, on_interrupt, run),
                           g_unix_signal_add(SIGTERM, on_interrupt, run)};
  run->loading = run->options.speaks() ? 3 : 2;
  // Models are loaded from READY on. A failure is told on the bus.
  gst_element_set_state(run->pipeline.get(), GST_STATE_READY);
  g_main_loop_run(run->loop);
  if (run->options.stats) print_stats(run->pipeline);
  gst_element_set_state(run->pipeline.get(), GST_STATE_NULL);
  for (const guint source : sources) g_source_remove(source);
  if (run->written) printf("\n");
  for (FILE* file : {stdout, run->text}) {
    if (!file || (std::fflush(file) == 0 && !std::ferror(file))) continue;
    run->good = fail("cannot write " + (file == stdout ? "the text" : run->options.text) +
                     ": its disk may be full, or its reader gone");
  }
  return run->good;
}

bool converse(const Options& options) {
  std::optional<std::string> uri;
  if (!options.live() && !(uri = app::uri_of(options.input))) return false;
  if (options.to_file() && !app::writable(options.output)) return false;
  const auto pipeline = Pipeline::parse(describe(options));
  if (!pipeline || !set_up(*pipeline, options)) return false;
  if (uri) app::read_from(*pipeline, *uri);
  if (options.live() && options.to_speaker() && !options.echo_cancel)
    fprintf(stderr, "%s: use headphones, or --echo-cancel: otherwise the model hears itself\n", app::program);

  const std::unique_ptr<FILE, int (*)(FILE*)> text(
      options.text.empty() ? nullptr : std::fopen(options.text.c_str(), "wb"), &std::fclose);
  if (!options.text.empty() && !text) return fail("cannot write " + options.text + ": " + std::strerror(errno));
  const std::unique_ptr<GMainLoop, app::Deleter<g_main_loop_unref>> loop(g_main_loop_new(nullptr, FALSE));
  Conversation run{*pipeline, options, loop.get()};
  run.text = text.get();
  return play(&run);
}

}  // namespace

int main(int argc, char** argv) {
  app::program = "conversation";
  Options options;
  if (!parse(argc, argv, &options)) return 2;
  return converse(options) ? EXIT_SUCCESS : EXIT_FAILURE;
}

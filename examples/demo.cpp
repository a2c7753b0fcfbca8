// SPDX-License-Identifier: MIT
//
// Encodes a sound file to Mimi codes and decodes them again, the way an application does it: a pipeline for
// each step, the GStreamer API, nothing else.
//
//   moshi-demo --input FILE-or-URI [--model DIRECTORY-or-hub-id] [--codebooks K] [--output DIRECTORY]
//
// It writes input.wav (what the encoder hears), speech.mimi (the codes, packed) and decoded.wav, and prints a table.
// Without --model, the embedded models are used, and the same speech is also played to the embedded language model,
// which repeats it: conversation.wav is what it says, conversation.txt its text.
// Exit status: 0 success, 1 an error, 2 wrong usage.
#include <gst/gst.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <utility>

#include "app.h"
#include "quality_files.h"

namespace {

using app::Caps;
using app::fail;
using app::Message;
using app::Object;
using app::Pipeline;
using app::Text;

struct Options {
  std::string input;
  std::string model;  // "": the default
  std::string output = ".";
  int codebooks = 0;  // 0: the encoder's own choice
};

// What passed the codec's source pad, and how long it took. Written by the streaming thread, read after EOS.
struct Run {
  guint64 buffers = 0;
  guint64 bytes = 0;
  GstClockTime duration = 0;
  double load_seconds = 0;
  double work_seconds = 0;  // from the moment all models were there until EOS
  bool embedded = false;    // the model is the one that comes with the core
};

double now() { return g_get_monotonic_time() / 1e6; }

GstPadProbeReturn count(GstPad*, GstPadProbeInfo* info, gpointer user) {
  auto* run = static_cast<Run*>(user);
  GstBuffer* buffer = GST_PAD_PROBE_INFO_BUFFER(info);
  run->buffers++;
  run->bytes += gst_buffer_get_size(buffer);
  if (GST_BUFFER_DURATION_IS_VALID(buffer)) run->duration += GST_BUFFER_DURATION(buffer);
  return GST_PAD_PROBE_OK;
}

// Plays until EOS. `what` begins the sentence if that fails.
bool play(const Pipeline& pipeline, const std::string& what, Run* run) {
  const auto bus = pipeline.bus();
  const double start = now();
  double ready = start;
  gst_element_set_state(pipeline.get(), GST_STATE_PLAYING);
  for (;;) {
    Message message(gst_bus_timed_pop_filtered(
        bus.get(), GST_CLOCK_TIME_NONE,
        GstMessageType(GST_MESSAGE_EOS | GST_MESSAGE_ERROR | GST_MESSAGE_PROGRESS | GST_MESSAGE_APPLICATION)));
    switch (GST_MESSAGE_TYPE(message.get())) {
      case GST_MESSAGE_ERROR:
        return fail(what, message.get());
      case GST_MESSAGE_APPLICATION:
        return fail(what + ": " + gst_structure_get_string(gst_message_get_structure(message.get()), "text"));
      case GST_MESSAGE_PROGRESS: {
        GstProgressType type;
        gst_message_parse_progress(message.get(), &type, nullptr, nullptr);
        if (type == GST_PROGRESS_TYPE_COMPLETE) ready = now();
        break;
      }
      default:
        run->load_seconds = ready - start;
        run->work_seconds = now() - ready;
        return true;
    }
  }
}

// --- Reading: whatever GStreamer can decode becomes a WAV file of what the encoder wants -----------------------

bool read_input(const std::string& input, const std::string& wav) {
  auto uri = app::uri_of(input);
  if (!uri) return false;
  auto pipeline = Pipeline::parse(
      "uridecodebin name=source  audioconvert name=convert ! audioresample ! "
      "audio/x-raw,format=S16LE,rate=24000,channels=1 ! wavenc ! filesink name=file");
  if (!pipeline) return false;
  auto convert = pipeline->element("convert");
  g_object_set(pipeline->element("file").get(), "location", wav.c_str(), nullptr);
  app::read_from(*pipeline, *uri);

  Run run;
  Object<GstPad> pad(gst_element_get_static_pad(convert.get(), "src"));
  gst_pad_add_probe(pad.get(), GST_PAD_PROBE_TYPE_BUFFER, count, &run, nullptr);
  if (!play(*pipeline, "cannot read " + input, &run)) return false;
  return run.bytes > 0 || fail(input + " holds no sound");
}

// --- The codec -----------------------------------------------------------------------------------------------

void set_model(GstElement* element, const Options& options) {
  g_object_set(element, "model", options.model.empty() ? nullptr : options.model.c_str(), nullptr);
}

bool is_embedded(GstElement* element) {
  GstStructure* raw = nullptr;
  g_object_get(element, "model-info", &raw, nullptr);
  const app::Structure info(raw);
  gboolean embedded = FALSE;
  return info && gst_structure_get_boolean(info.get(), "embedded", &embedded) && embedded;
}

bool run_codec(const char* description, const Options& options, const std::string& from, const std::string& to,
               const Caps* codes, const char* what, Run* run, Caps* made) {
  auto pipeline = Pipeline::parse(description);
  if (!pipeline) return false;
  auto codec = pipeline->element("codec");
  g_object_set(pipeline->element("from").get(), "location", from.c_str(), nullptr);
  g_object_set(pipeline->element("to").get(), "location", to.c_str(), nullptr);
  set_model(codec.get(), options);
  if (codes) {
    g_object_set(pipeline->element("codes").get(), "caps", codes->get(), nullptr);
  } else if (options.codebooks != 0) {
    g_object_set(codec.get(), "codebooks", options.codebooks, nullptr);
  }
  Object<GstPad> pad(gst_element_get_static_pad(codec.get(), "src"));
  gst_pad_add_probe(pad.get(), GST_PAD_PROBE_TYPE_BUFFER, count, run, nullptr);
  if (!play(*pipeline, what, run)) return false;
  run->embedded = is_embedded(codec.get());
  if (made) made->reset(gst_pad_get_current_caps(pad.get()));
  return true;
}

// `caps` becomes what must be known to read the file again: a file has no framing.
bool encode(const Options& options, const std::string& wav, const std::string& file, Run* run, Caps* caps) {
  if (!run_codec("filesrc name=from ! wavparse ! audioconvert ! audioresample ! mimienc name=codec ! "
                 "audio/x-mimi,stream-format=packed ! filesink name=to",
                 options, wav, file, nullptr, "cannot encode", run, caps))
    return false;
  if (run->buffers == 0 || !*caps) return fail("the encoder made no frame of " + options.input);
  caps->reset(gst_caps_make_writable(caps->release()));
  gst_caps_set_simple(caps->get(), "framed", G_TYPE_BOOLEAN, FALSE, nullptr);
  return true;
}

bool decode(const Options& options, const std::string& file, const Caps& caps, const std::string& wav, Run* run) {
  return run_codec(
      "filesrc name=from ! capsfilter name=codes ! mimiparse ! mimidec name=codec ! "
      "audio/x-raw,format=S16LE ! wavenc ! filesink name=to",
      options, file, wav, &caps, "cannot decode", run, nullptr);
}

// --- The conversation ----------------------------------------------------------------------------------------

// The recording, then silence in which the model can end what it says. Its text goes to a file.
constexpr const char* kConversation =
    "concat name=all ! mimienc ! moshilm name=codec ! mimidec ! audio/x-raw,format=S16LE ! wavenc ! filesink name=to "
    "filesrc name=from ! wavparse ! audioconvert ! audioresample ! audio/x-raw,format=F32LE,rate=24000,channels=1 ! "
    "queue ! all. "
    "audiotestsrc wave=silence samplesperbuffer=1920 num-buffers=25 ! audio/x-raw,format=F32LE,rate=24000,channels=1 ! "
    "queue ! all. "
    "codec.text_src ! filesink name=text async=false";

bool converse(const std::string& from, const std::string& to, const std::string& text, Run* run) {
  auto pipeline = Pipeline::parse(kConversation);
  if (!pipeline) return false;
  for (const auto& [name, location] : {std::pair{"from", from}, {"to", to}, {"text", text}})
    g_object_set(pipeline->element(name).get(), "location", location.c_str(), nullptr);
  Object<GstPad> pad(gst_element_get_static_pad(pipeline->element("codec").get(), "src"));
  gst_pad_add_probe(pad.get(), GST_PAD_PROBE_TYPE_BUFFER, count, run, nullptr);
  return play(*pipeline, "cannot play the recording to the language model", run);
}

// --- What came of it -----------------------------------------------------------------------------------------

constexpr double kRepeatSeconds = 2;  // after which the embedded language model repeats what it hears

double seconds(GstClockTime time) { return static_cast<double>(time) / GST_SECOND; }

// One line of the table; what is negative is left blank.
struct Row {
  const char* name;
  double frames, seconds, kbits, speed, load;
  std::optional<app::Quality> quality;
  std::string file;
};

std::string cell(double value, int width, int digits) {
  if (value < 0) return std::string(static_cast<size_t>(width), ' ');
  return Text(g_strdup_printf("%*.*f", width, digits, value)).get();
}

void print_row(const Row& row) {
  const double stoi = row.quality && row.quality->stoi ? std::max(*row.quality->stoi, 0.0) : -1;
  printf("%-8s %s %s %s %s %s %s %s  %s\n", row.name, cell(row.frames, 8, 0).c_str(), cell(row.seconds, 9, 2).c_str(),
         cell(row.kbits, 8, 2).c_str(), cell(row.speed, 12, 2).c_str(), cell(row.load, 8, 2).c_str(),
         cell(stoi, 6, 2).c_str(), cell(row.quality ? row.quality->mel : -1, 7, 1).c_str(), row.file.c_str());
}

void print_head() {
  printf("\n%-8s %8s %9s %8s %12s %8s %6s %7s  %s\n", "", "frames", "seconds", "kbit/s", "x real time", "load s",
         "STOI", "mel dB", "file");
}

// Everything in `caps` but the buffers that only a container needs.
std::string launch_caps(const Caps& caps) {
  Caps plain(gst_caps_copy(caps.get()));
  gst_structure_remove_fields(gst_caps_get_structure(plain.get(), 0), "streamheader", "codec_data", nullptr);
  return Text(gst_caps_to_string(plain.get())).get();
}

struct Files {
  explicit Files(const std::string& folder)
      : wav(folder + "/input.wav"),
        codes(folder + "/speech.mimi"),
        decoded(folder + "/decoded.wav"),
        answer(folder + "/conversation.wav"),
        text(folder + "/conversation.txt") {}
  std::string wav, codes, decoded, answer, text;
};

// Codes and back; the first lines of the table. `embedded`: whether that was the embedded model.
bool run_round_trip(const Options& options, const Files& files, Caps* caps, bool* embedded) {
  Run encoded, decoded;
  if (!read_input(options.input, files.wav) || !encode(options, files.wav, files.codes, &encoded, caps) ||
      !decode(options, files.codes, *caps, files.decoded, &decoded))
    return false;
  *embedded = encoded.embedded;
  const auto quality = app::judge(files.wav, files.decoded);
  if (!quality) return false;
  int rate = 25, per = 2;
  gst_structure_get_fraction(gst_caps_get_structure(caps->get(), 0), "framerate", &rate, &per);
  const auto frames = static_cast<double>(encoded.buffers);
  const double length = frames * per / rate;
  print_head();
  print_row({"input", -1, seconds(encoded.duration), -1, -1, -1, {}, files.wav});
  print_row({"encode",
             frames,
             length,
             static_cast<double>(encoded.bytes) * 8 / 1000 / length,
             length / encoded.work_seconds,
             encoded.load_seconds,
             {},
             files.codes});
  print_row({"decode", frames, seconds(decoded.duration), -1, seconds(decoded.duration) / decoded.work_seconds,
             decoded.load_seconds, quality, files.decoded});
  return true;
}

bool run_conversation(const Files& files) {
  Run run;
  if (!converse(files.wav, files.answer, files.text, &run)) return false;
  const auto quality = app::judge(files.decoded, files.answer, kRepeatSeconds);
  if (!quality) return false;
  const auto frames = static_cast<double>(run.buffers);
  print_row({"repeat", frames, seconds(run.duration), -1, seconds(run.duration) / run.work_seconds, run.load_seconds,
             quality, files.answer});
  std::ostringstream text;
  text << std::ifstream(files.text, std::ios::binary).rdbuf();
  printf("\nThe embedded language model repeats what it hears %.0f s later; its text (%s):\n %s\n", kRepeatSeconds,
         files.text.c_str(), text.str().c_str());
  return true;
}

bool run_demo(const Options& options) {
  if (g_mkdir_with_parents(options.output.c_str(), 0777) != 0) return fail("cannot make the folder " + options.output);
  const Files files(options.output);
  if (!app::distinct({options.input, files.wav, files.codes, files.decoded, files.answer, files.text})) return false;
  Caps caps;
  bool embedded = false;
  if (!run_round_trip(options, files, &caps, &embedded)) return false;
  // The language model hears, and says, as many codebooks as the encoder gives by itself.
  if (embedded && options.codebooks == 0 && !run_conversation(files)) return false;
  printf("\nThe codes are read with these caps:\n  %s\n", launch_caps(caps).c_str());
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  app::program = "demo";
  Options options;
  gchar *input = nullptr, *model = nullptr, *output = nullptr;
  const GOptionEntry entries[] = {
      {"input", 'i', 0, G_OPTION_ARG_FILENAME, &input, "A sound file or a URI", "FILE"},
      {"model", 'm', 0, G_OPTION_ARG_FILENAME, &model, "A model's directory or hub id (default: the embedded ones)",
       "MODEL"},
      {"codebooks", 'k', 0, G_OPTION_ARG_INT, &options.codebooks, "Codebooks per frame, 1 to 32", "K"},
      {"output", 'o', 0, G_OPTION_ARG_FILENAME, &output, "The folder to write to (default: here)", "DIRECTORY"},
      {}};
  constexpr const char* kParameters = "- encode a sound file to Mimi codes and decode them";
  if (!app::parse_options(kParameters, nullptr, entries, &argc, &argv)) return 2;
  Text input_text(input), model_text(model), output_text(output);
  if (!input || argc > 1) {
    fail("give --input FILE; --help tells more");
    return 2;
  }
  options.input = input;
  if (model) options.model = model;
  if (output) options.output = output;
  return run_demo(options) ? EXIT_SUCCESS : EXIT_FAILURE;
}

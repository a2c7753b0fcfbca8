// SPDX-License-Identifier: MIT
//
// Encodes a sound file to Mimi codes and decodes them again, the way an application does it: three pipelines,
// the GStreamer API, nothing else.
//
//   moshi-demo --input FILE-or-URI --model DIRECTORY-or-hub-id [--codebooks K] [--output DIRECTORY]
//
// It writes input.wav (what the encoder hears), speech.mimi (the codes, packed) and decoded.wav, and prints a table.
// Exit status: 0 success, 1 an error, 2 wrong usage.
#include <gst/gst.h>

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>

#include "app.h"

namespace {

using app::Caps;
using app::fail;
using app::Message;
using app::Object;
using app::Pipeline;
using app::Text;

struct Options {
  std::string input;
  std::string model;
  std::string output = ".";
  int codebooks = 0;  // 0: the encoder's own choice
};

// What passed the codec's source pad, and how long it took. Written by the streaming thread, read after EOS.
struct Run {
  guint64 buffers = 0;
  guint64 bytes = 0;
  GstClockTime duration = 0;
  double load_seconds = 0;
  double work_seconds = 0;  // from the moment the model was there until EOS
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

bool run_codec(const char* description, const Options& options, const std::string& from, const std::string& to,
               const Caps* codes, const char* what, Run* run, Caps* made) {
  auto pipeline = Pipeline::parse(description);
  if (!pipeline) return false;
  auto codec = pipeline->element("codec");
  g_object_set(pipeline->element("from").get(), "location", from.c_str(), nullptr);
  g_object_set(pipeline->element("to").get(), "location", to.c_str(), nullptr);
  g_object_set(codec.get(), "model", options.model.c_str(), nullptr);
  if (codes) {
    g_object_set(pipeline->element("codes").get(), "caps", codes->get(), nullptr);
  } else if (options.codebooks != 0) {
    g_object_set(codec.get(), "codebooks", options.codebooks, nullptr);
  }
  Object<GstPad> pad(gst_element_get_static_pad(codec.get(), "src"));
  gst_pad_add_probe(pad.get(), GST_PAD_PROBE_TYPE_BUFFER, count, run, nullptr);
  if (!play(*pipeline, what, run)) return false;
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

double seconds(GstClockTime time) { return static_cast<double>(time) / GST_SECOND; }

void print_table(const Run& encoded, const Run& decoded, const Caps& caps, const std::string& input,
                 const std::string& codes, const std::string& output) {
  int rate = 25, per = 2;
  gst_structure_get_fraction(gst_caps_get_structure(caps.get(), 0), "framerate", &rate, &per);
  const double frames_seconds = static_cast<double>(encoded.buffers) * per / rate;
  const double kbits = static_cast<double>(encoded.bytes) * 8 / 1000 / frames_seconds;
  const auto frames = static_cast<unsigned long long>(encoded.buffers);
  printf("\n%-8s %8s %9s %8s %12s %10s  %s\n", "", "frames", "seconds", "kbit/s", "x real time", "load s", "file");
  printf("%-8s %8s %9.2f %8s %12s %10s  %s\n", "input", "", seconds(encoded.duration), "", "", "", input.c_str());
  printf("%-8s %8llu %9.2f %8.2f %12.2f %10.2f  %s\n", "encode", frames, frames_seconds, kbits,
         frames_seconds / encoded.work_seconds, encoded.load_seconds, codes.c_str());
  printf("%-8s %8llu %9.2f %8s %12.2f %10.2f  %s\n", "decode", frames, seconds(decoded.duration), "",
         seconds(decoded.duration) / decoded.work_seconds, decoded.load_seconds, output.c_str());
}

// Everything in `caps` but the buffers that only a container needs.
std::string launch_caps(const Caps& caps) {
  Caps plain(gst_caps_copy(caps.get()));
  gst_structure_remove_fields(gst_caps_get_structure(plain.get(), 0), "streamheader", "codec_data", nullptr);
  return Text(gst_caps_to_string(plain.get())).get();
}

bool run_demo(const Options& options) {
  if (g_mkdir_with_parents(options.output.c_str(), 0777) != 0) return fail("cannot make the folder " + options.output);
  const std::string wav = options.output + "/input.wav";
  const std::string codes = options.output + "/speech.mimi";
  const std::string output = options.output + "/decoded.wav";
  Run encoded, decoded;
  Caps caps;
  if (!read_input(options.input, wav) || !encode(options, wav, codes, &encoded, &caps) ||
      !decode(options, codes, caps, output, &decoded))
    return false;
  print_table(encoded, decoded, caps, wav, codes, output);
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
      {"model", 'm', 0, G_OPTION_ARG_FILENAME, &model, "A model's directory or hub id", "MODEL"},
      {"codebooks", 'k', 0, G_OPTION_ARG_INT, &options.codebooks, "Codebooks per frame, 1 to 32", "K"},
      {"output", 'o', 0, G_OPTION_ARG_FILENAME, &output, "The folder to write to (default: here)", "DIRECTORY"},
      {}};
  GOptionContext* context = g_option_context_new("- encode a sound file to Mimi codes and decode them");
  g_option_context_add_main_entries(context, entries, nullptr);
  g_option_context_add_group(context, gst_init_get_option_group());
  GError* raw = nullptr;
  const bool parsed = g_option_context_parse(context, &argc, &argv, &raw);
  g_option_context_free(context);
  app::Error error(raw);
  Text input_text(input), model_text(model), output_text(output);
  if (!parsed || !input || !model || argc > 1) {
    fail(error ? error->message : "give --input FILE and --model DIRECTORY; --help tells more");
    return 2;
  }
  options.input = input;
  options.model = model;
  if (output) options.output = output;
  return run_demo(options) ? EXIT_SUCCESS : EXIT_FAILURE;
}

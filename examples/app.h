// SPDX-License-Identifier: MIT
// What the programs on GStreamer share: owning pointers, errors as one line, and the first sound of any file.
#pragma once

#include <glib/gstdio.h>
#include <gst/gst.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>

namespace app {

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T* pointer) const {
    Free(pointer);
  }
};
using Text = std::unique_ptr<gchar, Deleter<g_free>>;
using Error = std::unique_ptr<GError, Deleter<g_error_free>>;
using Caps = std::unique_ptr<GstCaps, Deleter<gst_caps_unref>>;
using Structure = std::unique_ptr<GstStructure, Deleter<gst_structure_free>>;
using Message = std::unique_ptr<GstMessage, Deleter<gst_message_unref>>;
using Sample = std::unique_ptr<GstSample, Deleter<gst_sample_unref>>;
template <typename T>
using Object = std::unique_ptr<T, Deleter<gst_object_unref>>;

/// Begins every line on standard error.
inline const char* program = "";

inline bool fail(const std::string& sentence) {
  fprintf(stderr, "%s: %s\n", program, sentence.c_str());
  return false;
}

/// Where GStreamer does not know Moshi's elements, looks for them beside the program: where an installation and a build
/// put them. GStreamer's own search, GST_PLUGIN_PATH included, comes first.
void find_elements();

/// Whether GStreamer can take a loudspeaker's sound out of a microphone's.
bool has_echo_cancellation();
/// Parts of a pipeline's description, to stand between `audioconvert ! audioresample` on both sides: behind the
/// microphone, and before the loudspeaker of the same pipeline or process.
std::string echo_canceller();
std::string echo_probe();

/// Takes the options of `entries`, and GStreamer's, off the command line; what is wrong with them is said. `parameters`
/// and `summary` are for --help; either may be null. GStreamer is ready after it, and its elements are found.
inline bool parse_options(const char* parameters, const char* summary, const GOptionEntry* entries, int* argc,
                          char*** argv) {
  GOptionContext* context = g_option_context_new(parameters);
  g_option_context_set_summary(context, summary);
  g_option_context_add_main_entries(context, entries, nullptr);
  g_option_context_add_group(context, gst_init_get_option_group());
  GError* raw = nullptr;
  const bool parsed = g_option_context_parse(context, argc, argv, &raw);
  g_option_context_free(context);
  const Error error(raw);
  if (!parsed) return fail(error->message);
  find_elements();
  return true;
}

/// The message is GStreamer's; the debug detail behind it is shown when GST_DEBUG asks for anything at all.
inline bool fail(const std::string& what, GstMessage* message) {
  GError* raw = nullptr;
  gchar* raw_detail = nullptr;
  gst_message_parse_error(message, &raw, &raw_detail);
  Error error(raw);
  Text detail(raw_detail);
  if (g_getenv("GST_DEBUG") && detail) fprintf(stderr, "%s\n", detail.get());
  return fail(what + ": " + error->message);
}

/// A pipeline that is taken to NULL before it is freed.
class Pipeline {
 public:
  static std::optional<Pipeline> parse(const std::string& description) {
    GError* raw = nullptr;
    GstElement* element = gst_parse_launch_full(description.c_str(), nullptr, GST_PARSE_FLAG_FATAL_ERRORS, &raw);
    Error error(raw);
    if (!element) {
      const std::string sentence = error->message;
      const bool missing = g_error_matches(error.get(), GST_PARSE_ERROR, GST_PARSE_ERROR_NO_SUCH_ELEMENT);
      const bool ours = sentence.find("\"mimi") != std::string::npos || sentence.find("\"moshi") != std::string::npos;
      fail(sentence + (!missing ? ""
                       : ours   ? ". Is GST_PLUGIN_PATH set to the folder of libgstmoshi.so?"
                                : ". Is a package of GStreamer's plugins missing?"));
      return std::nullopt;
    }
    return Pipeline(element);
  }
  Pipeline(Pipeline&&) = default;
  ~Pipeline() {
    if (pipeline_) gst_element_set_state(pipeline_.get(), GST_STATE_NULL);
  }

  GstElement* get() const { return pipeline_.get(); }
  Object<GstElement> element(const char* name) const {
    return Object<GstElement>(gst_bin_get_by_name(GST_BIN(pipeline_.get()), name));
  }
  Object<GstBus> bus() const { return Object<GstBus>(gst_element_get_bus(pipeline_.get())); }

 private:
  explicit Pipeline(GstElement* element) : pipeline_(element) {}
  Object<GstElement> pipeline_;
};

/// Whether no file is named twice, by its path or a URI, so that none is written over what is read or written yet; says
/// which one is. Empty names and devices do not count.
bool distinct(std::initializer_list<std::string> names);

/// Whether a file can be made or replaced; says why not. To be asked before hours of work.
inline bool writable(const std::string& path) {
  const Text folder(g_path_get_dirname(path.c_str()));
  const bool exists = g_file_test(path.c_str(), G_FILE_TEST_EXISTS);
  int problem = 0;
  if (g_file_test(path.c_str(), G_FILE_TEST_IS_DIR)) {
    problem = EISDIR;
  } else if (g_access(exists ? path.c_str() : folder.get(), W_OK) != 0) {
    problem = errno;
  }
  return problem == 0 || fail("cannot write " + path + ": " + g_strerror(problem));
}

/// The URI of a file, or of what is one already.
inline std::optional<std::string> uri_of(const std::string& input) {
  if (gst_uri_is_valid(input.c_str())) return input;
  if (!g_file_test(input.c_str(), G_FILE_TEST_EXISTS)) {
    fail("there is no file " + input);
    return std::nullopt;
  }
  if (!g_file_test(input.c_str(), G_FILE_TEST_IS_REGULAR)) {
    fail(input + " is not a file");
    return std::nullopt;
  }
  GError* raw = nullptr;
  Text uri(gst_filename_to_uri(input.c_str(), &raw));
  Error error(raw);
  if (!uri) {
    fail(error->message);
    return std::nullopt;
  }
  return uri.get();
}

/// Links the first sound stream of the `uridecodebin` to the element "convert" of its pipeline; others (pictures, more
/// languages) are thrown away.
inline void on_stream(GstElement* source, GstPad* pad, gpointer) {
  Object<GstElement> pipeline(GST_ELEMENT(gst_object_get_parent(GST_OBJECT(source))));
  Object<GstElement> convert(gst_bin_get_by_name(GST_BIN(pipeline.get()), "convert"));
  Object<GstPad> wanted(gst_element_get_static_pad(convert.get(), "sink"));
  if (!gst_pad_is_linked(wanted.get()) && gst_pad_link(pad, wanted.get()) == GST_PAD_LINK_OK) return;
  GstElement* nowhere = gst_element_factory_make("fakesink", nullptr);
  g_object_set(nowhere, "async", FALSE, nullptr);
  gst_bin_add(GST_BIN(pipeline.get()), nowhere);
  Object<GstPad> sink(gst_element_get_static_pad(nowhere, "sink"));
  gst_pad_link(pad, sink.get());
  gst_element_sync_state_with_parent(nowhere);
}

inline void on_all_streams(GstElement* source, gpointer user) {
  auto* convert = static_cast<GstElement*>(user);
  Object<GstPad> wanted(gst_element_get_static_pad(convert, "sink"));
  if (gst_pad_is_linked(wanted.get())) return;
  GstStructure* text = gst_structure_new("no-audio", "text", G_TYPE_STRING, "it has no audio stream", nullptr);
  gst_element_post_message(source, gst_message_new_application(GST_OBJECT(source), text));
}

/// Gives the pipeline's `uridecodebin name=source` a file, and its `audioconvert name=convert` the first sound in it. A
/// file without sound ends in an application message with the field "text".
inline void read_from(const Pipeline& pipeline, const std::string& uri) {
  auto source = pipeline.element("source");
  auto convert = pipeline.element("convert");  // lives as long as the pipeline, as the signals do
  g_object_set(source.get(), "uri", uri.c_str(), nullptr);
  g_signal_connect(source.get(), "pad-added", G_CALLBACK(on_stream), nullptr);
  g_signal_connect(source.get(), "no-more-pads", G_CALLBACK(on_all_streams), convert.get());
}

}  // namespace app

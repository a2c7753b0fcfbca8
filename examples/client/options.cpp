// SPDX-License-Identifier: MIT
#include "options.h"

#include <cmath>
#include <vector>

#include "../app.h"

namespace client {
namespace {

bool wrong(const std::string& sentence) { return app::fail(sentence + "; --help tells more"); }

/// Sampling, which the server's query takes by other names.
struct Sampling {
  const char *option, *parameter, *help, *value;
  bool whole;
};
constexpr Sampling kSampling[] = {
    {"temperature", "audio_temperature", "Of the voice (default: the server's, as of the next four)", "T", false},
    {"text-temperature", "text_temperature", "Of the text", "T", false},
    {"top-k", "audio_topk", "Of the voice; 0: all", "K", true},
    {"text-top-k", "text_topk", "Of the text; 0: all", "K", true},
    {"seed", "seed", "Of sampling", "N", true},
};
constexpr size_t kSamplingCount = std::size(kSampling);

/// What GOption writes to.
struct Raw {
  gchar *host = nullptr, *url = nullptr, *token = nullptr, *token_file = nullptr, *input = nullptr, *output = nullptr;
  gchar *text = nullptr, *listen = nullptr, *source = nullptr, *sink = nullptr;
  gchar* sampling[kSamplingCount] = {};
  gint port = Place().port;
  gboolean https = FALSE, insecure = FALSE, echo_cancel = FALSE, no_echo_cancel = FALSE, stats = FALSE;
  double max_lag = Options().max_lag_seconds, after = Options().after_seconds;
  ~Raw() {
    for (gchar* one : {host, url, token, token_file, input, output, text, listen, source, sink}) g_free(one);
    for (gchar* one : sampling) g_free(one);
  }
};

bool take_token(const Raw& raw, Options* options) {
  if (raw.token && raw.token_file) return wrong("--token or --token-file, not both");
  if (raw.token) options->token = raw.token;
  if (!raw.token_file) return true;
  gchar* contents = nullptr;
  GError* raw_error = nullptr;
  const bool read = g_file_get_contents(raw.token_file, &contents, nullptr, &raw_error);
  const app::Text freed(contents);
  const app::Error error(raw_error);
  if (!read) return app::fail(error->message);
  // The file of a server will do: it has a token in each line, and comments.
  const std::unique_ptr<gchar*, app::Deleter<g_strfreev>> lines(g_strsplit(contents, "\n", -1));
  for (gchar** line = lines.get(); *line && options->token.empty(); ++line) {
    const std::string token = g_strstrip(*line);
    if (!token.starts_with('#')) options->token = token;
  }
  return !options->token.empty() || app::fail(std::string("there is no token in ") + raw.token_file);
}

bool take_address(const Raw& raw, const char* positional, Options* options) {
  Place place;
  if (raw.url && positional) return wrong("the server is named twice");
  const char* url = raw.url ? raw.url : positional;
  if (url) place.url = url;
  if (url && !*url) return wrong("the server's URL is empty");
  if (!place.url.empty() && (raw.host || raw.https || raw.port != Place().port))
    return wrong("the server is named by a URL or by --host, --port and --https, not by both");
  if (raw.host) place.host = raw.host;
  if (raw.port < 1 || raw.port > 65535) return wrong("--port is a number from 1 to 65535");
  place.port = raw.port;
  place.https = raw.https;
  Parameters parameters;
  for (size_t i = 0; i < kSamplingCount; ++i) {
    if (!raw.sampling[i]) continue;
    const std::string name = kSampling[i].option, value = raw.sampling[i];
    gchar* end = nullptr;
    const double number = g_ascii_strtod(value.c_str(), &end);
    const bool good = !value.empty() && !*end && std::isfinite(number) && number >= 0;
    if (!good) return wrong("--" + name + " is a number, 0 or more, not \"" + value + "\"");
    if (kSampling[i].whole && value.find_first_not_of("0123456789") != std::string::npos)
      return wrong("--" + name + " is a whole number, not \"" + value + "\"");
    parameters.emplace_back(kSampling[i].parameter, value);
    // Kyutai's Rust server knows two seeds instead.
    if (name != "seed" || number > G_MAXINT32) continue;
    for (const char* part : {"text_seed", "audio_seed"}) parameters.emplace_back(part, value);
  }
  if (options->listen != "both") parameters.emplace_back("listen", options->listen);
  parameters.emplace_back("metadata", "1");
  // Where no sound comes back, statistics are what tells which frames were answered.
  if (options->stats || !options->hears()) parameters.emplace_back("stats", "1");
  std::string problem;
  const auto address = socket_address(place, parameters, &problem);
  if (!address) return wrong(problem);
  options->address = *address;
  return true;
}

bool take_echo(const Raw& raw, Options* options) {
  if (raw.echo_cancel && raw.no_echo_cancel) return wrong("--echo-cancel or --no-echo-cancel, not both");
  const bool possible = options->live() && options->to_speaker();
  if (raw.echo_cancel && !possible) return wrong("--echo-cancel needs the microphone and the speaker");
  if (raw.echo_cancel || raw.no_echo_cancel || !possible) options->echo_cancel = raw.echo_cancel;
  return true;
}

bool take(const Raw& raw, const char* positional, Options* options) {
  if (raw.input) options->input = raw.input;
  if (raw.output) options->output = raw.output;
  if (raw.text) options->text = raw.text;
  if (raw.listen) options->listen = raw.listen;
  if (raw.source) options->source = raw.source;
  if (raw.sink) options->sink = raw.sink;
  options->insecure = raw.insecure;
  options->stats = raw.stats;
  if (options->listen != "both" && options->listen != "audio" && options->listen != "text")
    return wrong("--listen is both, audio or text, not \"" + options->listen + "\"");
  if (!options->hears() && options->to_file()) return wrong("with --listen text there is no sound to be written");
  if (!(raw.max_lag >= 0.1 && raw.max_lag <= 60)) return wrong("--max-lag is a number of seconds from 0.1 to 60");
  if (!(raw.after >= 0 && raw.after <= 3600)) return wrong("--after is a number of seconds from 0 to 3600");
  if (!app::distinct({options->live() ? "" : options->input, options->to_file() ? options->output : "", options->text}))
    return false;
  options->max_lag_seconds = raw.max_lag;
  options->after_seconds = raw.after;
  return take_token(raw, options) && take_address(raw, positional, options) && take_echo(raw, options);
}

std::vector<GOptionEntry> entries_of(Raw* raw) {
  std::vector<GOptionEntry> entries = {
      {"host", 0, 0, G_OPTION_ARG_STRING, &raw->host, "The server (default: localhost)", "NAME"},
      {"port", 0, 0, G_OPTION_ARG_INT, &raw->port, "Its port (default: 8998)", "N"},
      {"https", 0, 0, G_OPTION_ARG_NONE, &raw->https, "It speaks TLS", nullptr},
      {"url", 0, 0, G_OPTION_ARG_STRING, &raw->url, "Its address in one piece; without a scheme: TLS", "URL"},
      {"token", 0, 0, G_OPTION_ARG_STRING, &raw->token, "The access token, where it wants one", "TOKEN"},
      {"token-file", 0, 0, G_OPTION_ARG_FILENAME, &raw->token_file, "A file that holds the access token", "FILE"},
      {"insecure", 0, 0, G_OPTION_ARG_NONE, &raw->insecure, "Accept any certificate, such as a self-made one", nullptr},
      {"input", 'i', 0, G_OPTION_ARG_FILENAME, &raw->input, "What the model hears (default: mic)", "mic|FILE|URI"},
      {"output", 'o', 0, G_OPTION_ARG_FILENAME, &raw->output, "Where its voice goes (default: speaker)",
       "speaker|none|FILE"},
      {"text", 't', 0, G_OPTION_ARG_FILENAME, &raw->text, "Also write its text to a file", "FILE"},
      {"listen", 0, 0, G_OPTION_ARG_STRING, &raw->listen, "What the server sends (default: both)", "both|audio|text"},
      {"after", 0, 0, G_OPTION_ARG_DOUBLE, &raw->after,
       "Silence after a file, in which it may still be answered (default: 2.5)", "SECONDS"},
      {"max-lag", 0, 0, G_OPTION_ARG_DOUBLE, &raw->max_lag,
       "The most sound that waits to be played; older sound is dropped (default: 0.3)", "SECONDS"},
      {"echo-cancel", 0, 0, G_OPTION_ARG_NONE, &raw->echo_cancel,
       "Take the model's voice out of the microphone (default with microphone and speaker)", nullptr},
      {"no-echo-cancel", 0, 0, G_OPTION_ARG_NONE, &raw->no_echo_cancel, "Leave the microphone as it is", nullptr},
      {"audio-source", 0, 0, G_OPTION_ARG_STRING, &raw->source,
       "The microphone, as gst-launch-1.0 writes elements (default: autoaudiosrc)", "ELEMENTS"},
      {"audio-sink", 0, 0, G_OPTION_ARG_STRING, &raw->sink, "The speaker, likewise (default: autoaudiosink)",
       "ELEMENTS"},
      {"stats", 0, 0, G_OPTION_ARG_NONE, &raw->stats, "Print figures of the conversation at its end", nullptr}};
  for (size_t i = 0; i < kSamplingCount; ++i)
    entries.push_back(
        {kSampling[i].option, 0, 0, G_OPTION_ARG_STRING, &raw->sampling[i], kSampling[i].help, kSampling[i].value});
  entries.push_back({});
  return entries;
}

}  // namespace

std::optional<Options> parse_options(int argc, char** argv) {
  Raw raw;
  const auto entries = entries_of(&raw);
  constexpr const char* kSummary =
      "A conversation with a speech model on a server: with microphone and speaker, or from file to\n"
      "file. The model's text goes to standard output. Ctrl-C ends it.";
  if (!app::parse_options("[URL]", kSummary, entries.data(), &argc, &argv)) return std::nullopt;
  if (argc > 2) {
    wrong("what is \"" + std::string(argv[2]) + "\"? Files are named with --input and --output");
    return std::nullopt;
  }
  Options options;
  if (!take(raw, argc > 1 ? argv[1] : nullptr, &options)) return std::nullopt;
  return options;
}

}  // namespace client

// SPDX-License-Identifier: MIT
#include "options.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>

#include "../app.h"
#include "access.h"

namespace server {
namespace {

bool wrong(const std::string& sentence) { return app::fail(sentence + "; --help tells more"); }

/// What GOption writes to; freed at the end.
class Text {
 public:
  Text() = default;
  Text(const Text&) = delete;
  Text& operator=(const Text&) = delete;
  ~Text() { g_free(value_); }
  gchar** out() { return &value_; }
  const char* get() const { return value_; }
  explicit operator bool() const { return value_ != nullptr; }

 private:
  gchar* value_ = nullptr;
};
class List {
 public:
  List() = default;
  List(const List&) = delete;
  List& operator=(const List&) = delete;
  ~List() { g_strfreev(values_); }
  gchar*** out() { return &values_; }
  std::vector<std::string> get() const {
    std::vector<std::string> all;
    for (gchar** one = values_; one && *one; ++one) all.emplace_back(*one);
    return all;
  }

 private:
  gchar** values_ = nullptr;
};

/// Options that are properties of the elements, under the names that the reference's server gives them.
struct Setting {
  const char *option, *property, *help, *value;
};
constexpr Setting kSettings[] = {
    {"moshi-weight", "weights", "The language model's weights", "FILE"},
    {"tokenizer", "tokenizer", "A sentencepiece model", "FILE"},
    {"config-path", "config", "A config.json", "FILE"},
    {"lora-weight", "lora", "A LoRA for the language model", "FILE"},
    {"cfg-coef", "cfg-coef", "Guidance; 1: none", "C"},
    {"device", "device", "Of all models", "NAME"},
    {"precision", "precision", "Of the language model: auto, f32 or bf16", "NAME"},
    {"threads", "threads", "Compute threads (default: all cores)", "N"},
};

/// All numbers are taken as text, so that one rule says what is wrong with one.
struct Numbers {
  Text port, temperature, text_temperature, top_k, text_top_k, seed;
  Text sessions, queue, max_lag, idle, session_limit, drain;
  Text max_message, messages_per_second, bytes_per_second, unsent_bytes;
};

struct Raw {
  Text host, ssl, model, mimi_weight, token_file, page, log;
  List conditions, tokens, origins;
  gboolean tls = FALSE, help = FALSE;
  Numbers numbers;
  Text settings[std::size(kSettings)];
};

template <typename T>
bool take_number(const Text& text, const char* option, double least, double most, T* out) {
  if (!text) return true;
  char* end = nullptr;
  const double value = g_ascii_strtod(text.get(), &end);
  const bool whole = !std::is_floating_point_v<T>;
  if (end == text.get() || *end || !(value >= least && value <= most) || (whole && value != std::floor(value))) {
    char range[80];
    snprintf(range, sizeof range, "%s from %.15g to %.15g", whole ? "a whole number" : "a number", least, most);
    return wrong(std::string(option) + " is " + range + ", not \"" + text.get() + "\"");
  }
  *out = static_cast<T>(value);
  return true;
}

template <typename T>
bool take_number(const Text& text, const char* option, double least, double most, std::optional<T>* out) {
  T value{};
  if (!take_number(text, option, least, most, &value)) return false;
  if (text) *out = value;
  return true;
}

bool take_seed(const Text& text, std::optional<int64_t>* seed) {
  if (!text) return true;
  gint64 value = 0;
  if (!g_ascii_string_to_signed(text.get(), 10, 0, G_MAXINT64, &value, nullptr))
    return wrong(std::string("--seed is a whole number, 0 or more, not \"") + text.get() + "\"");
  *seed = value;
  return true;
}

bool take_numbers(const Numbers& raw, Options* options) {
  constexpr double kDay = 24 * 3600, kYear = 366 * kDay;
  constexpr double kGigabyte = 1 << 30;
  SessionLimits& limits = options->limits;
  Sampling& sampling = options->sampling;
  return take_number(raw.port, "--port", 0, 65535, &options->port) &&
         take_number(raw.temperature, "--temperature", 0, 100, &sampling.temperature) &&
         take_number(raw.text_temperature, "--text-temperature", 0, 100, &sampling.text_temperature) &&
         take_number(raw.top_k, "--top-k", 0, 1e6, &sampling.top_k) &&
         take_number(raw.text_top_k, "--text-top-k", 0, 1e6, &sampling.text_top_k) &&
         take_seed(raw.seed, &sampling.seed) && take_number(raw.sessions, "--sessions", 1, 1000, &options->sessions) &&
         take_number(raw.queue, "--queue", 0, 10000, &options->queue) &&
         take_number(raw.max_lag, "--max-lag", 0.16, 60, &limits.max_lag_seconds) &&
         take_number(raw.idle, "--idle", 0, kYear, &limits.idle_seconds) &&
         take_number(raw.session_limit, "--session-limit", 0, kYear, &limits.session_seconds) &&
         take_number(raw.drain, "--drain", 0, kDay, &options->drain_seconds) &&
         take_number(raw.max_message, "--max-message", 1024, kGigabyte, &options->message_bytes) &&
         take_number(raw.messages_per_second, "--messages-per-second", 1, 1e6, &limits.messages_per_second) &&
         take_number(raw.bytes_per_second, "--bytes-per-second", 1000, kGigabyte, &limits.bytes_per_second) &&
         take_number(raw.unsent_bytes, "--unsent-bytes", 10000, kGigabyte, &limits.unsent_bytes);
}

bool take_model(const Raw& raw, Model* model) {
  if (raw.model) model->model = raw.model.get();
  if (raw.mimi_weight) model->mimi_weights = raw.mimi_weight.get();
  for (size_t i = 0; i < std::size(kSettings); ++i) {
    if (raw.settings[i]) model->settings[kSettings[i].property] = raw.settings[i].get();
  }
  if (model->settings.contains("weights") && !raw.model && !raw.mimi_weight)
    return wrong("--moshi-weight does not tell the codec that goes with it: give --model or --mimi-weight, too");
  for (const std::string& one : raw.conditions.get()) {
    const size_t sign = one.find('=');
    if (sign == 0 || sign == std::string::npos) return wrong("a condition is NAME=VALUE, not \"" + one + "\"");
    model->conditions[one.substr(0, sign)] = one.substr(sign + 1);
  }
  return true;
}

bool add_token(std::string token, const std::string& where, Options* options) {
  if (token.empty() || token.find_first_of(" \t\r\n") != std::string::npos)
    return wrong("a token of " + where + " is empty or has spaces in it");
  options->tokens.push_back(std::move(token));
  return true;
}

bool take_token_file(const std::string& path, Options* options) {
  std::ifstream file(path);
  std::string line;
  const size_t before = options->tokens.size();
  while (std::getline(file, line)) {
    const app::Text token(g_strstrip(g_strdup(line.c_str())));
    if (!*token.get() || *token.get() == '#') continue;
    if (!add_token(token.get(), path, options)) return false;
  }
  if (!file.eof()) return wrong("cannot read " + path);
  // Open for everybody is not what who names a file of tokens wants.
  return options->tokens.size() > before || wrong("there is no token in " + path);
}

bool take_access(const Raw& raw, Options* options) {
  for (std::string& token : raw.tokens.get()) {
    if (!add_token(std::move(token), "--token", options)) return false;
  }
  if (raw.token_file && !take_token_file(raw.token_file.get(), options)) return false;
  for (const std::string& one : raw.origins.get()) {
    const auto origin = one == "*" || one == "null" ? one : normal_origin(one);
    if (!origin) return wrong("an origin is like https://moshi.example.org, or *, not \"" + one + "\"");
    options->origins.push_back(*origin);
  }
  return true;
}

bool take_rest(const Raw& raw, Options* options) {
  if (raw.host) options->host = raw.host.get();
  if (options->host.empty()) return wrong("--host is a name or an address of this machine");
  if (raw.ssl && raw.tls) return wrong("--tls is --ssl with a folder of its own: give one of the two");
  if (raw.ssl) options->tls_folder = raw.ssl.get();
  if (raw.tls)
    options->tls_folder = app::Text(g_build_filename(g_get_user_data_dir(), "gst-moshi", "tls", nullptr)).get();
  if (raw.ssl && options->tls_folder.empty()) return wrong("--ssl takes a folder");
  if (raw.page) options->page = raw.page.get();
  if (!options->page.empty() && options->page != "none" && !g_file_test(options->page.c_str(), G_FILE_TEST_IS_DIR))
    return wrong("there is no folder " + options->page + " for --static");
  const std::string log = raw.log ? raw.log.get() : "text";
  if (log != "text" && log != "json") return wrong("--log is text or json, not \"" + log + "\"");
  options->log_style = log == "json" ? log::Style::kJson : log::Style::kText;
  return true;
}

GOptionEntry text_entry(const char* name, char letter, Text* text, const char* help, const char* value,
                        GOptionArg kind = G_OPTION_ARG_STRING) {
  return {name, letter, 0, kind, text->out(), help, value};
}
GOptionEntry list_entry(const char* name, List* list, const char* help, const char* value) {
  return {name, 0, 0, G_OPTION_ARG_STRING_ARRAY, list->out(), help, value};
}

using Entries = std::vector<GOptionEntry>;
constexpr GOptionArg kFile = G_OPTION_ARG_FILENAME;

Entries main_entries(Raw* raw) {
  return {
      text_entry("host", 0, &raw->host, "Where to listen (default: localhost; 0.0.0.0 or ::: everywhere)", "NAME"),
      text_entry("port", 'p', &raw->numbers.port, "The port (default: 8998); 0: any that is free", "N"),
      text_entry("model", 'm', &raw->model, "A model's directory or hub id (default: the embedded one)", "MODEL",
                 kFile),
      {"tls", 0, 0, G_OPTION_ARG_NONE, &raw->tls, "HTTPS with a certificate that is made at the first start", nullptr},
      text_entry("ssl", 0, &raw->ssl, "HTTPS with cert.pem and key.pem of a folder; made when missing", "DIR", kFile),
      text_entry("sessions", 's', &raw->numbers.sessions, "Conversations at once (default: as many as are measured)",
                 "N"),
      text_entry("queue", 0, &raw->numbers.queue, "Clients that may wait (default: 16)", "N"),
      text_entry("log", 0, &raw->log, "The log, on standard error: text or json", "STYLE"),
      {"help", 'h', 0, G_OPTION_ARG_NONE, &raw->help, "Show this, and end", nullptr}};
}

Entries model_entries(Raw* raw) {
  Entries entries = {text_entry("hf-repo", 0, &raw->model, "The same as --model", "MODEL", kFile),
                     text_entry("mimi-weight", 0, &raw->mimi_weight, "The codec's weights", "FILE", kFile)};
  for (size_t i = 0; i < std::size(kSettings); ++i)
    entries.push_back(text_entry(kSettings[i].option, 0, &raw->settings[i], kSettings[i].help, kSettings[i].value));
  entries.push_back(list_entry("condition", &raw->conditions, "May be repeated", "NAME=VALUE"));
  return entries;
}

Entries sampling_entries(Numbers* raw) {
  return {text_entry("temperature", 0, &raw->temperature, "Of the codes; 0: always the likeliest", "T"),
          text_entry("text-temperature", 0, &raw->text_temperature, "Of the text", "T"),
          text_entry("top-k", 0, &raw->top_k, "Of the codes; 0: all", "K"),
          text_entry("text-top-k", 0, &raw->text_top_k, "Of the text; 0: all", "K"),
          text_entry("seed", 0, &raw->seed, "The same for all (default: drawn for each)", "N")};
}

Entries access_entries(Raw* raw) {
  return {list_entry("token", &raw->tokens, "Who has this may talk; may be repeated (default: everybody)", "TOKEN"),
          text_entry("token-file", 0, &raw->token_file, "Tokens, one in a line, which no list of processes shows",
                     "FILE", kFile),
          list_entry("origin", &raw->origins, "Pages of this origin may talk, too; *: all pages; may be repeated",
                     "ORIGIN"),
          text_entry("static", 0, &raw->page, "A folder in place of the page in the program; none: no page", "DIR|none",
                     kFile)};
}

Entries limit_entries(Numbers* raw) {
  return {
      text_entry("max-lag", 0, &raw->max_lag, "Sound that may wait; older is dropped (default: 2)", "SECONDS"),
      text_entry("idle", 0, &raw->idle, "Ends who sends nothing for so long (default: 60; 0: nobody)", "SECONDS"),
      text_entry("session-limit", 0, &raw->session_limit, "Longest conversation (default: 0: any)", "SECONDS"),
      text_entry("drain", 0, &raw->drain, "What conversations get to end when the server stops (default: 10)",
                 "SECONDS"),
      text_entry("max-message", 0, &raw->max_message, "Longest message (default: 65536)", "BYTES"),
      text_entry("messages-per-second", 0, &raw->messages_per_second, "From one client (default: 200)", "N"),
      text_entry("bytes-per-second", 0, &raw->bytes_per_second, "From one client (default: 131072)", "N"),
      text_entry("unsent-bytes", 0, &raw->unsent_bytes, "Kept for a client that reads slowly (default: 524288)", "N")};
}

void add_group(GOptionContext* context, const char* name, const char* title, Entries entries) {
  entries.push_back({});
  GOptionGroup* group = g_option_group_new(name, title, title, nullptr, nullptr);
  g_option_group_add_entries(group, entries.data());
  g_option_context_add_group(context, group);
}

constexpr const char* kSummary =
    "Conversations with a language model that listens while it speaks: a page for browsers,\n"
    "and the protocol of Kyutai's servers for their clients and moshi-client.";

using Context = std::unique_ptr<GOptionContext, app::Deleter<g_option_context_free>>;

Context make_context(Raw* raw) {
  Context context(g_option_context_new(nullptr));
  g_option_context_set_summary(context.get(), kSummary);
  g_option_context_set_help_enabled(context.get(), FALSE);  // or --help would show one group only
  Entries entries = main_entries(raw);
  entries.push_back({});
  g_option_context_add_main_entries(context.get(), entries.data(), nullptr);
  add_group(context.get(), "model", "Options of the model:", model_entries(raw));
  add_group(context.get(), "sampling",
            "Defaults of sampling (default: the model's own):", sampling_entries(&raw->numbers));
  add_group(context.get(), "access", "Options of access:", access_entries(raw));
  add_group(context.get(), "limits", "Limits:", limit_entries(&raw->numbers));
  return context;
}

}  // namespace

std::optional<Options> parse_options(int argc, char** argv) {
  Raw raw;
  const Context context = make_context(&raw);
  g_option_context_add_group(context.get(), gst_init_get_option_group());
  GError* problem = nullptr;
  g_option_context_parse(context.get(), &argc, &argv, &problem);
  const app::Error error(problem);
  Options options;
  if (error) {
    app::fail(error->message);
  } else if (raw.help) {
    const app::Text help(g_option_context_get_help(make_context(&raw).get(), FALSE, nullptr));
    printf("%s", help.get());
    std::exit(EXIT_SUCCESS);
  } else if (argc > 1) {
    wrong("what is \"" + std::string(argv[1]) + "\"?");
  } else if (take_numbers(raw.numbers, &options) && take_model(raw, &options.model) && take_access(raw, &options) &&
             take_rest(raw, &options)) {
    app::find_elements();
    return options;
  }
  return std::nullopt;
}

}  // namespace server

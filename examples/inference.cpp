// SPDX-License-Identifier: MIT
//
// A recording through a language model, offline: the equivalent of the reference implementation's run_inference, on the
// core's own interface. GStreamer only reads the recording.
//
//   moshi-inference [--model DIRECTORY-or-hub-id] [options] INPUT [OUTPUT.wav]
//
// What the model says goes to OUTPUT (several answers: OUTPUT-0.wav, OUTPUT-1.wav, ...), its text to standard output.
// Exit status: 0 success, 1 an error, 2 wrong usage.
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "app.h"
#include "generation.h"
#include "sound.h"

namespace {

using app::fail;
using app::Item;
using app::Models;
using app::Settings;

struct Options {
  Settings settings;
  std::string input, output, tokens;
  bool as_float = false;
};

/// What GOption writes to; moved to Options and freed when it is done.
struct Raw {
  gchar *model = nullptr, *mimi_model = nullptr, *core = nullptr, *mimi_weights = nullptr, *lm_weights = nullptr;
  gchar *tokenizer = nullptr, *config = nullptr, *lora = nullptr, *precision = nullptr, *tokens = nullptr;
  gchar **conditions = nullptr, **negative_conditions = nullptr, **files = nullptr;
  ~Raw() {
    for (gchar* text : {model, mimi_model, core, mimi_weights, lm_weights, tokenizer, config, lora, precision, tokens})
      g_free(text);
    for (gchar** list : {conditions, negative_conditions, files}) g_strfreev(list);
  }
};

bool wrong(const std::string& sentence) { return fail(sentence + "; --help tells more"); }

bool parse_conditions(gchar** list, std::vector<std::pair<std::string, std::string>>* conditions) {
  for (; list && *list; ++list) {
    const char* sign = std::strchr(*list, '=');
    if (!sign || sign == *list) return wrong("a condition is NAME=VALUE, not \"" + std::string(*list) + "\"");
    conditions->emplace_back(std::string(*list, static_cast<size_t>(sign - *list)), sign + 1);
  }
  return true;
}

bool parse_precision(const gchar* name, MoshiPrecision* precision) {
  if (!name) return true;
  constexpr const char* kNames[] = {"auto", "f32", "bf16", "f16", "int8", "int4"};
  for (int i = 0; i < 6; ++i) {
    if (std::strcmp(name, kNames[i]) != 0) continue;
    *precision = static_cast<MoshiPrecision>(i);
    return true;
  }
  return wrong("there is no precision \"" + std::string(name) + "\"");
}

// The library of the build or installation that this program is part of, unless another is named.
std::string core_of(const gchar* named) {
  namespace fs = std::filesystem;
  if (named) return named;
  const char* variable = g_getenv("MOSHI_CORE");
  if (variable && *variable) return "";
  std::error_code error;
  const fs::path here = fs::read_symlink("/proc/self/exe", error).parent_path();
  for (const char* place : {"../lib/libmoshi-core.so", MOSHI_CORE_FROM_BINDIR}) {
    const fs::path file = (here / place).lexically_normal();
    if (!error && fs::exists(file, error)) return file.string();
  }
  return "";
}

bool take(const Raw& raw, Options* options) {
  const auto text = [](const gchar* given) { return std::string(given ? given : ""); };
  Settings& settings = options->settings;
  const guint files = raw.files ? g_strv_length(raw.files) : 0;
  if (files < 1 || files > 2) return wrong("give one recording, and at most one file to write to");
  options->input = raw.files[0];
  if (files == 2) options->output = raw.files[1];
  options->tokens = text(raw.tokens);
  settings.core = core_of(raw.core);
  settings.model = text(raw.model);
  settings.mimi_model = text(raw.mimi_model);
  settings.mimi_weights = text(raw.mimi_weights);
  settings.lm_weights = text(raw.lm_weights);
  settings.tokenizer = text(raw.tokenizer);
  settings.config = text(raw.config);
  settings.lora = text(raw.lora);
  if (raw.lm_weights && !raw.model && !raw.mimi_model && !raw.mimi_weights)
    return wrong("--moshi-weight does not tell its codec: give --model, --mimi-model or --mimi-weight, too");
  if (settings.batch < 1 || settings.batch > 1024) return wrong("--batch-size is a number from 1 to 1024");
  return parse_precision(raw.precision, &settings.precision) &&
         parse_conditions(raw.conditions, &settings.conditions) &&
         parse_conditions(raw.negative_conditions, &settings.negative_conditions) &&
         app::distinct({options->input, options->output, options->tokens});
}

bool parse(int argc, char** argv, Options* options) {
  Raw raw;
  Settings& s = options->settings;
  gint64 seed = s.seed;
  gboolean greedy = FALSE, as_float = FALSE;
  const GOptionEntry entries[] = {
      {"model", 'm', 0, G_OPTION_ARG_FILENAME, &raw.model, "A model's directory or hub id (default: the embedded one)",
       "MODEL"},
      {"mimi-model", 0, 0, G_OPTION_ARG_FILENAME, &raw.mimi_model, "Another model for the codec", "MODEL"},
      {"mimi-weight", 0, 0, G_OPTION_ARG_FILENAME, &raw.mimi_weights, "The codec's weights", "FILE"},
      {"moshi-weight", 0, 0, G_OPTION_ARG_FILENAME, &raw.lm_weights, "The language model's weights", "FILE"},
      {"tokenizer", 0, 0, G_OPTION_ARG_FILENAME, &raw.tokenizer, "A sentencepiece model", "FILE"},
      {"config", 0, 0, G_OPTION_ARG_FILENAME, &raw.config, "A config.json", "FILE"},
      {"lora", 0, 0, G_OPTION_ARG_FILENAME, &raw.lora, "A LoRA for the language model", "FILE"},
      {"precision", 0, 0, G_OPTION_ARG_STRING, &raw.precision, "auto, f32 or bf16", "NAME"},
      {"threads", 0, 0, G_OPTION_ARG_INT, &s.threads, "Compute threads (default: all cores)", "N"},
      {"batch-size", 'b', 0, G_OPTION_ARG_INT, &s.batch, "How many answers (default 8)", "N"},
      {"greedy", 0, 0, G_OPTION_ARG_NONE, &greedy, "Take the likeliest token instead of sampling", nullptr},
      {"seed", 0, 0, G_OPTION_ARG_INT64, &seed, "Of the first answer; -1 draws one (default 4242)", "N"},
      {"temperature", 0, 0, G_OPTION_ARG_DOUBLE, &s.temperature, "Of the codes (default: the model's)", "T"},
      {"text-temperature", 0, 0, G_OPTION_ARG_DOUBLE, &s.text_temperature, "Of the text", "T"},
      {"top-k", 0, 0, G_OPTION_ARG_INT, &s.top_k, "Of the codes; 0: all", "K"},
      {"text-top-k", 0, 0, G_OPTION_ARG_INT, &s.text_top_k, "Of the text; 0: all", "K"},
      {"cfg-coef", 0, 0, G_OPTION_ARG_DOUBLE, &s.cfg_coef, "Guidance (default 1: none)", "C"},
      {"condition", 0, 0, G_OPTION_ARG_STRING_ARRAY, &raw.conditions, "May be repeated", "NAME=VALUE"},
      {"negative-condition", 0, 0, G_OPTION_ARG_STRING_ARRAY, &raw.negative_conditions, "What guidance leads away from",
       "NAME=VALUE"},
      {"eos-max-duration", 0, 0, G_OPTION_ARG_DOUBLE, &s.most_seconds_after_end,
       "How long a model that ends by itself may go on after the recording (default 60)", "SECONDS"},
      {"float", 0, 0, G_OPTION_ARG_NONE, &as_float, "Write 32-bit float samples instead of 16-bit ones", nullptr},
      {"tokens", 0, 0, G_OPTION_ARG_FILENAME, &raw.tokens, "Also write text token and codes, a line a frame", "FILE"},
      {"core", 0, 0, G_OPTION_ARG_FILENAME, &raw.core, "libmoshi-core.so", "LIBRARY"},
      {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &raw.files, nullptr, "INPUT [OUTPUT.wav]"},
      {}};
  constexpr const char* kSummary = "Plays a recording to a language model and writes down its answers.";
  if (!app::parse_options(nullptr, kSummary, entries, &argc, &argv)) return false;
  s.seed = seed;
  s.greedy = greedy;
  options->as_float = as_float;
  return take(raw, options);
}

/// The file of item `index`, as the reference's tool names it.
std::string numbered(const std::string& path, size_t index, size_t count) {
  if (count == 1) return path;
  std::filesystem::path file(path);
  file.replace_filename(file.stem().string() + "-" + std::to_string(index) + file.extension().string());
  return file.string();
}

bool write_tokens(const std::string& path, const Item& item, int own_streams) {
  std::ofstream out(path);
  const auto width = static_cast<size_t>(own_streams);
  for (size_t frame = 0; frame < item.text.size(); ++frame) {
    out << item.text[frame];
    for (size_t k = 0; k < width; ++k) out << ' ' << item.codes[frame * width + k];
    out << '\n';
  }
  out.flush();
  return out.good() || fail("cannot write " + path + ": " + std::strerror(errno));
}

bool write_items(const Models& models, const Options& options, const std::vector<Item>& items) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (!options.tokens.empty() &&
        !write_tokens(numbered(options.tokens, i, items.size()), items[i], models.info().own_streams))
      return false;
    if (options.output.empty() || models.info().own_streams == 0) continue;
    const std::string path = numbered(options.output, i, items.size());
    const auto pcm = models.decode(items[i]);
    const auto format = options.as_float ? app::SampleFormat::kFloat32 : app::SampleFormat::kInt16;
    if (!pcm || !app::write_wav(path, *pcm, models.sample_rate(), format)) return false;
    fprintf(stderr, "%s: wrote %s, %.1f seconds\n", app::program, path.c_str(),
            static_cast<double>(pcm->size()) / models.sample_rate());
  }
  return true;
}

bool run(const Options& options) {
  if (!app::uri_of(options.input)) return false;
  for (const std::string& path : {options.output, options.tokens}) {
    if (!path.empty() && !app::writable(path)) return false;
  }
  const auto models = Models::open(options.settings);
  if (!models) return false;
  const auto pcm = app::read_sound(options.input, models->sample_rate());
  if (!pcm) return false;
  if (!options.output.empty() && models->info().own_streams == 0)
    fail("this model only writes: there will be no " + options.output);

  const auto say = [&](int32_t token) {
    if (models->has_tokenizer()) {
      const std::string piece = models->piece(token);
      fwrite(piece.data(), 1, piece.size(), stdout);
    } else {
      printf("%d ", token);
    }
    fflush(stdout);
  };
  std::vector<Item> items;
  int64_t steps = 0;
  const gint64 start = g_get_monotonic_time();
  const bool done = models->generate(options.settings, *pcm, say, &items, &steps);
  printf("\n");
  if (!done) return false;
  const double seconds = static_cast<double>(g_get_monotonic_time() - start) / 1e6;
  fprintf(stderr, "%s: %lld steps in %.2f s, %.2f ms each\n", app::program, static_cast<long long>(steps), seconds,
          steps > 0 ? 1000 * seconds / static_cast<double>(steps) : 0.0);
  return write_items(*models, options, items);
}

}  // namespace

int main(int argc, char** argv) {
  app::program = "inference";
  Options options;
  if (!parse(argc, argv, &options)) return 2;
  return run(options) ? EXIT_SUCCESS : EXIT_FAILURE;
}

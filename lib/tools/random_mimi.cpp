// SPDX-License-Identifier: MIT
// moshi-random-mimi: writes a Mimi with random weights, for tests and for trying things out without a download.
#include <charconv>
#include <cstdio>
#include <string>
#include <string_view>

#include "checkpoint/json_text.h"
#include "common/error.h"
#include "mimi/random_model.h"
#include "tools/audio_file.h"

namespace {

constexpr const char* kUsage =
    "Usage: moshi-random-mimi --output DIR [options]\n"
    "Writes a Mimi with random weights, scaled so that codes differ from frame to frame, as a model directory.\n"
    "  --output DIR    the directory; made if it is not there\n"
    "  --seed N        other weights for each N; the same ones everywhere for the same N (0)\n"
    "  --config FILE   a Mimi configuration as JSON (Kyutai's published Mimi)\n"
    "  --speech FILE   speech to scale the layers on, mono: .wav, or .f32 at the model's rate (synthetic speech)\n"
    "  --seconds X     how much of the speech is used (16)\n"
    "  --threads N     threads to use; does not change the result (all cores)\n";

struct Options {
  std::string output;
  std::string config;
  std::string speech;
  uint64_t seed = 0;
  double seconds = 16.0;
  int threads = 0;
};

[[noreturn]] void wrong(const std::string& what) {
  throw moshi::Error(MOSHI_ERR_INVALID_ARGUMENT, what + "\n" + kUsage);
}

template <class T>
T number(const std::string& option, const std::string& text) {
  T value{};
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) {
    wrong(option + " needs a number, not \"" + text + "\"");
  }
  return value;
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i];
    if (i + 1 >= argc) wrong(name + " needs a value");
    const std::string value = argv[i + 1];
    if (name == "--output") {
      options.output = value;
    } else if (name == "--config") {
      options.config = value;
    } else if (name == "--speech") {
      options.speech = value;
    } else if (name == "--seed") {
      options.seed = number<uint64_t>(name, value);
    } else if (name == "--seconds") {
      options.seconds = number<double>(name, value);
    } else if (name == "--threads") {
      options.threads = number<int>(name, value);
    } else {
      wrong("Unknown option " + name);
    }
  }
  if (options.output.empty()) wrong("--output is missing");
  if (!(options.seconds > 0.0 && options.seconds <= 600.0)) wrong("--seconds must be above 0 and at most 600");
  return options;
}

void run(const Options& options) {
  using namespace moshi;
  const mimi::Config config = options.config.empty()
                                  ? mimi::default_config()
                                  : mimi::parse_config(checkpoint::read_text_file(options.config), options.config);
  std::vector<float> speech = options.speech.empty()
                                  ? mimi::synthetic_speech(config.sample_rate, options.seconds, options.seed)
                                  : tools::read_mono(options.speech, config.sample_rate);
  const auto most = static_cast<size_t>(options.seconds * config.sample_rate);
  if (speech.size() > most) speech.resize(most);
  const mimi::RandomModel model = mimi::make_random_model(config, options.seed, speech, options.threads);
  const std::string weights = mimi::write_random_model(options.output, model);
  std::printf("%s\n", weights.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--help") return std::fputs(kUsage, stdout) < 0;
  }
  try {
    run(parse(argc, argv));
    return 0;
  } catch (const moshi::Error& e) {
    std::fprintf(stderr, "moshi-random-mimi: %s\n", e.what());
    if (!e.detail().empty()) std::fprintf(stderr, "  %s\n", e.detail().c_str());
    return e.status() == MOSHI_ERR_INVALID_ARGUMENT ? 2 : 1;
  }
}

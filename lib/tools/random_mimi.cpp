// SPDX-License-Identifier: MIT
// moshi-random-mimi: writes a Mimi with random weights, for tests and for trying things out without a download.
#include <cstdio>
#include <string>

#include "checkpoint/json_text.h"
#include "common/error.h"
#include "mimi/random_model.h"
#include "tools/audio_file.h"
#include "tools/command_line.h"

namespace {

namespace tools = moshi::tools;

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

Options parse(int argc, char** argv) {
  Options options;
  tools::parse_options(argc, argv, [&](const std::string& name, const std::string& value) {
    if (name == "--output") {
      options.output = value;
    } else if (name == "--config") {
      options.config = value;
    } else if (name == "--speech") {
      options.speech = value;
    } else if (name == "--seed") {
      options.seed = tools::number<uint64_t>(name, value);
    } else if (name == "--seconds") {
      options.seconds = tools::number<double>(name, value);
    } else if (name == "--threads") {
      options.threads = tools::number<int>(name, value);
    } else {
      return false;
    }
    return true;
  });
  if (options.output.empty()) throw tools::UsageError("--output is missing");
  if (!(options.seconds > 0.0 && options.seconds <= 600.0))
    throw tools::UsageError("--seconds must be above 0 and at most 600");
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
  return moshi::tools::run_tool("moshi-random-mimi", kUsage, argc, argv, [&] { run(parse(argc, argv)); });
}

// SPDX-License-Identifier: MIT
//
// The core from C++, without GStreamer: a whole recording to codes and back, the same frame by frame, and four streams
// in lockstep under an execution mask.
//
//   ffmpeg -i speech.wav -f f32le -ac 1 -ar 24000 speech.f32
//   moshi-core-api [--model DIRECTORY] [--codebooks K] [--core LIBRARY] [--threads N] speech.f32 decoded.f32
//
// Audio files hold raw float32 samples in the machine's byte order, mono, at the model's rate; "-" is standard input or
// output. Exit status: 0 success, 1 an error, 2 wrong usage.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "moshi/core.hpp"

namespace {

namespace mc = moshi::core;

constexpr const char* kUsage =
    "usage: moshi-core-api [--model MODEL] [options] INPUT [OUTPUT]\n"
    "  INPUT, OUTPUT     raw float32 samples, mono, at the model's rate; - is a standard stream\n"
    "  --model MODEL     directory or hub id of the model; without it, the embedded one\n"
    "  --codebooks K     how many codebooks to use (default 8)\n"
    "  --threads N       compute threads (default: all cores)\n"
    "  --core LIBRARY    libmoshi-core.so (default: the variable MOSHI_CORE, then the system's search path)\n"
    "  --help            this text\n";

struct Options {
  std::string model, core, input, output;
  int codebooks = 8;
  int threads = 0;
};

bool fail(const std::string& sentence) {
  std::fprintf(stderr, "moshi-core-api: %s\n", sentence.c_str());
  return false;
}

bool fail(const mc::Error& error) {
  return fail(error.detail.empty() ? error.message : error.message + " (" + error.detail + ")");
}

bool parse_number(const char* text, int* number) {
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);
  if (end == text || *end != '\0' || value < 0 || value > 10000) return false;
  *number = static_cast<int>(value);
  return true;
}

std::optional<Options> parse(std::span<char*> arguments) {
  Options options;
  std::vector<std::string> files;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string name = arguments[i];
    if (name.size() < 2 || name.rfind("--", 0) != 0) {
      files.push_back(name);
      continue;
    }
    if (i + 1 == arguments.size()) return fail(name + " needs a value"), std::nullopt;
    const char* value = arguments[++i];
    bool good = true;
    if (name == "--model") {
      options.model = value;
    } else if (name == "--core") {
      options.core = value;
    } else if (name == "--codebooks") {
      good = parse_number(value, &options.codebooks);
    } else if (name == "--threads") {
      good = parse_number(value, &options.threads);
    } else {
      return fail("there is no option " + name), std::nullopt;
    }
    if (!good) return fail(name + " takes a number, not \"" + value + "\""), std::nullopt;
  }
  if (files.empty() || files.size() > 2) return fail("one input and at most one output are needed"), std::nullopt;
  options.input = files[0];
  if (files.size() == 2) options.output = files[1];
  return options;
}

struct CloseFile {
  void operator()(std::FILE* file) const {
    if (file != stdin && file != stdout) std::fclose(file);
  }
};
using File = std::unique_ptr<std::FILE, CloseFile>;

bool read_audio(const std::string& path, std::vector<float>* pcm) {
  const File file(path == "-" ? stdin : std::fopen(path.c_str(), "rb"));
  if (!file) return fail("cannot open " + path + ": " + std::strerror(errno));
  std::array<float, 4096> part;
  size_t got;
  while ((got = std::fread(part.data(), sizeof(float), part.size(), file.get())) > 0) {
    pcm->insert(pcm->end(), part.begin(), part.begin() + static_cast<ptrdiff_t>(got));
  }
  if (std::ferror(file.get())) return fail("cannot read " + path + ": " + std::strerror(errno));
  return !pcm->empty() || fail(path + " holds no samples");
}

bool write_audio(const std::string& path, std::span<const float> pcm) {
  const File file(path == "-" ? stdout : std::fopen(path.c_str(), "wb"));
  if (!file) return fail("cannot open " + path + ": " + std::strerror(errno));
  const bool written = std::fwrite(pcm.data(), sizeof(float), pcm.size(), file.get()) == pcm.size();
  return (written && std::fflush(file.get()) == 0) || fail("cannot write " + path + ": " + std::strerror(errno));
}

/// A whole recording in one go.
bool whole(const mc::Engine& engine, std::span<const float> pcm, const Options& options, mc::Codes* codes) {
  auto encoded = mc::encode_all(engine, pcm, options.codebooks);
  if (!encoded) return fail(encoded.error());
  auto decoded = mc::decode_all(engine, *encoded);
  if (!decoded) return fail(decoded.error());
  std::fprintf(stderr, "whole:  %zu samples -> %zu frames of %d codes -> %zu samples\n", pcm.size(), encoded->frames(),
               encoded->codebooks, decoded->size());
  *codes = std::move(*encoded);
  return options.output.empty() || write_audio(options.output, *decoded);
}

/// The same, one frame at a time, as audio comes in from a microphone.
bool frame_by_frame(const mc::Engine& engine, std::span<const float> pcm, const mc::Codes& expected) {
  const auto info = engine.info();
  if (!info) return fail(info.error());
  auto session = engine.session({.roles = MOSHI_ROLE_ENCODE});
  if (!session) return fail(session.error());
  const auto samples = static_cast<size_t>(info->frame_samples);
  const auto width = static_cast<size_t>(expected.codebooks);
  std::vector<uint16_t> codes(width);
  for (size_t frame = 0; frame < pcm.size() / samples; ++frame) {
    if (auto done = session->encode(pcm.subspan(frame * samples, samples), expected.codebooks, codes); !done) {
      return fail(done.error());
    }
    if (!std::equal(codes.begin(), codes.end(), expected.data.begin() + static_cast<ptrdiff_t>(frame * width))) {
      return fail("frame " + std::to_string(frame) + " has other codes than in the whole recording");
    }
  }
  std::fprintf(stderr, "stream: %zu frames, the same codes\n", pcm.size() / samples);
  return true;
}

/// Four streams that hear the same recording, each at its own pace: row r takes part in every (r+1)th step.
bool in_lockstep(const mc::Engine& engine, std::span<const float> pcm, const mc::Codes& expected) {
  constexpr size_t kRows = 4;
  auto batch = mc::Batch::open(engine, kRows, {.roles = MOSHI_ROLE_ENCODE});
  if (!batch) return fail(batch.error());
  const auto samples = static_cast<size_t>(engine.info()->frame_samples);
  const auto width = static_cast<size_t>(expected.codebooks);
  const size_t steps = std::min<size_t>(pcm.size() / samples, 50);
  std::array<size_t, kRows> heard{};  // frames
  std::vector<float> frames(kRows * samples);
  std::vector<uint16_t> codes(kRows * width);
  for (size_t step = 0; step < steps; ++step) {
    std::array<bool, kRows> mask;
    for (size_t row = 0; row < kRows; ++row) {
      mask[row] = step % (row + 1) == 0;
      const auto frame = pcm.subspan(heard[row] * samples, samples);
      std::copy(frame.begin(), frame.end(), frames.begin() + static_cast<ptrdiff_t>(row * samples));
    }
    if (auto done = batch->encode(frames, mask, expected.codebooks, codes); !done) return fail(done.error());
    for (size_t row = 0; row < kRows; ++row) {
      if (!mask[row]) continue;
      const auto got = codes.begin() + static_cast<ptrdiff_t>(row * width);
      const auto wanted = expected.data.begin() + static_cast<ptrdiff_t>(heard[row]++ * width);
      if (!std::equal(got, got + static_cast<ptrdiff_t>(width), wanted)) {
        return fail("row " + std::to_string(row) + " has other codes than the stream alone");
      }
    }
  }
  std::fprintf(stderr, "batch:  %zu steps, frames per row %zu %zu %zu %zu, the same codes\n", steps, heard[0], heard[1],
               heard[2], heard[3]);
  return true;
}

bool run(const Options& options) {
  std::vector<float> pcm;
  if (!read_audio(options.input, &pcm)) return false;
  const auto core = mc::Core::load(options.core);
  if (!core) return fail(core.error());
  auto engine = core->open({.model = options.model, .threads = options.threads});
  if (!engine) return fail(engine.error());
  if (auto loaded = engine->wait(); !loaded) return fail(loaded.error());
  const auto info = engine->info();
  if (!info) return fail(info.error());
  std::fprintf(stderr, "model:  %s, %d codebooks, %d Hz, %s on %s with %d thread(s)\n", info->mimi_file,
               info->codebooks, info->sample_rate, info->kernels, info->device, info->threads);
  mc::Codes codes;
  return whole(*engine, pcm, options, &codes) && frame_by_frame(*engine, pcm, codes) &&
         in_lockstep(*engine, pcm, codes);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--help") == 0) return std::fputs(kUsage, stdout) < 0;
  const auto options = parse(std::span(argv + 1, static_cast<size_t>(argc - 1)));
  if (!options) return std::fputs(kUsage, stderr), 2;
  return run(*options) ? 0 : 1;
}

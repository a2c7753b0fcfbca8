// SPDX-License-Identifier: MIT
//
// Times the codec through the core's C table, as any user of the core would call it.
//
//   codec-bench CORE MODEL [--threads N] [--codebooks K] [--backend B] JOB...
//   JOB = encode|decode:ROWS:FRAMES:CALLS, e.g. encode:4:1:100: four streams, one frame of each a call, a hundred calls
//
// Prints one JSON object per line: {"event":"ready"...}, {"job":..., "ms":[...]}, {"event":"end"...}. bench.py says
// what the fields mean; the reference's side prints the same.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "core_bench.h"
#include "moshi/core.h"

namespace {

using bench::check;
using bench::die;

// A ring that isn't full attends to less; so each stream first gets more frames than the ring holds.
constexpr int kWarmUpFrames = 130;

struct Work {
  std::string name;
  MoshiJobKind kind = MOSHI_JOB_ENCODE;
  int rows = 1, frames = 1, calls = 1;
};

Work parse(const std::string& text) {
  Work work;
  char kind[8];
  if (sscanf(text.c_str(), "%7[a-z]:%d:%d:%d", kind, &work.rows, &work.frames, &work.calls) != 4 || work.rows < 1 ||
      work.frames < 1 || work.calls < 1 || (strcmp(kind, "encode") != 0 && strcmp(kind, "decode") != 0))
    die("a job is encode|decode:ROWS:FRAMES:CALLS, not " + text);
  work.name = text;
  work.kind = strcmp(kind, "encode") == 0 ? MOSHI_JOB_ENCODE : MOSHI_JOB_DECODE;
  return work;
}

// One stream: a session with the buffers of its job.
struct Stream {
  MoshiSession* session = nullptr;
  MoshiJob job = MOSHI_INIT(MoshiJob);
  std::vector<float> pcm;
  std::vector<uint16_t> codes;
};

class Bench {
 public:
  Bench(const MoshiCoreApi* api, MoshiEngine* engine, int codebooks) : api_(api), engine_(engine) {
    MoshiError error = MOSHI_INIT(MoshiError);
    check(api_->engine_info(engine_, &info_, &error), error);
    codebooks_ = codebooks;
  }

  const MoshiEngineInfo& info() const { return info_; }

  void run(const Work& work) {
    std::vector<Stream> streams(work.rows);
    for (Stream& stream : streams) open(stream, work);
    call(streams, kWarmUpFrames);
    call(streams, work.frames);
    std::vector<double> times(work.calls);
    bench::measure(times, [&] { call(streams, work.frames); });
    for (Stream& stream : streams) api_->session_close(stream.session);
    bench::say_times(work.name, times);
  }

 private:
  void open(Stream& stream, const Work& work) {
    MoshiError error = MOSHI_INIT(MoshiError);
    MoshiSessionConfig config = MOSHI_INIT(MoshiSessionConfig);
    config.roles = work.kind == MOSHI_JOB_ENCODE ? MOSHI_ROLE_ENCODE : MOSHI_ROLE_DECODE;
    config.work_class = work.frames > 1 ? MOSHI_CLASS_FILE : MOSHI_CLASS_LIVE;
    check(api_->session_open(engine_, &config, &stream.session, &error), error);

    const size_t frames = std::max(work.frames, kWarmUpFrames);
    stream.pcm.resize(frames * info_.frame_samples);
    stream.codes.resize(frames * codebooks_);
    for (float& sample : stream.pcm) sample = 0.1f * normal_(random_);
    for (uint16_t& code : stream.codes) code = random_() % info_.cardinality;
    stream.job.kind = work.kind;
    stream.job.codebooks = codebooks_;
    stream.job.deadline_ns = MOSHI_NO_DEADLINE;
    if (work.kind == MOSHI_JOB_ENCODE) {
      stream.job.pcm_in = stream.pcm.data();
      stream.job.codes_out = stream.codes.data();
    } else {
      stream.job.codes_in = stream.codes.data();
      stream.job.pcm_out = stream.pcm.data();
    }
  }

  void call(std::vector<Stream>& streams, int frames) {
    MoshiError error = MOSHI_INIT(MoshiError);
    for (Stream& stream : streams) {
      stream.job.frames = frames;
      check(api_->submit(stream.session, &stream.job, &error), error);
    }
    for (Stream& stream : streams)
      check(api_->wait(stream.session, &stream.job, MOSHI_FOREVER, &error), stream.job.error);
  }

  const MoshiCoreApi* api_;
  MoshiEngine* engine_;
  MoshiEngineInfo info_ = MOSHI_INIT(MoshiEngineInfo);
  int codebooks_;
  std::mt19937 random_{1};
  std::normal_distribution<float> normal_;
};

struct Arguments {
  std::vector<Work> works;
  int codebooks = 8;
  int threads = 1;
  unsigned backend = 0;
};

Arguments arguments_of(int argc, char** argv) {
  Arguments arguments;
  for (int i = 3; i < argc; i++) {
    const std::string word = argv[i];
    const auto value = [&] { return i + 1 < argc ? atoi(argv[++i]) : (die(word + " wants a number"), 0); };
    if (word == "--threads") {
      arguments.threads = value();
    } else if (word == "--codebooks") {
      arguments.codebooks = value();
    } else if (word == "--backend") {
      arguments.backend = static_cast<unsigned>(value());
    } else {
      arguments.works.push_back(parse(word));
    }
  }
  return arguments;
}

}  // namespace

int main(int argc, char** argv) {
  const auto start = bench::Clock::now();
  if (argc < 4) die("usage: codec-bench CORE MODEL [--threads N] [--codebooks K] [--backend B] JOB...");
  const Arguments arguments = arguments_of(argc, argv);
  const MoshiCoreApi* api = bench::open_core(argv[1]);
  MoshiEngineConfig config = MOSHI_INIT(MoshiEngineConfig);
  config.model = argv[2];
  config.device = "cpu";
  config.precision = MOSHI_PRECISION_F32;
  config.threads = arguments.threads;
  config.backend = arguments.backend;
  for (const Work& work : arguments.works)
    config.roles |= work.kind == MOSHI_JOB_ENCODE ? MOSHI_ROLE_ENCODE : MOSHI_ROLE_DECODE;
  MoshiEngine* engine = bench::open_engine(api, config);
  {
    Bench codec(api, engine, arguments.codebooks);
    bench::say_ready(bench::ms_since(start), api->backend_version, codec.info().kernels);
    for (const Work& work : arguments.works) codec.run(work);
  }
  api->engine_close(engine);
  bench::say_end();
}

// SPDX-License-Identifier: MIT
//
// Times the language model through the core's C table, as any user of the core would call it.
//
//   lm-bench CORE MODEL [--threads N] [--precision f32|bf16] [--fill STEPS] JOB...
//   JOB = step:ROWS:CALLS, e.g. step:4:100: four conversations, one step of each a call, a hundred calls
//
// Each conversation has run STEPS steps before (default: until its key-value ring is full), so that attention has its
// full length: one really has, the others are copies of it. Prints the lines that bench.py describes.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "core_bench.h"
#include "moshi/core.h"

namespace {

using bench::check;
using bench::die;

struct Work {
  std::string name;
  int rows = 1, calls = 1;
};

struct Conversation {
  MoshiSession* session = nullptr;
  MoshiJob job = MOSHI_INIT(MoshiJob);
  std::vector<int32_t> user, tokens;
};

class Bench {
 public:
  Bench(const MoshiCoreApi* api, MoshiEngine* engine, int fill) : api_(api), engine_(engine) {
    MoshiError error = MOSHI_INIT(MoshiError);
    check(api_->lm_info(engine_, &info_, &error), error);
    const int steps = fill >= 0 ? fill : info_.context;
    MoshiSessionConfig config = MOSHI_INIT(MoshiSessionConfig);
    config.roles = MOSHI_ROLE_LM;
    config.seed = 1;
    std::vector<Conversation> first(1);
    check(api_->session_open(engine_, &config, &first[0].session, &error), error);
    prepare(first[0]);
    for (int step = 0; step < steps; ++step) call(first);
    filled_ = first[0].session;
  }
  ~Bench() { api_->session_close(filled_); }

  void run(const Work& work) {
    std::vector<Conversation> rows(work.rows);
    MoshiError error = MOSHI_INIT(MoshiError);
    for (Conversation& row : rows) {
      check(api_->session_fork(filled_, &row.session, &error), error);
      prepare(row);
    }
    call(rows);
    std::vector<double> times(work.calls);
    bench::measure(times, [&] { call(rows); });
    for (Conversation& row : rows) api_->session_close(row.session);
    bench::say_times(work.name, times);
  }

 private:
  void prepare(Conversation& row) const {
    row.user.resize(info_.user_streams);
    row.tokens.resize(1 + info_.own_streams);
    row.job.kind = MOSHI_JOB_STEP;
    row.job.frames = 1;
    row.job.deadline_ns = MOSHI_NO_DEADLINE;
    row.job.user_tokens = row.user.data();
    row.job.tokens_out = row.tokens.data();
  }

  void call(std::vector<Conversation>& rows) {
    MoshiError error = MOSHI_INIT(MoshiError);
    for (Conversation& row : rows) {
      for (int32_t& token : row.user) token = static_cast<int32_t>(random_() % info_.cardinality);
      check(api_->submit(row.session, &row.job, &error), error);
    }
    for (Conversation& row : rows) {
      check(api_->wait(row.session, &row.job, MOSHI_FOREVER, &error), row.job.error);
    }
  }

  const MoshiCoreApi* api_;
  MoshiEngine* engine_;
  MoshiLmInfo info_ = MOSHI_INIT(MoshiLmInfo);
  MoshiSession* filled_ = nullptr;
  std::mt19937 random_{1};
};

struct Arguments {
  std::vector<Work> works;
  int threads = 1;
  int fill = -1;
  MoshiPrecision precision = MOSHI_PRECISION_F32;
};

Arguments arguments_of(int argc, char** argv) {
  Arguments arguments;
  for (int i = 3; i < argc; i++) {
    const std::string word = argv[i];
    const auto value = [&] { return i + 1 < argc ? argv[++i] : (die(word + " wants a value"), argv[0]); };
    Work work;
    if (word == "--threads") {
      arguments.threads = atoi(value());
    } else if (word == "--fill") {
      arguments.fill = atoi(value());
    } else if (word == "--precision") {
      arguments.precision = std::string(value()) == "bf16" ? MOSHI_PRECISION_BF16 : MOSHI_PRECISION_F32;
    } else if (sscanf(argv[i], "step:%d:%d", &work.rows, &work.calls) == 2 && work.rows > 0 && work.calls > 0) {
      work.name = word;
      arguments.works.push_back(work);
    } else {
      die("a job is step:ROWS:CALLS, not " + word);
    }
  }
  return arguments;
}

}  // namespace

int main(int argc, char** argv) {
  const auto start = bench::Clock::now();
  if (argc < 4) die("usage: lm-bench CORE MODEL [--threads N] [--precision f32|bf16] [--fill STEPS] JOB...");
  const Arguments arguments = arguments_of(argc, argv);
  const MoshiCoreApi* api = bench::open_core(argv[1]);
  MoshiError error = MOSHI_INIT(MoshiError);
  MoshiEngineConfig config = MOSHI_INIT(MoshiEngineConfig);
  config.model = argv[2];
  config.device = "cpu";
  config.precision = arguments.precision;
  config.threads = arguments.threads;
  config.roles = MOSHI_ROLE_LM;
  MoshiEngine* engine = bench::open_engine(api, config);
  MoshiEngineInfo info = MOSHI_INIT(MoshiEngineInfo);
  check(api->engine_info(engine, &info, &error), error);
  bench::say_ready(bench::ms_since(start), api->version, info.kernels);
  {
    Bench lm(api, engine, arguments.fill);
    for (const Work& work : arguments.works) lm.run(work);
  }
  api->engine_close(engine);
  bench::say_end();
}

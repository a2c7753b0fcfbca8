// SPDX-License-Identifier: MIT
//
// Times the language model through the core's C table, as any user of the core would call it.
//
//   lm-bench CORE MODEL [--threads N] [--precision f32|bf16] [--fill STEPS] JOB...
//   JOB = step:ROWS:CALLS, e.g. step:4:100: four conversations, one step of each a call, a hundred calls
//
// Each conversation has run STEPS steps before (default: until its key-value ring is full), so that attention has its
// full length: one really has, the others are copies of it. Prints the lines that bench.py describes.
#include <dlfcn.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "moshi/core.h"

namespace {

using Clock = std::chrono::steady_clock;

struct Work {
  std::string name;
  int rows = 1, calls = 1;
};

[[noreturn]] void die(const std::string& what) {
  fprintf(stderr, "lm-bench: %s\n", what.c_str());
  exit(1);
}

void check(MoshiStatus status, const MoshiError& error) {
  if (status != MOSHI_OK) die(error.message);
}

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

long peak_kb() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

const MoshiCoreApi* open_core(const char* path) {
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) die(dlerror());
  auto get_api = reinterpret_cast<MoshiCoreGetApiFn>(dlsym(library, MOSHI_CORE_GET_API_SYMBOL));
  const MoshiCoreApi* api = get_api ? get_api(MOSHI_CORE_ABI) : nullptr;
  if (!api) die(std::string(path) + " is not a core of this ABI");
  return api;
}

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
    for (double& ms : times) {
      const auto start = Clock::now();
      call(rows);
      ms = ms_since(start);
    }
    for (Conversation& row : rows) api_->session_close(row.session);
    printf("{\"job\":\"%s\",\"ms\":[", work.name.c_str());
    for (size_t i = 0; i < times.size(); i++) printf("%s%.4f", i ? "," : "", times[i]);
    printf("]}\n");
    fflush(stdout);
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
  const auto start = Clock::now();
  if (argc < 4) die("usage: lm-bench CORE MODEL [--threads N] [--precision f32|bf16] [--fill STEPS] JOB...");
  const Arguments arguments = arguments_of(argc, argv);
  const MoshiCoreApi* api = open_core(argv[1]);
  MoshiError error = MOSHI_INIT(MoshiError);
  MoshiEngineConfig config = MOSHI_INIT(MoshiEngineConfig);
  config.model = argv[2];
  config.device = "cpu";
  config.precision = arguments.precision;
  config.threads = arguments.threads;
  config.roles = MOSHI_ROLE_LM;
  MoshiEngine* engine = nullptr;
  check(api->engine_open(&config, &engine, &error), error);
  check(api->engine_wait(engine, MOSHI_FOREVER, &error), error);
  MoshiEngineInfo info = MOSHI_INIT(MoshiEngineInfo);
  check(api->engine_info(engine, &info, &error), error);
  printf("{\"event\":\"ready\",\"load_ms\":%.1f,\"what\":\"%s, %s\"}\n", ms_since(start), api->version, info.kernels);
  fflush(stdout);
  {
    Bench bench(api, engine, arguments.fill);
    for (const Work& work : arguments.works) bench.run(work);
  }
  api->engine_close(engine);
  printf("{\"event\":\"end\",\"peak_kb\":%ld}\n", peak_kb());
}

// SPDX-License-Identifier: MIT
// The function table: checks of arguments, and the registry of models.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <new>

#include "engine.h"
#include "fault.h"
#include "fetch.h"
#include "lm_api.h"
#include "threads.h"

namespace moshi_fake {
namespace {

constexpr uint64_t kMegabyte = 1 << 20;
constexpr uint32_t kCodecRoles = MOSHI_ROLE_ENCODE | MOSHI_ROLE_DECODE;

struct Registry {
  std::mutex mutex;
  std::map<std::string, std::weak_ptr<Model>> models;
  int32_t threads = 0;  ///< of the process; 0: nobody has said
};

Registry& TheRegistry() {
  static Registry registry;
  return registry;
}

// Counts breaches of "one thread at a time".
class OneUser {
 public:
  explicit OneUser(MoshiSession* session) : session_(session) {
    if (session_->users.fetch_add(1) != 0) ++Count().misuse;
  }
  ~OneUser() { --session_->users; }
  OneUser(const OneUser&) = delete;
  OneUser& operator=(const OneUser&) = delete;

 private:
  MoshiSession* session_;
};

/** Resolves a path; MOSHI_ERR_NOT_FOUND and MOSHI_ERR_FORMAT as fake.h says. */
MoshiStatus Resolve(const char* name, std::string& path, MoshiError* error) {
  std::error_code failed;
  const std::filesystem::path resolved = std::filesystem::canonical(name, failed);
  if (failed)
    return Fault(error, MOSHI_ERR_NOT_FOUND,
                 std::string(name) + " does not exist: neither a directory nor a model of the hub cache.",
                 failed.message());
  if (std::filesystem::is_regular_file(resolved, failed) && std::filesystem::file_size(resolved, failed) == 0)
    return Fault(error, MOSHI_ERR_FORMAT, std::string(name) + " is empty; fetch it again.");
  path = resolved.string();
  return MOSHI_OK;
}

MoshiStatus ResolveDevice(const char* wanted, std::string& device, MoshiError* error) {
  const std::string name = wanted == nullptr || *wanted == '\0' ? "auto" : wanted;
  const bool cuda = Knob("CUDA", 0) != 0;
  if (name == "cpu" || (name == "auto" && !cuda))
    device = "cpu";
  else if (cuda && (name == "auto" || name == "cuda" || name == "cuda:0"))
    device = "cuda:0";
  else if (name == "cuda" || name.starts_with("cuda:"))
    return Fault(error, MOSHI_ERR_NO_DEVICE, "There is no device " + name + " on this machine; use device=cpu.");
  else
    return Fault(error, MOSHI_ERR_INVALID_ARGUMENT, "device \"" + name + "\" is none of auto, cpu, cuda and cuda:N.");
  return MOSHI_OK;
}

MoshiStatus ReadFacts(const MoshiEngineConfig& config, Facts& facts, MoshiError* error) {
  const bool lm = config.roles == MOSHI_ROLE_LM;
  facts.path = "embedded";
  const bool named = config.model != nullptr && *config.model != '\0';
  facts.embedded = !named && (lm ? config.lm_weights : config.weights) == nullptr;
  if (named && IsHubId(config.model)) {
    if (!IsFetched(config.model))
      return Fault(error, MOSHI_ERR_NOT_FETCHED, std::string(config.model) + " is not on this machine yet.");
    facts.path = config.model;
  } else if (named) {
    if (MoshiStatus status = Resolve(config.model, facts.path, error); status != MOSHI_OK) return status;
  }
  facts.file = facts.path;
  const char* weights = lm ? config.lm_weights : config.weights;
  if (weights != nullptr)
    if (MoshiStatus status = Resolve(weights, facts.file, error); status != MOSHI_OK) return status;
  std::string unused;
  for (const char* extra : {config.tokenizer, config.config, config.lora})
    if (lm && extra != nullptr)
      if (MoshiStatus status = Resolve(extra, unused, error); status != MOSHI_OK) return status;
  if (MoshiStatus status = ResolveDevice(config.device, facts.device, error); status != MOSHI_OK) return status;
  if (config.precision < MOSHI_PRECISION_AUTO || config.precision > MOSHI_PRECISION_INT4)
    return Fault(error, MOSHI_ERR_INVALID_ARGUMENT, "precision " + std::to_string(config.precision) + " is unknown.");
  if (config.precision == MOSHI_PRECISION_F16)
    return Fault(error, MOSHI_ERR_NOT_SUPPORTED, "precision f16 is not there on " + facts.device + "; use f32.");
  facts.precision = config.precision == MOSHI_PRECISION_AUTO ? MOSHI_PRECISION_F32 : config.precision;
  if (const auto failure = static_cast<MoshiStatus>(Knob("OPEN_FAIL", 0)); failure != MOSHI_OK)
    return KnobFault(error, failure, facts.file);
  facts.sha256 = FileHash(facts.file);
  facts.rate = static_cast<int32_t>(Knob("RATE", kRate));
  facts.frame_samples = facts.rate * 2 / 25;
  facts.codebooks = static_cast<int32_t>(Knob("CODEBOOKS", kCodebooks));
  facts.cardinality = static_cast<int32_t>(Knob("CARDINALITY", kCardinality));
  facts.key = facts.file + '\n' + facts.device + '\n' + std::to_string(facts.precision);
  if (lm) ReadLmFacts(config, facts);
  return MOSHI_OK;
}

MoshiStatus EngineOpen(const MoshiEngineConfig* config, MoshiEngine** result, MoshiError* error) {
  if (config == nullptr || result == nullptr || config->size < sizeof(MoshiEngineConfig))
    return Fault(error, MOSHI_ERR_INVALID_ARGUMENT, "engine_open() needs a configuration and a place for the engine.");
  *result = nullptr;
  if (config->roles == 0) return Fault(error, MOSHI_ERR_INVALID_ARGUMENT, "The engine needs at least one role.");
  if (config->roles != MOSHI_ROLE_LM && (config->roles & ~kCodecRoles) != 0)
    return Fault(error, MOSHI_ERR_INVALID_ARGUMENT, "The language model's role stands alone.");
  if (config->threads < 0) return Fault(error, MOSHI_ERR_INVALID_ARGUMENT, "threads is below 0; use 0 for all cores.");
  Facts facts;
  if (MoshiStatus status = ReadFacts(*config, facts, error); status != MOSHI_OK) return status;

  auto engine = std::make_unique<MoshiEngine>();
  engine->roles = config->roles;
  engine->progress = config->progress;
  engine->progress_user = config->progress_user;

  Registry& registry = TheRegistry();
  std::lock_guard lock(registry.mutex);
  if (registry.threads == 0) registry.threads = config->threads;
  if (config->threads != 0 && config->threads != registry.threads)
    Log(MOSHI_LOG_WARNING, "threads=" + std::to_string(config->threads) + " comes too late: the process has " +
                               std::to_string(registry.threads) + ".");
  facts.threads = std::max(1, registry.threads);
  std::erase_if(registry.models, [](const auto& entry) { return entry.second.expired(); });
  std::weak_ptr<Model>& slot = registry.models[facts.key];
  engine->model = slot.lock();
  if (engine->model == nullptr || !engine->model->Join(engine.get())) {
    engine->model = std::make_shared<Model>(facts);
    engine->model->Join(engine.get());
    slot = engine->model;
    engine->model->Start();
  }
  ++Count().engines_opened;
  *result = engine.release();
  return Fine(error);
}

MoshiStatus EngineWait(MoshiEngine* engine, int64_t timeout_ns, MoshiError* error) {
  return engine->model->WaitLoaded(engine, timeout_ns, error);
}

void EngineCancel(MoshiEngine* engine) { engine->model->Cancel(engine); }

void EngineClose(MoshiEngine* engine) {
  if (engine == nullptr) return;
  if (*engine->sessions != 0) ++Count().misuse;
  const std::shared_ptr<Model> model = engine->model;
  model->Leave(engine);
  delete engine;
}

/** Fills a struct that the caller may know in an older, shorter form. */
template <typename T>
MoshiStatus Give(T* to, T value, MoshiError* error) {
  if (to == nullptr || to->size < sizeof(size_t))
    return Fault(error, MOSHI_ERR_INVALID_ARGUMENT, "The struct to fill is missing or has no size.");
  value.size = std::min(to->size, sizeof(T));
  std::memcpy(to, &value, value.size);
  return Fine(error);
}

MoshiStatus EngineInfo(MoshiEngine* engine, MoshiEngineInfo* info, MoshiError* error) {
  const Facts& facts = engine->model->facts();
  const bool loaded = engine->model->Loaded();
  const auto processing = loaded ? static_cast<int64_t>(Knob("PROCESSING_US", 5000) * 1000) : 0;
  MoshiEngineInfo value = Sized<MoshiEngineInfo>();
  value.model_path = facts.path.c_str();
  value.mimi_file = facts.file.c_str();
  value.mimi_sha256 = loaded ? facts.sha256.c_str() : "";
  value.mimi_bytes = 300 * kMegabyte;
  value.sample_rate = facts.rate;
  value.frame_samples = facts.frame_samples;
  value.frame_rate_numerator = 25;
  value.frame_rate_denominator = 2;
  value.codebooks = facts.codebooks;
  value.cardinality = facts.cardinality;
  value.latent_width = 512;
  value.device = facts.device.c_str();
  value.kernels = "fake";
  value.precision = facts.precision;
  value.threads = facts.threads;
  value.processing_ns_encode = processing;
  value.processing_ns_decode = processing;
  value.embedded = facts.embedded;
  return Give(info, value, error);
}

MoshiStatus EngineLimits(MoshiEngine* engine, uint32_t roles, MoshiEngineLimits* limits, MoshiError* error) {
  if (roles == 0 || (roles & ~engine->roles) != 0)
    return Fault(error, MOSHI_ERR_INVALID_ARGUMENT, "The roles are not among the engine's.");
  MoshiEngineLimits value = Sized<MoshiEngineLimits>();
  value.bytes_weights = 300 * kMegabyte;
  value.bytes_session = 10 * kMegabyte;
  value.bytes_free = static_cast<uint64_t>(Knob("FREE_MB", 100000)) * kMegabyte;
  value.sessions_open = engine->model->Sessions();
  value.sessions_max = static_cast<int32_t>(Knob("SESSIONS_MAX", 0));
  return Give(limits, value, error);
}

MoshiStatus EngineStats(MoshiEngine* engine, MoshiEngineStats* stats, MoshiError* error) {
  return Give(stats, engine->model->Stats(), error);
}

MoshiStatus EngineSetHooks(MoshiEngine*, const MoshiStepHooks*, MoshiError* error) {
  return Fault(error, MOSHI_ERR_NOT_SUPPORTED, "The fake core has no hooks.");
}

MoshiStatus SessionOpen(MoshiEngine* engine, const MoshiSessionConfig* config, MoshiSession** result,
                        MoshiError* error) {
  if (config == nullptr || result == nullptr || config->roles == 0 || (config->roles & ~engine->roles) != 0)
    return Fault(error, MOSHI_ERR_INVALID_ARGUMENT, "A session needs roles that its engine has.");
  *result = nullptr;
  if (MoshiStatus status = engine->model->WaitLoaded(engine, 0, error); status != MOSHI_OK) return status;
  if (const auto failure = static_cast<MoshiStatus>(Knob("SESSION_FAIL", 0)); failure != MOSHI_OK)
    return KnobFault(error, failure, engine->model->facts().file);
  auto session = std::make_unique<MoshiSession>();
  session->model = engine->model;
  session->engine = engine;
  session->roles = config->roles;
  session->work_class = config->work_class;
  session->seed = DrawSeed(config->seed);
  if (config->roles == MOSHI_ROLE_LM) NoteSetting("seed", static_cast<double>(config->seed));
  if (MoshiStatus status = engine->model->AddSession(session.get(), config->max_sessions, error); status != MOSHI_OK)
    return status;
  session->siblings = engine->sessions;
  ++*session->siblings;
  ++Count().sessions_opened;
  *result = session.release();
  return Fine(error);
}

MoshiStatus SessionReset(MoshiSession* session, MoshiError* error) {
  const OneUser user(session);
  return session->model->WhenIdle(session, error, [&] {
    session->encode = session->decode = State{};
    session->lm = LmState{};
    ++Count().lm_resets;
    ++Count().encode_resets;
    ++Count().decode_resets;
    return Fine(error);
  });
}

MoshiStatus SessionSet(MoshiSession* session, const char* name, double value, MoshiError* error) {
  const OneUser user(session);
  if (name != nullptr && std::strcmp(name, "class") != 0 && session->roles == MOSHI_ROLE_LM)
    return session->model->WhenIdle(session, error, [&] { return LmSet(session, name, value, error); });
  if (name == nullptr || std::strcmp(name, "class") != 0)
    return Fault(error, MOSHI_ERR_NOT_SUPPORTED,
                 std::string("A session has no number ") + (name ? name : "NULL") + ".");
  return session->model->WhenIdle(session, error, [&] {
    session->work_class = static_cast<int>(value) == MOSHI_CLASS_FILE ? MOSHI_CLASS_FILE : MOSHI_CLASS_LIVE;
    return Fine(error);
  });
}

MoshiStatus SessionSetConditions(MoshiSession* session, const MoshiCondition* conditions, size_t count,
                                 MoshiError* error) {
  const OneUser user(session);
  if (session->roles != MOSHI_ROLE_LM)
    return Fault(error, MOSHI_ERR_NOT_SUPPORTED, "Only a language model has conditions.");
  return session->model->WhenIdle(session, error, [&] { return LmSetConditions(session, conditions, count, error); });
}

void SessionClose(MoshiSession* session) {
  if (session == nullptr) return;
  {
    const OneUser user(session);
    session->model->RemoveSession(session);
  }
  --*session->siblings;
  delete session;
}

struct SavedState {
  uint64_t magic = 0x31656b6166696d6dull;
  State encode, decode;
  LmState lm;
  char sha256[64] = {};
};

MoshiStatus SessionSave(MoshiSession* session, void* data, size_t* bytes, MoshiError* error) {
  const OneUser user(session);
  if (bytes == nullptr) return Fault(error, MOSHI_ERR_INVALID_ARGUMENT, "session_save() needs a place for the size.");
  const size_t room = *bytes;
  *bytes = sizeof(SavedState);
  if (data == nullptr) return Fine(error);
  if (room < sizeof(SavedState))
    return Fault(error, MOSHI_ERR_INVALID_ARGUMENT,
                 "The state needs " + std::to_string(sizeof(SavedState)) + " bytes.");
  return session->model->WhenIdle(session, error, [&] {
    SavedState saved{.encode = session->encode, .decode = session->decode, .lm = session->lm};
    std::memcpy(saved.sha256, session->model->facts().sha256.data(), sizeof saved.sha256);
    std::memcpy(data, &saved, sizeof saved);
    return Fine(error);
  });
}

MoshiStatus SessionLoad(MoshiSession* session, const void* data, size_t bytes, MoshiError* error) {
  const OneUser user(session);
  SavedState saved;
  if (data == nullptr || bytes != sizeof saved)
    return Fault(error, MOSHI_ERR_FORMAT, "That is not the saved state of a session.");
  std::memcpy(&saved, data, sizeof saved);
  if (saved.magic != SavedState{}.magic)
    return Fault(error, MOSHI_ERR_FORMAT, "That is not the saved state of a session.");
  if (std::memcmp(saved.sha256, session->model->facts().sha256.data(), sizeof saved.sha256) != 0)
    return Fault(error, MOSHI_ERR_MISMATCH, "The saved state is of another model.");
  return session->model->WhenIdle(session, error, [&] {
    session->encode = saved.encode;
    session->decode = saved.decode;
    session->lm = saved.lm;
    return Fine(error);
  });
}

MoshiStatus SessionFork(MoshiSession* session, MoshiSession** copy, MoshiError* error) {
  if (copy == nullptr) return Fault(error, MOSHI_ERR_INVALID_ARGUMENT, "session_fork() needs a place for the copy.");
  *copy = nullptr;
  State encode, decode;
  LmState lm;
  const OneUser user(session);
  const MoshiStatus idle = session->model->WhenIdle(session, error, [&] {
    encode = session->encode;
    decode = session->decode;
    lm = session->lm;
    return MOSHI_OK;
  });
  if (idle != MOSHI_OK) return idle;
  MoshiSessionConfig config = Sized<MoshiSessionConfig>();
  config.roles = session->roles;
  config.work_class = session->work_class;
  config.seed = session->seed;
  const MoshiStatus status = SessionOpen(session->engine, &config, copy, error);
  if (status != MOSHI_OK) return status;
  (*copy)->encode = encode;
  (*copy)->decode = decode;
  (*copy)->lm = lm;
  (*copy)->sampling = session->sampling;
  return Fine(error);
}

const char* WrongWithJob(const MoshiSession* session, const MoshiJob* job) {
  if (job == nullptr || job->size < offsetof(MoshiJob, reserved)) return "The job is missing or has no size.";
  if (job->kind == MOSHI_JOB_STEP) return WrongWithStep(session, job);
  if (job->kind != MOSHI_JOB_ENCODE && job->kind != MOSHI_JOB_DECODE) return "There is no such kind of job.";
  const bool encode = job->kind == MOSHI_JOB_ENCODE;
  if ((session->roles & (encode ? MOSHI_ROLE_ENCODE : MOSHI_ROLE_DECODE)) == 0)
    return "The session was not opened for this kind of job.";
  if (job->frames < 1) return "A job has at least one frame.";
  if (job->codebooks < 1 || job->codebooks > session->model->facts().codebooks)
    return "codebooks is outside of what the model has.";
  if (encode ? job->pcm_in == nullptr || job->codes_out == nullptr
             : job->codes_in == nullptr || job->pcm_out == nullptr)
    return "A buffer of the job is missing.";
  return nullptr;
}

MoshiStatus Submit(MoshiSession* session, MoshiJob* job, MoshiError* error) {
  const OneUser user(session);
  if (const char* wrong = WrongWithJob(session, job)) return Fault(error, MOSHI_ERR_INVALID_ARGUMENT, wrong);
  return session->model->Submit(session, job, error);
}

MoshiStatus Wait(MoshiSession* session, MoshiJob* job, int64_t timeout_ns, MoshiError* error) {
  if (job == nullptr) return Fault(error, MOSHI_ERR_INVALID_ARGUMENT, "wait() needs a job.");
  return session->model->WaitJob(session, job, timeout_ns, error);
}

void SessionCancel(MoshiSession* session) { session->model->CancelJobs(session); }

MoshiStatus BufferAlloc(MoshiEngine*, size_t bytes, void** buffer, MoshiError* error) {
  if (buffer == nullptr || bytes == 0)
    return Fault(error, MOSHI_ERR_INVALID_ARGUMENT, "buffer_alloc() needs a size and a place for the buffer.");
  *buffer = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
  if (*buffer == nullptr) return Fault(error, MOSHI_ERR_NO_MEMORY, "There is no memory for the buffer.");
  ++Count().buffers;
  return Fine(error);
}

void BufferFree(MoshiEngine*, void* buffer) {
  if (buffer == nullptr) return;
  std::free(buffer);
  --Count().buffers;
}

constexpr MoshiCoreApi kApi = {
    .size = sizeof(MoshiCoreApi),
    .abi = MOSHI_CORE_ABI,
    .version = "0.1.0-fake",
    .backend_version = "fake",
    .set_log = SetLog,
    .engine_open = EngineOpen,
    .engine_wait = EngineWait,
    .engine_cancel = EngineCancel,
    .engine_close = EngineClose,
    .engine_info = EngineInfo,
    .engine_limits = EngineLimits,
    .engine_stats = EngineStats,
    .engine_set_hooks = EngineSetHooks,
    .session_open = SessionOpen,
    .session_reset = SessionReset,
    .session_set = SessionSet,
    .session_set_conditions = SessionSetConditions,
    .session_close = SessionClose,
    .session_fork = SessionFork,
    .session_save = SessionSave,
    .session_load = SessionLoad,
    .submit = Submit,
    .wait = Wait,
    .session_cancel = SessionCancel,
    .buffer_alloc = BufferAlloc,
    .buffer_free = BufferFree,
    .fetch = Fetch,
    .lm_info = LmInfo,
    .lm_piece = LmPiece,
    .session_seed = SessionSeed,
};

}  // namespace
}  // namespace moshi_fake

#pragma GCC visibility push(default)
extern "C" const MoshiCoreApi* moshi_core_get_api(uint32_t abi) {
  const auto served = static_cast<uint32_t>(moshi_fake::Knob("ABI", MOSHI_CORE_ABI));
  return abi == served ? &moshi_fake::kApi : nullptr;
}
#pragma GCC visibility pop

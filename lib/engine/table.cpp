// SPDX-License-Identifier: MIT
#include "engine/table.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <type_traits>
#include <utility>

#include "common/log.h"
#include "engine/build_config.h"
#include "engine/codec_factory.h"
#include "engine/errors.h"
#include "engine/info.h"
#include "engine/job.h"
#include "engine/lm_session.h"
#include "engine/registry.h"
#include "engine/session.h"
#include "engine/session_state.h"

namespace moshi::engine {
namespace {

template <class T>
T& required(T* pointer, const char* what) {
  if (!pointer) invalid(std::string(what) + " is NULL");
  return *pointer;
}

/// What the first version of a struct had.
template <class T>
constexpr size_t kFirstSize = sizeof(T);
template <>
constexpr size_t kFirstSize<MoshiEngineInfo> = offsetof(MoshiEngineInfo, embedded);

/// A struct of the caller's.
template <class T>
T& sized(T* pointer, const char* what) {
  constexpr size_t kLeast = kFirstSize<std::remove_const_t<T>>;
  if (required(pointer, what).size < kLeast) {
    invalid(std::string(what) + "::size is " + std::to_string(pointer->size) + ", not at least " +
            std::to_string(kLeast) + ": initialize it with MOSHI_INIT(" + what + ")");
  }
  return *pointer;
}

/// Fills the caller's struct as far as it goes; its `size` stays.
template <class T>
void give(T* out, const T& value, const char* what) {
  const size_t size = sized(out, what).size;
  std::memcpy(out, &value, std::min(size, sizeof(T)));
  out->size = size;
}

[[noreturn]] void not_supported(const char* what) {
  throw Error(MOSHI_ERR_NOT_SUPPORTED, std::string(what) + " is not there in this core yet");
}

MoshiStatus status_of(MoshiError* error, MoshiStatus status, const char* message, const char* detail = "") {
  set_error(error, status, message, detail);
  return status;
}

MoshiStatus engine_open(const MoshiEngineConfig* config, MoshiEngine** engine, MoshiError* error) {
  return guarded(error, [&] {
    required(engine, "engine_open(): `engine`") = nullptr;
    *engine = open_engine(sized(config, "MoshiEngineConfig")).release();
  });
}

MoshiStatus engine_wait(MoshiEngine* engine, int64_t timeout_ns, MoshiError* error) {
  bool over = true;
  const MoshiStatus status = guarded(error, [&] {
    MoshiEngine& waiting = required(engine, "MoshiEngine");
    over = waiting.model->wait(waiting, timeout_ns);
  });
  return over ? status : status_of(error, MOSHI_ERR_TIMEOUT, "the model is still being loaded");
}

void engine_cancel(MoshiEngine* engine) {
  if (engine) guarded(nullptr, [&] { engine->model->cancel(*engine); });
}

void engine_close(MoshiEngine* engine) {
  if (engine) guarded(nullptr, [&] { close_engine(std::unique_ptr<MoshiEngine>(engine)); });
}

MoshiStatus engine_info(MoshiEngine* engine, MoshiEngineInfo* info, MoshiError* error) {
  return guarded(error, [&] { give(info, describe(required(engine, "MoshiEngine")), "MoshiEngineInfo"); });
}

MoshiStatus engine_limits(MoshiEngine* engine, uint32_t roles, MoshiEngineLimits* limits, MoshiError* error) {
  return guarded(error,
                 [&] { give(limits, describe_limits(required(engine, "MoshiEngine"), roles), "MoshiEngineLimits"); });
}

MoshiStatus engine_stats(MoshiEngine* engine, MoshiEngineStats* stats, MoshiError* error) {
  return guarded(error, [&] { give(stats, describe_stats(required(engine, "MoshiEngine")), "MoshiEngineStats"); });
}

MoshiStatus engine_set_hooks(MoshiEngine* engine, const MoshiStepHooks* hooks, MoshiError* error) {
  return guarded(error, [&] {
    MoshiEngine& opened = required(engine, "MoshiEngine");
    if (!(opened.roles & MOSHI_ROLE_LM)) {
      invalid("engine_set_hooks(): the engine was opened without MOSHI_ROLE_LM, and steps are a language model's");
    }
    if (opened.model->executor().on_own_thread()) {
      invalid("engine_set_hooks() must not be called from a callback of the core");
    }
    opened.hooks->set(hooks ? &sized(hooks, "MoshiStepHooks") : nullptr);
  });
}

MoshiStatus session_open(MoshiEngine* engine, const MoshiSessionConfig* config, MoshiSession** session,
                         MoshiError* error) {
  bool loaded = true;
  const MoshiStatus status = guarded(error, [&] {
    required(session, "session_open(): `session`") = nullptr;
    MoshiEngine& opened = required(engine, "MoshiEngine");
    const MoshiSessionConfig& wish = sized(config, "MoshiSessionConfig");
    loaded = opened.model->wait(opened, 0);
    if (loaded) *session = make_session(opened, wish).release();
  });
  return loaded ? status
                : status_of(error, MOSHI_ERR_TIMEOUT, "the model is still being loaded: call engine_wait() first");
}

MoshiStatus session_reset(MoshiSession* session, MoshiError* error) {
  return guarded(error, [&] { reset_session(required(session, "MoshiSession")); });
}

MoshiStatus session_set(MoshiSession* session, const char* name, double value, MoshiError* error) {
  return guarded(error, [&] { set_session_number(required(session, "MoshiSession"), name, value); });
}

MoshiStatus session_set_conditions(MoshiSession* session, const MoshiCondition* conditions, size_t count,
                                   MoshiError* error) {
  return guarded(error, [&] { set_session_conditions(required(session, "MoshiSession"), conditions, count); });
}

void session_close(MoshiSession* session) {
  if (session) guarded(nullptr, [&] { close_session(std::unique_ptr<MoshiSession>(session)); });
}

MoshiStatus session_fork(MoshiSession* session, MoshiSession** copy, MoshiError* error) {
  return guarded(error, [&] {
    required(copy, "session_fork(): `copy`") = nullptr;
    *copy = fork_session(required(session, "MoshiSession")).release();
  });
}

MoshiStatus session_save(MoshiSession* session, void* data, size_t* bytes, MoshiError* error) {
  return guarded(error, [&] {
    size_t& room = required(bytes, "session_save(): `bytes`");
    const size_t needed = saved_bytes(required(session, "MoshiSession"));
    const size_t given = std::exchange(room, needed);
    if (!data) return;
    if (given < needed) {
      invalid("session_save(): the buffer has " + std::to_string(given) + " bytes, the state needs " +
              std::to_string(needed));
    }
    save_session(*session, static_cast<std::byte*>(data));
  });
}

MoshiStatus session_load(MoshiSession* session, const void* data, size_t bytes, MoshiError* error) {
  return guarded(error, [&] {
    MoshiSession& target = required(session, "MoshiSession");
    if (!data) invalid("session_load(): `data` is NULL");
    load_session(target, {static_cast<const std::byte*>(data), bytes});
  });
}

MoshiStatus submit(MoshiSession* session, MoshiJob* job, MoshiError* error) {
  return guarded(error, [&] {
    MoshiSession& target = required(session, "MoshiSession");
    MoshiJob& work = sized(job, "MoshiJob");
    const int kind = raw(work.kind);
    if (kind != MOSHI_JOB_ENCODE && kind != MOSHI_JOB_DECODE && kind != MOSHI_JOB_STEP) {
      invalid("MoshiJob::kind is " + std::to_string(kind) + ": it is one of MoshiJobKind");
    }
    const Track* track = target.track_of(work.kind);
    if (!track->lane) invalid("MoshiJob::kind is not one of the session's roles");
    check_job(work, *track->lane);
    target.model->executor().submit(target, work);
  });
}

MoshiStatus wait(MoshiSession* session, MoshiJob* job, int64_t timeout_ns, MoshiError* error) {
  bool over = true;
  const MoshiStatus status = guarded(error, [&] {
    MoshiSession& target = required(session, "MoshiSession");
    over = target.model->executor().wait(target, sized(job, "MoshiJob"), timeout_ns);
  });
  if (status != MOSHI_OK) return status;
  if (!over) return status_of(error, MOSHI_ERR_TIMEOUT, "the job has not ended yet");
  return status_of(error, job->status, job->error.message, job->error.detail);
}

void session_cancel(MoshiSession* session) {
  if (session) guarded(nullptr, [&] { session->model->executor().cancel(*session); });
}

MoshiStatus buffer_alloc(MoshiEngine*, size_t, void** buffer, MoshiError* error) {
  if (buffer) *buffer = nullptr;
  return guarded(error, [] { not_supported("buffer_alloc()"); });
}

void buffer_free(MoshiEngine*, void*) {}

MoshiStatus fetch(const MoshiEngineConfig* config, MoshiFetchFn progress, void* user, MoshiError* error) {
  return guarded(error, [&] { fetch_files(sized(config, "MoshiEngineConfig"), progress, user); });
}

MoshiStatus lm_info(MoshiEngine* engine, MoshiLmInfo* info, MoshiError* error) {
  return guarded(error, [&] { give(info, describe_lm(required(engine, "MoshiEngine")), "MoshiLmInfo"); });
}

MoshiStatus lm_piece(MoshiEngine* engine, int32_t token, MoshiPiece* piece, MoshiError* error) {
  return guarded(error, [&] { give(piece, describe_piece(required(engine, "MoshiEngine"), token), "MoshiPiece"); });
}

MoshiStatus get_session_seed(MoshiSession* session, int64_t* seed, MoshiError* error) {
  return guarded(error,
                 [&] { required(seed, "session_seed(): `seed`") = session_seed(required(session, "MoshiSession")); });
}

MoshiCoreApi make_table() {
  MoshiCoreApi api = MOSHI_INIT(MoshiCoreApi);
  api.abi = MOSHI_CORE_ABI;
  api.version = MOSHI_VERSION;
  api.backend_version = backend_version();
  api.set_log = set_log;
  api.engine_open = engine_open;
  api.engine_wait = engine_wait;
  api.engine_cancel = engine_cancel;
  api.engine_close = engine_close;
  api.engine_info = engine_info;
  api.engine_limits = engine_limits;
  api.engine_stats = engine_stats;
  api.engine_set_hooks = engine_set_hooks;
  api.session_open = session_open;
  api.session_reset = session_reset;
  api.session_set = session_set;
  api.session_set_conditions = session_set_conditions;
  api.session_close = session_close;
  api.session_fork = session_fork;
  api.session_save = session_save;
  api.session_load = session_load;
  api.submit = submit;
  api.wait = wait;
  api.session_cancel = session_cancel;
  api.buffer_alloc = buffer_alloc;
  api.buffer_free = buffer_free;
  api.fetch = fetch;
  api.lm_info = lm_info;
  api.lm_piece = lm_piece;
  api.session_seed = get_session_seed;
  return api;
}

}  // namespace

const MoshiCoreApi& core_table() {
  static const MoshiCoreApi api = make_table();
  return api;
}

}  // namespace moshi::engine

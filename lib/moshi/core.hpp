// SPDX-License-Identifier: MIT
//
// moshi/core.hpp - the core for C++20: owning handles, spans and results on top of moshi/core.h. Header only.
//
//   namespace mc = moshi::core;
//   auto core = mc::Core::load();                                        // libmoshi-core.so
//   if (!core) return report(core.error());
//   auto engine = core->open({.model = "/models/mimi"});                 // reads headers, loads in the background
//   if (!engine) return report(engine.error());
//   if (auto loaded = engine->wait(); !loaded) return report(loaded.error());
//   auto codes = mc::encode_all(*engine, samples, 8);                    // a whole recording, 8 codebooks
//   auto audio = mc::decode_all(*engine, *codes);                        // as many samples as went in
//
// Frame by frame, as audio comes in:
//   auto session = engine->session({.roles = MOSHI_ROLE_ENCODE});
//   std::vector<float> frame(engine->info()->frame_samples);             // 80 ms
//   std::vector<uint16_t> codes(8);
//   while (fill(frame)) session->encode(frame, 8, codes);                // each result should be looked at
//
// What to know
//  - Nothing throws but what the standard library throws when memory ends. A function that can fail returns a
//    Result: test it, then use * or ->. value() of a failure ends the program, like an assertion.
//  - An Engine is a reference to a model. Open it as often as you like: the weights are loaded once per process.
//  - A Session is the state of one stream. Make one for each stream; streams that run at the same time are computed
//    together by the engine, and each gives the same bits as if it were alone.
//  - encode(), decode() and wait() block. A session is used by one thread at a time; cancel() may come from any.
//  - Sessions must not outlive their engine, nor jobs their session. Handles move, and close what they own.
#pragma once

#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "moshi/core.h"
#include "moshi/core_result.hpp"

namespace moshi::core {

/// Waits without end.
constexpr std::chrono::nanoseconds kForever = std::chrono::nanoseconds::max();

/// How a model is opened. Only `model` is usually needed.
struct EngineOptions {
  std::string model = {};       ///< directory or hub id `owner/name[@revision]`; "": the default model
  std::string weights = {};     ///< a Mimi weight file in place of the model's own
  std::string device = "auto";  ///< "auto", "cpu", "cuda", "cuda:N"
  MoshiPrecision precision = MOSHI_PRECISION_AUTO;
  uint32_t roles = MOSHI_ROLE_ENCODE | MOSHI_ROLE_DECODE;  ///< only these are loaded
  /// Of the process-wide pool; 0: all cores. The first engine decides; Engine::info() tells what is in force.
  int threads = 0;
  uint32_t backend = 0;  ///< 0: the best; 1: packed CPU kernels; 2: LibTorch operators
  /// Called from the loading thread with a fraction in [0, 1] and a word for what is being done.
  std::function<void(double fraction, const char* stage)> progress = {};

  /* The language model's (roles = MOSHI_ROLE_LM), each in place of the model's own. */
  std::string lm_weights = {};
  std::string tokenizer = {};  ///< a sentencepiece model
  std::string config = {};     ///< a config.json
  std::string lora = {};
  bool lora_separate = false;  ///< keep the LoRA beside the weights instead of adding it to them
};

/// How a stream is run.
struct SessionOptions {
  uint32_t roles = MOSHI_ROLE_ENCODE | MOSHI_ROLE_DECODE;
  /// Live streams go first, earliest deadline first; files fill the time that is left, in short pieces.
  MoshiClass work_class = MOSHI_CLASS_LIVE;
  int64_t seed = -1;
};

/// What a call may say besides its data.
struct CallOptions {
  bool reset = false;                       ///< start a new stream (of this direction) with this call
  int64_t deadline_ns = MOSHI_NO_DEADLINE;  ///< CLOCK_MONOTONIC; orders live streams
  std::span<float> latent = {};             ///< if given: frames * latent_width, see core.h
};

/// A job in flight, its buffers being the caller's. Cancelled and waited for when it is destroyed too early.
class Pending {
 public:
  Pending(Pending&& other) noexcept : api_(other.api_), session_(other.session_), job_(std::move(other.job_)) {}
  Pending& operator=(Pending&& other) noexcept {
    if (this != &other) {
      settle();
      api_ = other.api_;
      session_ = other.session_;
      job_ = std::move(other.job_);
    }
    return *this;
  }
  ~Pending() { settle(); }

  /// MOSHI_ERR_TIMEOUT when it has not ended by then: wait again.
  Result<void> wait(std::chrono::nanoseconds timeout = kForever) {
    return detail::call(api_->wait, session_, job_.get(), detail::nanoseconds(timeout));
  }
  /// Frames whose output is complete, times and status; valid once wait() has returned anything but a time-out.
  const MoshiJob& job() const { return *job_; }

 private:
  friend class Session;
  Pending(const MoshiCoreApi* api, MoshiSession* session, std::unique_ptr<MoshiJob> job)
      : api_(api), session_(session), job_(std::move(job)) {}
  void settle() {
    if (!job_) return;
    if (api_->wait(session_, job_.get(), 0, nullptr) != MOSHI_ERR_TIMEOUT) return;
    api_->session_cancel(session_);
    api_->wait(session_, job_.get(), MOSHI_FOREVER, nullptr);
  }

  const MoshiCoreApi* api_;
  MoshiSession* session_;
  std::unique_ptr<MoshiJob> job_;
};

/// One stream. It has a state for each of its roles: what comes out depends on all that went in before.
class Session {
 public:
  Session(Session&& other) noexcept
      : api_(other.api_), frame_samples_(other.frame_samples_), handle_(std::exchange(other.handle_, nullptr)) {}
  Session& operator=(Session&& other) noexcept {
    std::swap(api_, other.api_);
    std::swap(frame_samples_, other.frame_samples_);
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Session() {
    if (handle_) api_->session_close(handle_);
  }

  /// Encodes whole frames: `codes` receives frames * codebooks numbers, frame after frame, codebook 0 first.
  Result<void> encode(std::span<const float> pcm, int codebooks, std::span<uint16_t> codes, CallOptions options = {}) {
    return finish(submit_encode(pcm, codebooks, codes, options));
  }
  /// Decodes whole frames of `codebooks` codes each; `pcm` receives frames * frame_samples samples, not clipped.
  Result<void> decode(std::span<const uint16_t> codes, int codebooks, std::span<float> pcm, CallOptions options = {}) {
    return finish(submit_decode(codes, codebooks, pcm, options));
  }

  /// The same without waiting. Submit for several sessions, then wait for each: they are computed together.
  Result<Pending> submit_encode(std::span<const float> pcm, int codebooks, std::span<uint16_t> codes,
                                CallOptions options = {}) {
    const size_t frames = pcm.size() / static_cast<size_t>(frame_samples_);
    if (pcm.empty() || frames * static_cast<size_t>(frame_samples_) != pcm.size()) {
      return detail::wrong("audio to encode must be whole frames of " + std::to_string(frame_samples_) +
                           " samples, not " + std::to_string(pcm.size()) + " samples");
    }
    if (codebooks < 1 || codes.size() < frames * static_cast<size_t>(codebooks)) {
      return detail::wrong("the span for codes has " + std::to_string(codes.size()) + " elements, too few for " +
                           std::to_string(frames) + " frames of " + std::to_string(codebooks) + " codebooks");
    }
    auto job = make_job(MOSHI_JOB_ENCODE, frames, codebooks, options);
    job->pcm_in = pcm.data();
    job->codes_out = codes.data();
    return submit(std::move(job));
  }
  Result<Pending> submit_decode(std::span<const uint16_t> codes, int codebooks, std::span<float> pcm,
                                CallOptions options = {}) {
    if (codebooks < 1 || codes.empty() || codes.size() % static_cast<size_t>(codebooks) != 0) {
      return detail::wrong("codes to decode must be whole frames of " + std::to_string(codebooks) + " codes, not " +
                           std::to_string(codes.size()) + " codes");
    }
    const size_t frames = codes.size() / static_cast<size_t>(codebooks);
    if (pcm.size() < frames * static_cast<size_t>(frame_samples_)) {
      return detail::wrong("the span for audio has " + std::to_string(pcm.size()) + " samples, too few for " +
                           std::to_string(frames) + " frames");
    }
    auto job = make_job(MOSHI_JOB_DECODE, frames, codebooks, options);
    job->codes_in = codes.data();
    job->pcm_out = pcm.data();
    return submit(std::move(job));
  }

  /// Back to the state of a new session.
  Result<void> reset() { return detail::call(api_->session_reset, handle_); }
  /// Ends what is in flight; from any thread.
  void cancel() { api_->session_cancel(handle_); }
  Result<void> set(const std::string& name, double value) {
    return detail::call(api_->session_set, handle_, name.c_str(), value);
  }

  /// A second session that goes on from the same state.
  Result<Session> fork() {
    MoshiSession* copy = nullptr;
    if (auto made = detail::call(api_->session_fork, handle_, &copy); !made) return made.error();
    return Session(api_, frame_samples_, copy);
  }
  /// The state as bytes, for load() of a session of the same model, in this process or another.
  Result<std::vector<std::byte>> save() {
    size_t bytes = 0;
    if (auto asked = detail::call(api_->session_save, handle_, nullptr, &bytes); !asked) return asked.error();
    std::vector<std::byte> state(bytes);
    if (auto saved = detail::call(api_->session_save, handle_, static_cast<void*>(state.data()), &bytes); !saved) {
      return saved.error();
    }
    return state;
  }
  /// On an error the session is as before.
  Result<void> load(std::span<const std::byte> state) {
    return detail::call(api_->session_load, handle_, static_cast<const void*>(state.data()), state.size());
  }

  /// For what this class does not offer.
  MoshiSession* handle() const { return handle_; }

 private:
  friend class Engine;
  friend class LmSession;
  Session(const MoshiCoreApi* api, int frame_samples, MoshiSession* handle)
      : api_(api), frame_samples_(frame_samples), handle_(handle) {}

  static std::unique_ptr<MoshiJob> make_job(MoshiJobKind kind, size_t frames, int codebooks,
                                            const CallOptions& options) {
    auto job = std::make_unique<MoshiJob>(MOSHI_INIT(MoshiJob));
    job->kind = kind;
    job->flags = options.reset ? MOSHI_JOB_RESET : 0;
    job->frames = static_cast<int32_t>(frames);
    job->codebooks = codebooks;
    job->deadline_ns = options.deadline_ns;
    job->latent_out = options.latent.empty() ? nullptr : options.latent.data();
    return job;
  }
  Result<Pending> submit(std::unique_ptr<MoshiJob> job) {
    if (auto taken = detail::call(api_->submit, handle_, job.get()); !taken) return taken.error();
    return Pending(api_, handle_, std::move(job));
  }
  static Result<void> finish(Result<Pending> pending) {
    if (!pending) return pending.error();
    return pending->wait();
  }

  const MoshiCoreApi* api_;
  int frame_samples_;
  MoshiSession* handle_;
};

/// A model on a device, shared with everybody in the process who opened the same.
class Engine {
 public:
  Engine(Engine&& other) noexcept
      : api_(other.api_), handle_(std::exchange(other.handle_, nullptr)), progress_(std::move(other.progress_)) {}
  Engine& operator=(Engine&& other) noexcept {
    std::swap(api_, other.api_);
    std::swap(handle_, other.handle_);
    std::swap(progress_, other.progress_);
    return *this;
  }
  ~Engine() {
    if (handle_) api_->engine_close(handle_);
  }

  /// Waits until the weights are loaded: MOSHI_ERR_TIMEOUT when they are not by then.
  Result<void> wait(std::chrono::nanoseconds timeout = kForever) {
    return detail::call(api_->engine_wait, handle_, detail::nanoseconds(timeout));
  }
  /// Ends wait(), from any thread and for good.
  void cancel() { api_->engine_cancel(handle_); }

  /// Shape and paths at once; digest, kernels and measured times once loaded. Strings live as long as the engine.
  Result<MoshiEngineInfo> info() const { return get<MoshiEngineInfo>(api_->engine_info, handle_); }
  Result<MoshiEngineLimits> limits(uint32_t roles) const {
    return get<MoshiEngineLimits>(
        [this, roles](MoshiEngine* engine, MoshiEngineLimits* out, MoshiError* error) {
          return api_->engine_limits(engine, roles, out, error);
        },
        handle_);
  }
  Result<MoshiEngineStats> stats() const { return get<MoshiEngineStats>(api_->engine_stats, handle_); }

  /// Facts of the language model of an engine opened with MOSHI_ROLE_LM. Strings and arrays live as long as the engine.
  Result<MoshiLmInfo> lm_info() const { return get<MoshiLmInfo>(api_->lm_info, handle_); }
  /// Hooks for the sessions of this engine's language model; empty ones take them away.
  Result<void> set_hooks(const MoshiStepHooks& hooks) {
    const MoshiStepHooks* wish = &hooks;
    return detail::call(api_->engine_set_hooks, handle_, wish);
  }

  /// Opens a stream of Mimi's; the model must be loaded. A language model's: LmSession::open().
  Result<Session> session(SessionOptions options = {}) const {
    const auto facts = info();
    if (!facts) return facts.error();
    MoshiSessionConfig config = MOSHI_INIT(MoshiSessionConfig);
    config.roles = options.roles;
    config.work_class = options.work_class;
    config.seed = options.seed;
    MoshiSession* made = nullptr;
    const MoshiSessionConfig* wish = &config;
    if (auto opened = detail::call(api_->session_open, handle_, wish, &made); !opened) return opened.error();
    return Session(api_, facts->frame_samples, made);
  }

  /// For what this class does not offer.
  MoshiEngine* handle() const { return handle_; }
  const MoshiCoreApi& api() const { return *api_; }

 private:
  friend class Core;
  using Progress = std::function<void(double, const char*)>;
  Engine(const MoshiCoreApi* api, MoshiEngine* handle, std::unique_ptr<Progress> progress)
      : api_(api), handle_(handle), progress_(std::move(progress)) {}

  template <class T, class Fn>
  static Result<T> get(Fn fn, MoshiEngine* handle) {
    T value = MOSHI_INIT(T);
    if (auto got = detail::call(fn, handle, &value); !got) return got.error();
    return value;
  }

  const MoshiCoreApi* api_;
  MoshiEngine* handle_;
  std::unique_ptr<Progress> progress_;  // called until the engine is closed
};

/// The library.
class Core {
 public:
  /// Opens libmoshi-core.so: the file `path` if it is given, else what the variable MOSHI_CORE names, else by its name
  /// from where the system looks for libraries. It stays loaded until the process ends.
  static Result<Core> load(const std::string& path = {}) {
    std::string file = path;
    if (file.empty()) {
      const char* named = std::getenv("MOSHI_CORE");
      file = named && *named ? named : "libmoshi-core.so";
    }
    void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) {
      const char* why = dlerror();
      return Error{MOSHI_ERR_NOT_FOUND, "cannot load " + file + ": name it with MOSHI_CORE", why ? why : ""};
    }
    const auto get_api = reinterpret_cast<MoshiCoreGetApiFn>(dlsym(library, MOSHI_CORE_GET_API_SYMBOL));
    if (!get_api)
      return Error{MOSHI_ERR_FORMAT, file + " is not a moshi core: it lacks " MOSHI_CORE_GET_API_SYMBOL, {}};
    return from_api(get_api(MOSHI_CORE_ABI), file);
  }
  /// The library that the program is linked with.
  static Result<Core> linked() { return from_api(moshi_core_get_api(MOSHI_CORE_ABI), "the linked library"); }
  /// A table that was come by in another way.
  static Result<Core> from_api(const MoshiCoreApi* api, const std::string& where = "the table") {
    if (!api || api->abi != MOSHI_CORE_ABI || api->size < sizeof(MoshiCoreApi)) {
      return Error{MOSHI_ERR_MISMATCH,
                   where + " does not serve generation " + std::to_string(MOSHI_CORE_ABI) +
                       " of the core's interface: use a core of this program's version",
                   {}};
    }
    return Core(api);
  }

  /// Opens a model; see core.h. The weights are loaded in the background: Engine::wait().
  Result<Engine> open(const EngineOptions& options) const {
    MoshiEngineConfig config = config_of(options);
    auto progress = options.progress ? std::make_unique<Engine::Progress>(options.progress) : nullptr;
    if (progress) {
      config.progress_user = progress.get();
      config.progress = [](void* user, double fraction, const char* stage) {
        (*static_cast<Engine::Progress*>(user))(fraction, stage);
      };
    }
    MoshiEngine* engine = nullptr;
    const MoshiEngineConfig* wish = &config;
    if (auto opened = detail::call(api_->engine_open, wish, &engine); !opened) return opened.error();
    return Engine(api_, engine, std::move(progress));
  }

  /// Called with the file that is coming and bytes of all files that have come and that there are; false cancels.
  using FetchProgress = std::function<bool(const char* file, uint64_t done, uint64_t total)>;
  /// Gets what open() with the same options needs from the hub; returns when all is there.
  Result<void> fetch(const EngineOptions& options, FetchProgress progress = {}) const {
    const MoshiEngineConfig config = config_of(options);
    const MoshiEngineConfig* wish = &config;
    const MoshiFetchFn report = [](void* user, const char* file, uint64_t done, uint64_t total) -> int32_t {
      const auto& told = *static_cast<FetchProgress*>(user);
      return !told || told(file, done, total) ? 1 : 0;
    };
    return detail::call(api_->fetch, wish, report, static_cast<void*>(&progress));
  }

  std::string version() const { return api_->version; }
  std::string backend_version() const { return api_->backend_version; }
  /// Sends the core's log lines to `fn`, from any thread; nullptr is silence. Process-wide.
  void set_log(MoshiLogFn fn, void* user) const { api_->set_log(fn, user); }
  const MoshiCoreApi& api() const { return *api_; }

 private:
  explicit Core(const MoshiCoreApi* api) : api_(api) {}

  /// Without progress; as long as the options are there.
  static MoshiEngineConfig config_of(const EngineOptions& options) {
    const auto or_null = [](const std::string& text) { return text.empty() ? nullptr : text.c_str(); };
    MoshiEngineConfig config = MOSHI_INIT(MoshiEngineConfig);
    config.model = or_null(options.model);
    config.weights = or_null(options.weights);
    config.device = or_null(options.device);
    config.precision = options.precision;
    config.roles = options.roles;
    config.threads = options.threads;
    config.backend = options.backend;
    config.lm_weights = or_null(options.lm_weights);
    config.tokenizer = or_null(options.tokenizer);
    config.config = or_null(options.config);
    config.lora = or_null(options.lora);
    config.lora_separate = options.lora_separate;
    return config;
  }

  const MoshiCoreApi* api_;
};

}  // namespace moshi::core

#include "moshi/core_lm.hpp"
#include "moshi/core_streams.hpp"

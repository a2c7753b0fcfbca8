// SPDX-License-Identifier: MIT
// One model, a Mimi or a language model, on one device: weights that every engine reference and session of the process
// shares. Engines and sessions own it together; the last one frees it.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "engine/codec_factory.h"
#include "engine/executor.h"
#include "engine/hooks.h"
#include "engine/lane.h"
#include "engine/lm_source.h"
#include "engine/model_source.h"
#include "moshi/core.h"

namespace moshi::engine {

/// An opened model: one of the two.
struct Source {
  std::shared_ptr<const ModelSource> mimi;
  std::shared_ptr<const LmSource> lm;

  const ModelFacts& facts() const { return lm ? lm->facts() : mimi->facts(); }
};

/// One attempt to load a model for some kinds of work; whoever wants them while it lasts joins it. Guarded by the
/// model's lock.
struct Load {
  enum class State { kQueued, kRunning, kReady, kFailed };
  std::vector<Work> works;
  Source source;  ///< until it ends
  State state = State::kQueued;
  int wanted_by = 0;       ///< engine references that have not been cancelled
  bool abandoned = false;  ///< nobody wants it: it stops at its next step, and nobody joins it any more
  MoshiError error = MOSHI_INIT(MoshiError);

  bool ended() const { return state == State::kReady || state == State::kFailed; }
  bool loads(Work work) const;
};

}  // namespace moshi::engine

/// A caller's reference. What changes is guarded by the model's lock.
struct MoshiEngine {
  std::shared_ptr<moshi::engine::Model> model;
  moshi::engine::ModelFacts facts;  ///< as this reference found them: another way may lead to the same model
  bool embedded = false;            ///< no model was named, and it is the one that comes with the core
  uint32_t roles = 0;
  MoshiProgressFn progress = nullptr;
  void* progress_user = nullptr;

  std::vector<std::shared_ptr<moshi::engine::Load>> loads;  ///< that it waits for
  bool cancelled = false;
  std::shared_ptr<moshi::engine::Hooks> hooks = std::make_shared<moshi::engine::Hooks>();
};

namespace moshi::engine {

using Engine = ::MoshiEngine;

/// What a load makes.
struct Loaded {
  std::unique_ptr<mimi::Codec> codec;
  std::unique_ptr<lm::LanguageModel> language_model;
  std::array<Lane, kWorks.size()> lanes;  ///< by Work
  std::string sha256;                     ///< of the weight file
  std::vector<int32_t> silence;           ///< a language model's user codes of silence; empty: unknown
  std::string mimi_sha256;                ///< of the Mimi that gave them
};

class Model : public std::enable_shared_from_this<Model> {
 public:
  struct Identity {
    std::string device;
    MoshiPrecision precision = MOSHI_PRECISION_F32;
    Backend backend = Backend::kPacked;
  };
  Model(ModelFacts facts, Identity identity, std::shared_ptr<Executor> executor);
  ~Model();

  const ModelFacts& facts() const { return facts_; }
  const std::string& device() const { return identity_.device; }
  MoshiPrecision precision() const { return identity_.precision; }
  Backend backend() const { return identity_.backend; }
  Executor& executor() const { return *executor_; }

  /// Null until the model is loaded for this work; then the same for the model's life.
  Lane* lane(Work work) const { return lanes_[index_of(work)].load(); }
  /// Of the weight file; empty until something is loaded, then the same for the model's life.
  const std::string& sha256() const;
  uint64_t weight_bytes() const;
  const char* kernels() const;
  /// A language model's user codes of silence, and the digest of the Mimi that gave them; empty until it is loaded, or
  /// if it has no Mimi, then the same for the model's life.
  const std::vector<int32_t>& silence() const;
  const std::string& mimi_sha256() const;

  /// Counts one more session; false, and none more, if there are `most` already (0: any number).
  bool enter_session(int most);
  void leave_session() { --sessions_; }
  int sessions() const { return sessions_; }

  /// Makes the engine a reference to this model: what it needs and is not there is loaded from `source`, or the load
  /// in progress is joined.
  void join(Engine& engine, Source source);
  /// Waits for the engine's loads; false when the time is over. Throws the load's Error, or Error(CANCELLED).
  bool wait(Engine& engine, int64_t timeout_ns);
  /// Ends the engine's waits, and the loads that only it wanted.
  void cancel(Engine& engine);
  /// Forgets the engine; its progress callback does not run any more.
  void leave(Engine& engine);

 private:
  friend class Loader;

  std::shared_ptr<Load> load_in_progress(Work work) const;
  void start_loading(std::shared_ptr<Load> load);
  void cancel_locked(Engine& engine);

  const ModelFacts facts_;
  const Identity identity_;
  const std::shared_ptr<Executor> executor_;
  std::atomic<int> sessions_{0};

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::shared_ptr<Load>> queue_;  // loads that have not ended, oldest first
  const Engine* reporting_to_ = nullptr;      // whose progress callback runs, and on which thread
  std::thread::id reporter_;
  bool loading_ = false;  // a loading thread is there
  std::vector<Engine*> engines_;
  std::string sha256_;
  std::string mimi_sha256_;
  std::vector<int32_t> silence_;

  std::vector<std::unique_ptr<mimi::Codec>> codecs_;
  std::unique_ptr<lm::LanguageModel> language_model_;
  std::array<Lane, kWorks.size()> lane_store_;
  std::array<std::atomic<Lane*>, kWorks.size()> lanes_{};
};

/// The memory of one row's key-value rings: nearly all of a row.
uint64_t ring_bytes(const mimi::Config& config);

}  // namespace moshi::engine

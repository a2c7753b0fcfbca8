// SPDX-License-Identifier: MIT
// One model on one device: weights that every engine reference and session of the process shares. Engines and sessions
// own it together; the last one frees it.
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
#include "engine/lane.h"
#include "engine/model_source.h"
#include "moshi/core.h"

namespace moshi::engine {

/// One attempt to load some directions of a model; whoever wants them while it lasts joins it. Guarded by the model's
/// lock.
struct Load {
  enum class State { kQueued, kRunning, kReady, kFailed };
  std::vector<mimi::Direction> directions;
  std::shared_ptr<const ModelSource> source;  ///< until it ends
  State state = State::kQueued;
  int wanted_by = 0;       ///< engine references that have not been cancelled
  bool abandoned = false;  ///< nobody wants it: it stops at its next step, and nobody joins it any more
  MoshiError error = MOSHI_INIT(MoshiError);

  bool ended() const { return state == State::kReady || state == State::kFailed; }
  bool loads(mimi::Direction direction) const;
};

}  // namespace moshi::engine

/// A caller's reference. What changes is guarded by the model's lock.
struct MoshiEngine {
  std::shared_ptr<moshi::engine::Model> model;
  moshi::engine::ModelFacts facts;  ///< as this reference found them: another way may lead to the same model
  uint32_t roles = 0;
  MoshiProgressFn progress = nullptr;
  void* progress_user = nullptr;

  std::vector<std::shared_ptr<moshi::engine::Load>> loads;  ///< that it waits for
  bool cancelled = false;
};

namespace moshi::engine {

using Engine = ::MoshiEngine;

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

  /// Null until the direction is loaded; then the same for the model's life.
  Lane* lane(mimi::Direction direction) const { return lanes_[static_cast<size_t>(direction)].load(); }
  /// Of the weight file; empty until something is loaded, then the same for the model's life.
  const std::string& sha256() const;
  uint64_t weight_bytes() const;
  const char* kernels() const;

  void count_session(int change) { sessions_ += change; }
  int sessions() const { return sessions_; }

  /// Makes the engine a reference to this model: what it needs and is not there is loaded from `source`, or the load
  /// in progress is joined.
  void join(Engine& engine, std::shared_ptr<const ModelSource> source);
  /// Waits for the engine's loads; false when the time is over. Throws the load's Error, or Error(CANCELLED).
  bool wait(Engine& engine, int64_t timeout_ns);
  /// Ends the engine's waits, and the loads that only it wanted.
  void cancel(Engine& engine);
  /// Forgets the engine; its progress callback does not run any more.
  void leave(Engine& engine);

 private:
  friend class Loader;

  std::shared_ptr<Load> load_in_progress(mimi::Direction direction) const;
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

  std::vector<std::unique_ptr<mimi::Codec>> codecs_;
  std::array<Lane, 2> lane_store_;
  std::array<std::atomic<Lane*>, 2> lanes_{};
};

/// The MoshiRole bit of a direction.
inline uint32_t role_of(mimi::Direction direction) {
  return direction == mimi::Direction::kEncode ? MOSHI_ROLE_ENCODE : MOSHI_ROLE_DECODE;
}
const char* role_name(mimi::Direction direction);

/// The memory of one row's key-value rings: nearly all of a row.
uint64_t ring_bytes(const mimi::Config& config);

}  // namespace moshi::engine

// SPDX-License-Identifier: MIT
// Which sessions run next, together, and how many frames of each. Decides only; runs nothing and waits for nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/session.h"

namespace moshi::engine {

/// Rows of one call: more would make the first of them wait too long for the last.
constexpr int kMaxRows = 64;
/// Frames of one row in one call.
constexpr int kMaxFrames = 64;
/// Estimated work of one call beyond its first frames: what a live frame that comes meanwhile has to wait.
constexpr int64_t kQuantumNs = 10'000'000;
/// The same while no live session is open: long calls read the weights once for many frames. Bounds what a
/// cancellation waits for.
constexpr int64_t kAloneQuantumNs = 100'000'000;

/// One session's part of a batch.
struct BatchEntry {
  Session* session = nullptr;
  MoshiJob* job = nullptr;
  int first = 0;   ///< frame of the job
  int frames = 0;  ///< to run
  int good = 0;    ///< of those, frames before one that cannot be; filled while running
  bool failed = false;
};

/// What one call of a model computes.
struct Batch {
  Lane* lane = nullptr;
  MoshiClass work_class = MOSHI_CLASS_LIVE;
  int count = 0;
  std::array<BatchEntry, kMaxRows> entries;
};

/// The sessions that have a job to run and are not in a batch. Guarded by the executor's lock.
class Scheduler {
 public:
  /// Makes room for one more session, so that add() never allocates.
  void open_session(MoshiClass work_class);
  void close_session(MoshiClass work_class);
  void change_class(Session& session, MoshiClass work_class);

  void add(Session& session);
  void remove(Session& session);
  bool empty() const { return ready_.empty(); }
  bool live_ready() const { return live_ready_ > 0; }

  /// Takes the most urgent session, and with it all ready ones of the same lane and class, off the list and into
  /// `batch`: live before file, earliest deadline first, then in turn. False: nothing is ready.
  bool plan(Batch& batch);

 private:
  static bool more_urgent(const Session* a, const Session* b);
  int64_t quantum_ns() const;
  size_t most_rows(const Batch& batch, size_t ready) const;
  void allot_frames(Batch& batch) const;

  std::vector<Session*> ready_;
  std::vector<Session*> candidates_;  // scratch of plan()
  size_t open_ = 0;
  size_t live_open_ = 0;
  size_t live_ready_ = 0;
  uint64_t turn_ = 0;
};

}  // namespace moshi::engine

// SPDX-License-Identifier: MIT
// One stream's state and its queue of jobs.
#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>

#include "engine/hooks.h"
#include "engine/lane.h"
#include "engine/memory.h"
#include "moshi/core.h"

namespace moshi::engine {

class Model;

constexpr size_t kNotReady = std::numeric_limits<size_t>::max();
/// Jobs of one session in flight; one more is MOSHI_ERR_BUSY. Enough to stay ahead of the engine, few enough that a
/// stream that is not consumed is noticed.
constexpr int kMaxJobsInFlight = 64;

/// A session's share of one kind of work. The row is the executor's while the session's job runs, else the caller's.
struct Track {
  Lane* lane = nullptr;  ///< of the model; null: not one of the session's roles
  Row row;
  Reservation memory;            ///< the row's, until frames have put its ring to use
  Reservation guidance_memory;   ///< likewise of its second half
  Reservation condition_memory;  ///< of conditions, until a step has computed what it needs of them
  uint64_t condition_bytes = 0;  ///< of one half
  int64_t frames = 0;            ///< run since the row was made
  int64_t guided_from = 0;       ///< of those, before it got its second half
  bool damaged = false;          ///< a call failed half-way: the row must be reset before it goes on
};

/// How a language model session draws its tokens.
struct LmSettings {
  lm::Sampling sampling;
  lm::Guidance guidance;
};

}  // namespace moshi::engine

struct MoshiSession {
  std::shared_ptr<moshi::engine::Model> model;
  uint32_t roles = 0;
  std::array<moshi::engine::Track, moshi::engine::kWorks.size()> tracks;  ///< by Work
  std::shared_ptr<moshi::engine::Hooks> hooks;                            ///< of the engine that opened it
  int max_sessions = 0;                                                   ///< of the model; 0: any number

  /* Guarded by the executor's lock. */
  MoshiClass work_class = MOSHI_CLASS_LIVE;
  MoshiJob* head = nullptr;  ///< runs next, or now
  MoshiJob* tail = nullptr;
  int jobs = 0;                                ///< in flight
  int callbacks = 0;                           ///< ended jobs whose callback has not returned
  bool running = false;                        ///< takes part in the batch that is being computed
  bool cancelling = false;                     ///< the running job ends after this batch
  size_t ready_at = moshi::engine::kNotReady;  ///< place in the scheduler's list
  uint64_t turn = 0;                           ///< order among equals: who became ready first
  moshi::engine::LmSettings settings;          ///< as they were last set
  bool new_settings = false;                   ///< the row does not have them yet
  std::condition_variable changed;

  moshi::engine::Track& track(moshi::engine::Work work) { return tracks[moshi::engine::index_of(work)]; }
  /// The track that a job of this kind runs on, or null.
  moshi::engine::Track* track_of(MoshiJobKind kind) {
    if (kind == MOSHI_JOB_ENCODE) return &track(moshi::engine::Work::kEncode);
    if (kind == MOSHI_JOB_DECODE) return &track(moshi::engine::Work::kDecode);
    if (kind == MOSHI_JOB_STEP) return &track(moshi::engine::Work::kStep);
    return nullptr;
  }
};

namespace moshi::engine {

using Session = ::MoshiSession;

/// Makes a session with fresh rows; memory is checked before it is taken. The engine must be loaded. Throws Error.
std::unique_ptr<Session> make_session(MoshiEngine& engine, const MoshiSessionConfig& config);
/// One that goes on from the same state. Throws Error(BUSY) while jobs are in flight.
std::unique_ptr<Session> fork_session(Session& session);
/// Back to the state of a new one. Throws Error(BUSY) while jobs are in flight.
void reset_session(Session& session);
/// Ends its jobs, waits for them, and frees it.
void close_session(std::unique_ptr<Session> session);
void set_session_number(Session& session, const char* name, double value);

/// Throws Error(BUSY) naming `what` while jobs are in flight.
void require_idle(Session& session, const char* what);
/// Bytes that the rows of `roles` take, once all of their rings are in use; without guidance.
uint64_t row_bytes(const Model& model, uint32_t roles);

}  // namespace moshi::engine

// SPDX-License-Identifier: MIT
// A job in flight. The caller's struct is the queue's node: the core keeps its links in `reserved`, and its submission
// time in `wait_ns` until the first batch starts. All of it is guarded by the executor's lock.
#pragma once

#include <cstdint>
#include <string>

#include "engine/lane.h"
#include "moshi/core.h"

namespace moshi::engine {

enum class JobState : uintptr_t {
  kUnknown = 0,           ///< never submitted
  kQueued = 0x4a4f4201,   ///< in its session's queue
  kRunning = 0x4a4f4202,  ///< its session's first, part of a batch or between two
  kEnding = 0x4a4f4203,   ///< results are set, the callback is still to be called
  kEnded = 0x4a4f4204,
};

/// The state of a job; kUnknown for a struct that the core has not seen, or a copy of one that it has.
JobState job_state(const MoshiJob& job);
MoshiSession* job_session(const MoshiJob& job);
MoshiJob* job_next(const MoshiJob& job);
void set_job_state(MoshiJob& job, JobState state);
void set_job_next(MoshiJob& job, MoshiJob* next);
/// Makes `job` a queued one of `session` and clears its results.
void enter_job(MoshiJob& job, MoshiSession* session, int64_t now_ns);

inline bool in_flight(JobState state) {
  return state == JobState::kQueued || state == JobState::kRunning || state == JobState::kEnding;
}

inline bool has_deadline(const MoshiJob& job) { return job.deadline_ns > 0 && job.deadline_ns != MOSHI_NO_DEADLINE; }

/// Checks a job against the lane that would run it. Throws Error(INVALID_ARGUMENT) that names the field.
void check_job(const MoshiJob& job, const Lane& lane);

/// How many of `frames` frames from `first` on hold only what a stream can hold. If not all, `message` says what is
/// wrong in the next one. Reads the input only.
int good_frames(const MoshiJob& job, const Lane& lane, int first, int frames, std::string* message);

}  // namespace moshi::engine

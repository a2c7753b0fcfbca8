// SPDX-License-Identifier: MIT
#include "engine/job.h"

#include <cmath>

#include "engine/errors.h"

namespace moshi::engine {
namespace {

enum Slot { kState, kSelf, kSession, kNext };

void check_pointer(const void* pointer, const char* field, const char* kind) {
  if (!pointer) invalid(std::string("MoshiJob::") + field + " is NULL, but " + kind + " needs it");
}

bool finite(const float* samples, int count) {
  // A product with zero is NaN exactly when the sample is not finite; sums of those vectorize.
  float sum = 0;
  for (int i = 0; i < count; ++i) sum += samples[i] * 0.0f;
  return sum == 0.0f;
}

std::string bad_sample(const float* samples, int count, int64_t offset) {
  for (int i = 0; i < count; ++i) {
    if (!std::isfinite(samples[i])) {
      return "sample " + std::to_string(offset + i) + " of the job's audio is " +
             (std::isnan(samples[i]) ? "not a number" : "infinite") + ": audio must be finite, about -1 to 1";
    }
  }
  return {};
}

}  // namespace

JobState job_state(const MoshiJob& job) {
  if (job.reserved[kSelf] != &job) return JobState::kUnknown;
  return static_cast<JobState>(reinterpret_cast<uintptr_t>(job.reserved[kState]));
}

MoshiSession* job_session(const MoshiJob& job) { return static_cast<MoshiSession*>(job.reserved[kSession]); }
MoshiJob* job_next(const MoshiJob& job) { return static_cast<MoshiJob*>(job.reserved[kNext]); }

void set_job_state(MoshiJob& job, JobState state) {
  job.reserved[kState] = reinterpret_cast<void*>(static_cast<uintptr_t>(state));
}

void set_job_next(MoshiJob& job, MoshiJob* next) { job.reserved[kNext] = next; }

void enter_job(MoshiJob& job, MoshiSession* session, int64_t now_ns) {
  job.reserved[kSelf] = &job;
  job.reserved[kSession] = session;
  job.reserved[kNext] = nullptr;
  set_job_state(job, JobState::kQueued);
  job.status = MOSHI_OK;
  job.frames_done = 0;
  job.wait_ns = now_ns;
  job.run_ns = 0;
  job.error.size = sizeof job.error;
  set_error(&job.error, MOSHI_OK, "");
}

void check_job(const MoshiJob& job, const Lane& lane) {
  const bool encode = lane.direction == mimi::Direction::kEncode;
  const char* kind = encode ? "an encode job" : "a decode job";
  if (job.flags & ~static_cast<uint32_t>(MOSHI_JOB_RESET)) {
    invalid(std::string("MoshiJob::flags has bits that ") + kind + " does not take: only MOSHI_JOB_RESET is");
  }
  if (job.frames < 1) invalid("MoshiJob::frames is " + std::to_string(job.frames) + ": it must be at least 1");
  if (job.codebooks < 1 || job.codebooks > lane.codebooks) {
    invalid("MoshiJob::codebooks is " + std::to_string(job.codebooks) + ": this model takes 1 to " +
            std::to_string(lane.codebooks));
  }
  if (encode) {
    check_pointer(job.pcm_in, "pcm_in", kind);
    check_pointer(job.codes_out, "codes_out", kind);
  } else {
    check_pointer(job.codes_in, "codes_in", kind);
    check_pointer(job.pcm_out, "pcm_out", kind);
  }
}

int good_frames(const MoshiJob& job, const Lane& lane, int first, int frames, std::string* message) {
  for (int frame = first; frame < first + frames; ++frame) {
    if (lane.direction == mimi::Direction::kEncode) {
      const int64_t offset = static_cast<int64_t>(frame) * lane.frame_samples;
      const float* samples = job.pcm_in + offset;
      if (finite(samples, lane.frame_samples)) continue;
      *message = bad_sample(samples, lane.frame_samples, offset);
      return frame - first;
    }
    const uint16_t* codes = job.codes_in + static_cast<int64_t>(frame) * job.codebooks;
    for (int k = 0; k < job.codebooks; ++k) {
      if (codes[k] < lane.cardinality) continue;
      *message = "frame " + std::to_string(frame) + ", codebook " + std::to_string(k) + " of the job: code " +
                 std::to_string(codes[k]) + " is out of range, this model's codes are 0 to " +
                 std::to_string(lane.cardinality - 1);
      return frame - first;
    }
  }
  return frames;
}

}  // namespace moshi::engine

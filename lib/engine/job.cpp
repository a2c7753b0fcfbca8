// SPDX-License-Identifier: MIT
#include "engine/job.h"

#include <algorithm>
#include <cmath>
#include <limits>

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

/// One frame's tokens of one kind, of which each stream takes one.
struct Tokens {
  const char* what;
  const int32_t* first;
  int count;
  int32_t most;  ///< the highest
  bool forced;   ///< may also be MOSHI_TOKEN_GENERATE
};

bool in_range(const Tokens& tokens, int frame, std::string* message) {
  for (int k = 0; k < tokens.count; ++k) {
    const int32_t token = tokens.first[k];
    if ((token >= MOSHI_TOKEN_ZERO && token <= tokens.most) || (tokens.forced && token == MOSHI_TOKEN_GENERATE)) {
      continue;
    }
    *message = "frame " + std::to_string(frame) + ", " + tokens.what + " " + std::to_string(k) + " of the job: token " +
               std::to_string(token) + " is out of range, it can be -1 to " + std::to_string(tokens.most) +
               (tokens.forced ? " or MOSHI_TOKEN_GENERATE" : "");
    return false;
  }
  return true;
}

bool is_bias(const float* bias, int count) {
  return std::all_of(bias, bias + count, [](float value) { return value < std::numeric_limits<float>::infinity(); });
}

int good_steps(const MoshiJob& job, const lm::Config& config, int first, int frames, std::string* message) {
  const auto row = [](const int32_t* tokens, int frame, int width) {
    return tokens ? tokens + static_cast<ptrdiff_t>(frame) * width : nullptr;
  };
  if (first == 0 && job.logit_bias && !is_bias(job.logit_bias, config.text_card_out)) {
    *message = "the job's logit_bias holds NaN or infinity: a bias is finite, or -infinity to rule a token out";
    return 0;
  }
  for (int frame = first; frame < first + frames; ++frame) {
    const int user = config.user_streams();
    const Tokens all[] = {
        {"user stream", row(job.user_tokens, frame, user), user, config.card, false},
        {"forced text", row(job.forced_text, frame, 1), 1, config.highest_text(), true},
        {"forced stream", row(job.forced_audio, frame, config.dep_q), config.dep_q, config.card, true},
    };
    for (const Tokens& tokens : all) {
      if (tokens.first && !in_range(tokens, frame, message)) return frame - first;
    }
  }
  return frames;
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
  if (job.frames < 1) invalid("MoshiJob::frames is " + std::to_string(job.frames) + ": it must be at least 1");
  if (lane.work == Work::kStep) {
    if (job.flags & ~static_cast<uint32_t>(MOSHI_JOB_RESET | MOSHI_JOB_TEXT_ONLY)) {
      invalid("MoshiJob::flags has bits that a step job does not take: MOSHI_JOB_RESET and MOSHI_JOB_TEXT_ONLY are");
    }
    return check_pointer(job.tokens_out, "tokens_out", "a step job");
  }
  const bool encode = lane.work == Work::kEncode;
  const char* kind = encode ? "an encode job" : "a decode job";
  if (job.flags & ~static_cast<uint32_t>(MOSHI_JOB_RESET)) {
    invalid(std::string("MoshiJob::flags has bits that ") + kind + " does not take: only MOSHI_JOB_RESET is");
  }
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
  if (lane.work == Work::kStep) return good_steps(job, lane.language_model->config(), first, frames, message);
  for (int frame = first; frame < first + frames; ++frame) {
    if (lane.work == Work::kEncode) {
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

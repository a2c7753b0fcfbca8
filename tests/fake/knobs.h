// SPDX-License-Identifier: MIT
// Settings and counters of the fake core; fake.h documents them.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace moshi_fake {

/** The knob's value now, or `fallback` where nobody set it. Any thread. */
double Knob(const char* name, double fallback);
void SetKnob(const char* name, const char* value);

/** The counters of MoshiFakeStats. */
struct Counters {
  std::atomic<int64_t> models, engines, sessions, buffers, threads;
  std::atomic<int64_t> jobs_in_flight, loads_running, batch_running, engine_waits, fetches_running;
  std::atomic<int64_t> loads_started, loads_completed, loads_cancelled, loads_failed;
  std::atomic<int64_t> engines_opened, sessions_opened;
  std::atomic<int64_t> jobs_submitted, jobs_cancelled, live_jobs, file_jobs;
  std::atomic<int64_t> frames_encoded, frames_decoded, encode_resets, decode_resets, job_frames_max, misuse;
  std::atomic<int64_t> fetches, steps, lm_resets;
};
Counters& Count();

/** What sessions were last given: settings by name, and conditions in the words of fake.h. */
void NoteSetting(const char* name, double value);
void NoteConditions(std::string text);

/** Counts up for as long as it lives. */
class Counted {
 public:
  explicit Counted(std::atomic<int64_t>& counter) : counter_(counter) { ++counter_; }
  ~Counted() { --counter_; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 private:
  std::atomic<int64_t>& counter_;
};

}  // namespace moshi_fake

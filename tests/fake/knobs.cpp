// SPDX-License-Identifier: MIT
#include "knobs.h"

#include <unistd.h>

#include <cstdlib>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include "fake.h"
#include "fetch.h"

namespace moshi_fake {
namespace {

constexpr std::string_view kPrefix = "MOSHI_FAKE_";

struct Knobs {
  std::mutex mutex;
  std::map<std::string, double, std::less<>> values;

  // The environment is copied once: getenv() during a test's setenv() would be a data race.
  Knobs() {
    for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
      std::string_view text = *entry;
      const size_t equals = text.find('=');
      if (equals == std::string_view::npos || !text.starts_with(kPrefix)) continue;
      values[std::string(text.substr(kPrefix.size(), equals - kPrefix.size()))] =
          std::strtod(*entry + equals + 1, nullptr);
    }
  }
};

/** What sessions were given. */
struct Notes {
  std::mutex mutex;
  std::map<std::string, double, std::less<>> settings;
  std::string conditions;
};

Notes& TheNotes() {
  static Notes notes;
  return notes;
}

Knobs& TheKnobs() {
  static Knobs knobs;
  return knobs;
}

}  // namespace

double Knob(const char* name, double fallback) {
  Knobs& knobs = TheKnobs();
  std::lock_guard lock(knobs.mutex);
  auto found = knobs.values.find(std::string_view(name));
  return found == knobs.values.end() ? fallback : found->second;
}

void SetKnob(const char* name, const char* value) {
  Knobs& knobs = TheKnobs();
  std::lock_guard lock(knobs.mutex);
  if (name == nullptr)
    knobs.values.clear();
  else if (value == nullptr)
    knobs.values.erase(name);
  else
    knobs.values[name] = std::strtod(value, nullptr);
}

void NoteSetting(const char* name, double value) {
  Notes& notes = TheNotes();
  std::lock_guard lock(notes.mutex);
  notes.settings[name] = value;
}

void NoteConditions(std::string text) {
  Notes& notes = TheNotes();
  std::lock_guard lock(notes.mutex);
  notes.conditions = std::move(text);
}

Counters& Count() {
  static Counters counters{};
  return counters;
}

}  // namespace moshi_fake

#pragma GCC visibility push(default)
extern "C" void moshi_fake_set(const char* name, const char* value) { moshi_fake::SetKnob(name, value); }

extern "C" void moshi_fake_begin(void) {
  moshi_fake::SetKnob(nullptr, nullptr);
  {
    moshi_fake::Notes& notes = moshi_fake::TheNotes();
    std::lock_guard lock(notes.mutex);
    notes.settings.clear();
    notes.conditions.clear();
  }
  moshi_fake::ForgetFetched();
  moshi_fake::Counters& count = moshi_fake::Count();
  for (auto* since :
       {&count.loads_started, &count.loads_completed, &count.loads_cancelled, &count.loads_failed,
        &count.engines_opened, &count.sessions_opened, &count.jobs_submitted, &count.jobs_cancelled, &count.live_jobs,
        &count.file_jobs, &count.frames_encoded, &count.frames_decoded, &count.encode_resets, &count.decode_resets,
        &count.job_frames_max, &count.misuse, &count.fetches, &count.steps, &count.lm_resets})
    *since = 0;
}

extern "C" double moshi_fake_setting(const char* name) {
  moshi_fake::Notes& notes = moshi_fake::TheNotes();
  std::lock_guard lock(notes.mutex);
  auto found = notes.settings.find(std::string_view(name));
  return found == notes.settings.end() ? -1e9 : found->second;
}

extern "C" const char* moshi_fake_conditions(void) {
  static std::string text;
  moshi_fake::Notes& notes = moshi_fake::TheNotes();
  std::lock_guard lock(notes.mutex);
  text = notes.conditions;
  return text.c_str();
}

extern "C" void moshi_fake_stats(MoshiFakeStats* stats) {
  const moshi_fake::Counters& count = moshi_fake::Count();
  stats->models = count.models;
  stats->engines = count.engines;
  stats->sessions = count.sessions;
  stats->buffers = count.buffers;
  stats->threads = count.threads;
  stats->jobs_in_flight = count.jobs_in_flight;
  stats->loads_running = count.loads_running;
  stats->batch_running = count.batch_running;
  stats->engine_waits = count.engine_waits;
  stats->loads_started = count.loads_started;
  stats->loads_completed = count.loads_completed;
  stats->loads_cancelled = count.loads_cancelled;
  stats->loads_failed = count.loads_failed;
  stats->engines_opened = count.engines_opened;
  stats->sessions_opened = count.sessions_opened;
  stats->jobs_submitted = count.jobs_submitted;
  stats->jobs_cancelled = count.jobs_cancelled;
  stats->live_jobs = count.live_jobs;
  stats->file_jobs = count.file_jobs;
  stats->frames_encoded = count.frames_encoded;
  stats->frames_decoded = count.frames_decoded;
  stats->encode_resets = count.encode_resets;
  stats->decode_resets = count.decode_resets;
  stats->job_frames_max = count.job_frames_max;
  stats->misuse = count.misuse;
  stats->fetches_running = count.fetches_running;
  stats->fetches = count.fetches;
  stats->steps = count.steps;
  stats->lm_resets = count.lm_resets;
}
#pragma GCC visibility pop

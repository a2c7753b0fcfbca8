// SPDX-License-Identifier: MIT
// The fake core from a test's side: its knobs and counters, and the answers to expect of it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fake.h"
#include "lm.h"
#include "model.h"

namespace check {

using Samples = std::vector<float>;
using Codes = std::vector<uint16_t>;
using moshi_fake::kFrameSamples;

/** Sets a knob of fake.h, e.g. Knob("STEP_HOLD", 1). */
void Knob(const char* name, double value);
/** Puts all knobs and counters back. */
void BeginWithFake();
/** Puts all knobs back. */
void ResetFake();
/** Waits for the fake's threads that nobody uses any more. */
void SettleFake();
/** What the fake's sessions were last given: session_set() and session_set_conditions(). */
double SettingOf(const char* name);
std::string ConditionsOf();
MoshiFakeStats Counts();
/** Waits until a counter has a value; the test's time-out is the limit. */
void WaitFor(int64_t MoshiFakeStats::*counter, int64_t value);
/** Waits until the counter is at least that. */
void WaitForAtLeast(int64_t MoshiFakeStats::*counter, int64_t value);

/** Sound that differs in every frame and is exact in S16 as well as in F32. */
Samples Sound(size_t count, uint64_t seed = 1);
/** Codes of the fake for these samples, the last frame filled with zeros. `state` goes on from call to call. */
Codes Encoded(const Samples& samples, int codebooks, moshi_fake::State* state = nullptr);
/** Audio of the fake for these codes. */
Samples Decoded(const Codes& codes, int codebooks, moshi_fake::State* state = nullptr, float gain = 1);
/** Some frames of codes without rhyme. */
Codes SomeCodes(int frames, int codebooks, uint64_t seed = 1);

Samples Joined(Samples a, const Samples& b);
Codes Joined(Codes a, const Codes& b);
Samples Silence(size_t count);

}  // namespace check

// SPDX-License-Identifier: MIT
#include "fake_core.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>

#include "handles.h"

namespace check {
namespace {

struct Fake {
  MoshiFakeStatsFn stats;
  MoshiFakeSetFn set;
  MoshiFakeVoidFn settle, begin;
  MoshiFakeSettingFn setting;
  MoshiFakeTextFn conditions;
};

template <typename Function>
Function Symbol(void* library, const char* name) {
  return reinterpret_cast<Function>(dlsym(library, name));
}

const Fake& TheFake() {
  static const Fake fake = [] {
    const char* path = std::getenv("MOSHI_CORE");
    fail_unless(path != nullptr, "MOSHI_CORE does not name the fake core");
    void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    fail_unless(library != nullptr, "cannot open the fake core: %s", dlerror());
    return Fake{Symbol<MoshiFakeStatsFn>(library, "moshi_fake_stats"),
                Symbol<MoshiFakeSetFn>(library, "moshi_fake_set"),
                Symbol<MoshiFakeVoidFn>(library, "moshi_fake_settle"),
                Symbol<MoshiFakeVoidFn>(library, "moshi_fake_begin"),
                Symbol<MoshiFakeSettingFn>(library, "moshi_fake_setting"),
                Symbol<MoshiFakeTextFn>(library, "moshi_fake_conditions")};
  }();
  return fake;
}

}  // namespace

void Knob(const char* name, double value) { TheFake().set(name, std::to_string(value).c_str()); }

void ResetFake() { TheFake().set(nullptr, nullptr); }

void BeginWithFake() { TheFake().begin(); }

void SettleFake() { TheFake().settle(); }

double SettingOf(const char* name) { return TheFake().setting(name); }

std::string ConditionsOf() { return TheFake().conditions(); }

MoshiFakeStats Counts() {
  MoshiFakeStats stats;
  TheFake().stats(&stats);
  return stats;
}

void WaitFor(int64_t MoshiFakeStats::*counter, int64_t value) {
  while (Counts().*counter != value) g_usleep(1000);
}

void WaitForAtLeast(int64_t MoshiFakeStats::*counter, int64_t value) {
  while (Counts().*counter < value) g_usleep(1000);
}

Samples Sound(size_t count, uint64_t seed) {
  Samples samples(count);
  for (size_t i = 0; i < count; ++i)
    samples[i] = static_cast<float>(static_cast<int>(moshi_fake::Mix(seed, i) % 60000) - 30000) / 32768.0f;
  return samples;
}

Codes Encoded(const Samples& samples, int codebooks, moshi_fake::State* state) {
  moshi_fake::State fresh;
  if (state == nullptr) state = &fresh;
  const size_t frames = (samples.size() + kFrameSamples - 1) / kFrameSamples;
  Samples whole = samples;
  whole.resize(frames * kFrameSamples);
  Codes codes(frames * codebooks);
  for (size_t f = 0; f < frames; ++f)
    moshi_fake::EncodeFrame(*state, whole.data() + f * kFrameSamples, kFrameSamples, codebooks,
                            moshi_fake::kCardinality, codes.data() + f * codebooks);
  return codes;
}

Samples Decoded(const Codes& codes, int codebooks, moshi_fake::State* state, float gain) {
  moshi_fake::State fresh;
  if (state == nullptr) state = &fresh;
  const size_t frames = codes.size() / codebooks;
  Samples samples(frames * kFrameSamples);
  for (size_t f = 0; f < frames; ++f)
    moshi_fake::DecodeFrame(*state, codes.data() + f * codebooks, codebooks, kFrameSamples, gain,
                            samples.data() + f * kFrameSamples);
  return samples;
}

Codes SomeCodes(int frames, int codebooks, uint64_t seed) {
  Codes codes(static_cast<size_t>(frames) * codebooks);
  for (size_t i = 0; i < codes.size(); ++i)
    codes[i] = static_cast<uint16_t>(moshi_fake::Mix(seed, i) % moshi_fake::kCardinality);
  return codes;
}

Samples Joined(Samples a, const Samples& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

Codes Joined(Codes a, const Codes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

Samples Silence(size_t count) { return Samples(count, 0.0f); }

}  // namespace check

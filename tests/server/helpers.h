// SPDX-License-Identifier: MIT
// What the tests of the server's parts share: a main loop that ends, sound, and the fake core's knobs.
#pragma once

#include <dlfcn.h>
#include <gst/gst.h>
#include <gtest/gtest.h>
#include <opus.h>

#include <cmath>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "../../examples/wire/message.h"
#include "../../examples/wire/ogg_opus.h"
#include "../fake/fake.h"

namespace test {

/// Runs the default GMainContext until `done`, or fails after some time.
inline bool run_until(const std::function<bool()>& done, double seconds = 30) {
  bool late = false;
  const guint timer = g_timeout_add(
      static_cast<guint>(seconds * 1000),
      [](gpointer user) -> gboolean {
        *static_cast<bool*>(user) = true;
        return G_SOURCE_CONTINUE;
      },
      &late);
  while (!done() && !late) g_main_context_iteration(nullptr, TRUE);
  g_source_remove(timer);
  EXPECT_TRUE(done()) << "not within " << seconds << " s";
  return done();
}

inline void run_for(double seconds) {
  const gint64 end = g_get_monotonic_time() + static_cast<gint64>(seconds * G_USEC_PER_SEC);
  const guint timer = g_timeout_add(
      10, [](gpointer) -> gboolean { return G_SOURCE_CONTINUE; }, nullptr);
  while (g_get_monotonic_time() < end) g_main_context_iteration(nullptr, TRUE);
  g_source_remove(timer);
}

/// A tone that swells and fades each half second.
inline std::vector<int16_t> tone(int samples, int from = 0) {
  std::vector<int16_t> pcm(static_cast<size_t>(samples));
  for (int i = 0; i < samples; ++i) {
    const double time = (from + i) / 24000.0;
    pcm[static_cast<size_t>(i)] =
        static_cast<int16_t>(8000 * std::sin(440 * 2 * M_PI * time) * std::sin(2 * M_PI * time));
  }
  return pcm;
}

inline wire::View bytes_of(const std::vector<int16_t>& pcm) {
  return {reinterpret_cast<const uint8_t*>(pcm.data()), pcm.size() * sizeof(int16_t)};
}

/// Makes packets of Opus out of a tone.
class OpusTone {
 public:
  explicit OpusTone(int samples = 960) : samples_(samples) {
    int error = 0;
    encoder_.reset(opus_encoder_create(wire::kSampleRate, 1, OPUS_APPLICATION_VOIP, &error));
  }
  wire::Bytes next() {
    const auto pcm = tone(samples_, position_);
    position_ += samples_;
    wire::Bytes packet(4000);
    packet.resize(static_cast<size_t>(
        opus_encode(encoder_.get(), pcm.data(), samples_, packet.data(), static_cast<opus_int32>(packet.size()))));
    return packet;
  }
  int samples() const { return samples_; }

 private:
  struct Destroy {
    void operator()(OpusEncoder* encoder) const { opus_encoder_destroy(encoder); }
  };
  std::unique_ptr<OpusEncoder, Destroy> encoder_;
  int samples_, position_ = 0;
};

/// The fake core, which MOSHI_CORE names.
class FakeCore {
 public:
  FakeCore() : library_(dlopen(std::getenv("MOSHI_CORE"), RTLD_NOW)) { set(nullptr, nullptr); }
  ~FakeCore() { set(nullptr, nullptr); }
  void set(const char* name, const char* value) const { symbol<MoshiFakeSetFn>("moshi_fake_set")(name, value); }
  double setting(const char* name) const { return symbol<MoshiFakeSettingFn>("moshi_fake_setting")(name); }
  void settle() const { symbol<MoshiFakeVoidFn>("moshi_fake_settle")(); }
  MoshiFakeStats stats() const {
    MoshiFakeStats stats;
    symbol<MoshiFakeStatsFn>("moshi_fake_stats")(&stats);
    return stats;
  }

 private:
  template <typename Function>
  Function symbol(const char* name) const {
    return reinterpret_cast<Function>(dlsym(library_, name));
  }
  void* library_;
};

}  // namespace test

// SPDX-License-Identifier: MIT
// What was received and not played yet, with its lag kept in check.
#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <span>
#include <vector>

namespace client {

/// Counted in samples at 24 kHz, but for the underruns.
struct PlayoutStats {
  uint64_t underruns = 0;        ///< Times that nothing was there to be played.
  uint64_t concealed = 0;        ///< Silence that was played instead, until there was enough again.
  uint64_t skipped_silence = 0;  ///< Left out to make the lag smaller, because nobody hears it.
  uint64_t dropped = 0;          ///< Left out because more than the longest lag waited.
  uint64_t most_waiting = 0;
};

/// Sound comes in frames and with jitter, and is played in small blocks. Playing starts when a frame and a margin are
/// there. The margin grows with each underrun and shrinks again after a long time without. When more waits than was
/// needed of late, silence is left out; when more than the longest lag waits, the oldest sound is. Seams are faded.
/// Any threads.
class Playout {
 public:
  static constexpr int kRate = 24000;

  explicit Playout(double max_lag_seconds);

  void push(std::span<const float> samples);
  /// Fills `out`, with silence where there is nothing.
  void pull(std::span<float> out);
  /// What waits is played to its end, however little it is; until something is pushed.
  void finish();

  size_t waiting() const;
  size_t margin() const;
  PlayoutStats stats() const;

 private:
  size_t wanted() const;
  bool start();
  void play(std::span<float> out);
  void run_dry(std::span<float> out);
  void leave_out(size_t count);
  void leave_out_silence(size_t block);
  void watch(size_t block);

  mutable std::mutex mutex_;
  const size_t max_lag_;
  std::deque<float> samples_;
  size_t margin_;
  bool playing_ = false, begun_ = false, finishing_ = false;
  size_t fading_in_ = 0;          // samples since the start, until it is as long as a fade
  float last_ = 0;                // sample that was played
  size_t least_ = SIZE_MAX;       // that waited, of late
  size_t excess_ = 0;             // that is to be left out when there is silence
  size_t window_ = 0, calm_ = 0;  // samples played since `least_` began, and since the margin changed
  PlayoutStats stats_;
};

}  // namespace client

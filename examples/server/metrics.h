// SPDX-License-Identifier: MIT
// What the server counts, and the same as Prometheus reads it. One thread, the default GMainContext.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>

namespace server {

/// Cumulative buckets as Prometheus wants them.
class Histogram {
 public:
  static constexpr std::array<double, 12> kBounds = {0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.12, 0.16, 0.25, 0.5, 1, 2};
  void add(double seconds);
  /// Lines of one metric, in the text format.
  std::string text(const std::string& name, const std::string& help) const;

 private:
  std::array<uint64_t, kBounds.size()> counts_{};
  uint64_t count_ = 0;
  double sum_ = 0;
};

struct Metrics {
  int active = 0, queued = 0, capacity = 0;
  uint64_t connections = 0;                  ///< WebSockets that were accepted.
  std::map<std::string, uint64_t> ends;      ///< By reason.
  std::map<std::string, uint64_t> refusals;  ///< By reason: full, token, origin, query, loading, stopping.
  uint64_t frames_in = 0, frames_out = 0, dropped_frames = 0, late_frames = 0;
  uint64_t bytes_in = 0, bytes_out = 0, bad_messages = 0, bad_packets = 0, dropped_output = 0;
  Histogram frame_delay;   ///< From the last sound of a frame to its answer.
  Histogram join_latency;  ///< From accepting the socket to the handshake.

  /// Prometheus' text format 0.0.4; names begin with "moshi_".
  std::string text() const;
};

}  // namespace server

// SPDX-License-Identifier: MIT
// What was received and has not gone into the pipeline yet. Bounded: where sound comes too fast, the oldest goes.
#pragma once

#include <gst/gst.h>

#include <cstdint>
#include <deque>
#include <memory>

namespace server {

struct UnrefBuffer {
  void operator()(GstBuffer* buffer) const { gst_buffer_unref(buffer); }
};
using Buffer = std::unique_ptr<GstBuffer, UnrefBuffer>;

struct Packet {
  Buffer buffer;
  int samples = 0;      ///< At 24 kHz.
  int64_t arrival = 0;  ///< Of g_get_monotonic_time().
};

class PacketQueue {
 public:
  /// Drops the oldest packets, but never this one, until no more than `room` samples are there.
  void push(Packet packet, int64_t room);
  Packet pop();
  void clear();

  bool empty() const { return packets_.empty(); }
  int64_t samples() const { return samples_; }
  uint64_t dropped_samples() const { return dropped_; }

 private:
  std::deque<Packet> packets_;
  int64_t samples_ = 0;
  uint64_t dropped_ = 0;
};

}  // namespace server

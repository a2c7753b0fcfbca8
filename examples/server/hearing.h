// SPDX-License-Identifier: MIT
// The ear of a pipeline: what of the decoded sound the model hears, and when.
#pragma once

#include <gst/gst.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>

namespace server {

/// Two probes in one streaming thread: where packets leave the application's source, and in front of the encoder. In
/// between, each packet has become as many samples as it said, or none where it could not be decoded.
class Hearing {
 public:
  /// Both pads have to be in one streaming thread. Lives until the pads have no thread any more.
  void watch(GstPad* packets, GstPad* samples);

  /// A packet's buffer carries its arrival and its samples.
  static void mark(GstBuffer* packet, int64_t arrival, int samples);

  uint64_t taken_samples() const { return taken_; }      ///< Of the packets that have left the source.
  uint64_t heard_samples() const { return heard_; }      ///< The first frame is not heard.
  uint64_t undecodable() const { return undecodable_; }  ///< Packets.
  /// When the packet came that completed this frame. Asked for once, in order.
  std::optional<int64_t> arrival(uint64_t frame);

 private:
  static GstPadProbeReturn on_packet(GstPad* pad, GstPadProbeInfo* info, gpointer self);
  static GstPadProbeReturn on_samples(GstPad* pad, GstPadProbeInfo* info, gpointer self);
  GstBuffer* place(GstBuffer* sound);
  void note_frames(uint64_t heard);

  std::atomic<uint64_t> taken_ = 0, heard_ = 0, undecodable_ = 0;
  // Of the streaming thread.
  uint64_t position_ = 0, missing_ = 0;
  int64_t arrival_ = 0;
  int awaited_ = 0;

  std::mutex mutex_;
  std::deque<int64_t> arrivals_;  // of the frames from first_ on
  uint64_t first_ = 0;
};

}  // namespace server

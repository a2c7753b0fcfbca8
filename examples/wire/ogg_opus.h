// SPDX-License-Identifier: MIT
// Ogg Opus as the protocol has it (docs/protocol.md, "Audio"): cut anywhere, granule positions not to be believed.
#pragma once

#include <ogg/ogg.h>

#include <cstdint>
#include <functional>
#include <string>

#include "message.h"

namespace wire {

constexpr int kSampleRate = 24000;
constexpr int kFrameSamples = 1920;  ///< 80 ms
/// Most that a packet may last (RFC 6716): 120 ms at 24 kHz.
constexpr int kMostPacketSamples = 2880;

/// Takes a stream's bytes as they come and gives its Opus packets. Never throws; whatever comes is skipped until it is
/// a page again, and counted. One thread at a time. Holds at most one page (64 KiB) that is not complete, and a packet
/// over several pages of at most that size.
class OggOpusReader {
 public:
  /// `samples`: the packet's duration at 24 kHz, 1 to kMostPacketSamples.
  using OnPacket = std::function<void(View packet, int samples)>;

  OggOpusReader();
  ~OggOpusReader();
  OggOpusReader(const OggOpusReader&) = delete;
  OggOpusReader& operator=(const OggOpusReader&) = delete;

  /// Calls `on_packet` for each complete packet of sound within what has come so far. OpusHead and OpusTags are read
  /// wherever they come, a further logical stream takes the place of the one before. False when the stream can never
  /// be Ogg Opus of one or two channels: its first pages are of another codec, or the first 64 KiB hold no page; then
  /// `problem` says so in a sentence, and nothing else is taken. What is given does not depend on how the stream is
  /// cut. `on_packet` must not destroy the reader.
  bool append(View bytes, const OnPacket& on_packet);

  const std::string& problem() const { return problem_; }
  /// Packets that are not Opus (their duration cannot be told), gaps in the pages and in their numbers, pages of other
  /// streams.
  uint64_t bad() const { return bad_; }

 private:
  void take_pages(const OnPacket& on_packet);
  void take_page(ogg_page* page, const OnPacket& on_packet);
  void take_head(ogg_page* page);
  void take_packets(const OnPacket& on_packet);
  void mark_gap();
  bool refuse(const std::string& problem);

  ogg_sync_state sync_{};
  ogg_stream_state stream_{};
  bool begun_ = false;     // there is a stream
  bool others_ = false;    // a stream of something else has begun
  bool gap_ = false;       // is counted already, until the next page
  size_t page_count_ = 0;  // of any stream
  size_t unfinished_ = 0;  // bytes of pages since the last packet that was complete
  uint64_t taken_ = 0, bad_ = 0;
  std::string problem_;
};

/// Makes pages, one packet in each, with the reference's serial number, head and granule positions.
class OggOpusWriter {
 public:
  OggOpusWriter();
  ~OggOpusWriter();
  OggOpusWriter(const OggOpusWriter&) = delete;
  OggOpusWriter& operator=(const OggOpusWriter&) = delete;

  /// Appends the packet's page to `out`; before the first one, those of OpusHead and OpusTags. `samples` at 24 kHz.
  void append(View packet, int samples, Bytes* out);

 private:
  void write_heads(Bytes* out);
  ogg_stream_state stream_{};
  bool begun_ = false;
  int64_t granule_ = 0, number_ = 0;
};

/// Duration of an Opus packet in samples at 24 kHz; 0 if it is none.
int packet_samples(View packet);

}  // namespace wire

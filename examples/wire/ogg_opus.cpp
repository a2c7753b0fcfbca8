// SPDX-License-Identifier: MIT
#include "ogg_opus.h"

#include <opus/opus.h>

#include <algorithm>
#include <cstring>

namespace wire {
namespace {

constexpr size_t kChunkBytes = 4096;
constexpr size_t kLongestBytes = 64 * 1024;  // of a page (65307), and of a packet of 48 frames (61202)
constexpr int kSerial = 42;
constexpr uint16_t kPreSkip = 3840;
constexpr int kGranuleRate = 48000;
constexpr std::string_view kHead = "OpusHead", kTags = "OpusTags", kVendor = "gst-moshi";

bool begins_with(View bytes, std::string_view magic) { return text_of(bytes).starts_with(magic); }

View body_of(const ogg_page& page) { return {page.body, static_cast<size_t>(page.body_len)}; }

void append_number(uint32_t value, int bytes, Bytes* out) {
  for (int i = 0; i < bytes; ++i) out->push_back(static_cast<uint8_t>(value >> (8 * i)));
}

void append_text(std::string_view text, Bytes* out) { out->insert(out->end(), text.begin(), text.end()); }

Bytes head() {
  Bytes bytes;
  append_text(kHead, &bytes);
  append_number(1, 1, &bytes);  // version
  append_number(1, 1, &bytes);  // channels
  append_number(kPreSkip, 2, &bytes);
  append_number(kGranuleRate, 4, &bytes);  // of the input
  append_number(0, 2, &bytes);             // gain
  append_number(0, 1, &bytes);             // mapping family
  return bytes;
}

Bytes tags() {
  Bytes bytes;
  append_text(kTags, &bytes);
  append_number(kVendor.size(), 4, &bytes);
  append_text(kVendor, &bytes);
  append_number(0, 4, &bytes);  // comments
  return bytes;
}

void append_packet(ogg_stream_state* stream, View packet, int64_t number, int64_t granule, Bytes* out) {
  ogg_packet one{};
  one.packet = const_cast<unsigned char*>(packet.data());
  one.bytes = static_cast<long>(packet.size());
  one.b_o_s = number == 0;
  one.granulepos = granule;
  one.packetno = number;
  ogg_stream_packetin(stream, &one);
  ogg_page page;
  while (ogg_stream_flush(stream, &page) != 0) {
    out->insert(out->end(), page.header, page.header + page.header_len);
    out->insert(out->end(), page.body, page.body + page.body_len);
  }
}

}  // namespace

int packet_samples(View packet) {
  const auto size = static_cast<opus_int32>(std::min(packet.size(), kLongestBytes));
  unsigned char toc;
  const unsigned char* frames[48];
  opus_int16 sizes[48];
  if (packet.empty() || packet.size() > kLongestBytes) return 0;
  // A right duration does not make its frames right, which a decoder would stumble over.
  if (opus_packet_parse(packet.data(), size, &toc, frames, sizes, nullptr) <= 0) return 0;
  return std::max(0, opus_packet_get_nb_samples(packet.data(), size, kSampleRate));
}

// --- Reading ------------------------------------------------------------------------------------------------------

OggOpusReader::OggOpusReader() {
  ogg_sync_init(&sync_);
  ogg_stream_init(&stream_, 0);
}

OggOpusReader::~OggOpusReader() {
  ogg_stream_clear(&stream_);
  ogg_sync_clear(&sync_);
}

bool OggOpusReader::refuse(const std::string& problem) {
  problem_ = problem;
  return false;
}

void OggOpusReader::mark_gap() {
  if (!gap_) ++bad_;
  gap_ = true;
}

bool OggOpusReader::append(View bytes, const OnPacket& on_packet) {
  while (problem_.empty() && !bytes.empty()) {
    size_t count = std::min(bytes.size(), kChunkBytes);
    if (page_count_ == 0) count = std::min<size_t>(count, kLongestBytes - taken_);
    char* buffer = ogg_sync_buffer(&sync_, static_cast<long>(count));
    if (!buffer) return refuse("there is no memory left for the sound");
    std::memcpy(buffer, bytes.data(), count);
    ogg_sync_wrote(&sync_, static_cast<long>(count));
    taken_ += count;
    bytes = bytes.subspan(count);
    take_pages(on_packet);
    if (problem_.empty() && page_count_ == 0 && taken_ >= kLongestBytes)
      return refuse("the sound is not Ogg Opus: its first 64 KiB hold no Ogg page");
  }
  return problem_.empty();
}

void OggOpusReader::take_pages(const OnPacket& on_packet) {
  ogg_page page;
  while (problem_.empty()) {
    const long size = ogg_sync_pageseek(&sync_, &page);
    if (size == 0) return;
    if (size < 0) {
      mark_gap();
      continue;
    }
    ++page_count_;
    take_page(&page, on_packet);
    gap_ = false;
  }
}

void OggOpusReader::take_head(ogg_page* page) {
  const View body = body_of(*page);
  const bool opus = begins_with(body, kHead) && body.size() >= 19;
  if (!opus) {
    others_ = true;
    return;
  }
  const int channels = body[9], family = body[18];
  // Families other than 0 put several Opus streams into a packet, unless they say that it is one.
  const bool one_stream = family == 0 || (body.size() >= 21 && body[19] == 1);
  if (channels < 1 || channels > 2 || !one_stream) {
    refuse("the sound has " + std::to_string(channels) + " channels in several streams; send one or two in one stream");
    return;
  }
  ogg_stream_reset_serialno(&stream_, ogg_page_serialno(page));
  unfinished_ = 0;
  begun_ = true;
}

void OggOpusReader::take_page(ogg_page* page, const OnPacket& on_packet) {
  if (ogg_page_bos(page)) {
    take_head(page);
    if (!problem_.empty()) return;
  } else if (!begun_) {
    if (others_) {
      refuse("the sound is Ogg, but not Opus");
      return;
    }
    // Its first pages were lost, or the reader came later than the stream. Opus can be joined anywhere.
    ogg_stream_reset_serialno(&stream_, ogg_page_serialno(page));
    begun_ = true;
  }
  if (!begun_) return;
  if (ogg_stream_pagein(&stream_, page) != 0) {
    mark_gap();
    return;
  }
  unfinished_ += static_cast<size_t>(page->body_len);
  take_packets(on_packet);
  if (unfinished_ <= kLongestBytes) return;
  ogg_stream_reset(&stream_);  // what comes of that packet yet is skipped
  unfinished_ = 0;
  mark_gap();
}

void OggOpusReader::take_packets(const OnPacket& on_packet) {
  ogg_packet raw;
  while (const int result = ogg_stream_packetout(&stream_, &raw)) {
    if (result < 0) {
      mark_gap();
      continue;
    }
    unfinished_ = 0;
    const View packet(raw.packet, static_cast<size_t>(raw.bytes));
    if (begins_with(packet, kHead) || begins_with(packet, kTags)) continue;
    const int samples = packet_samples(packet);
    if (samples > 0) {
      on_packet(packet, samples);
    } else {
      ++bad_;
    }
  }
}

// --- Writing ------------------------------------------------------------------------------------------------------

OggOpusWriter::OggOpusWriter() { ogg_stream_init(&stream_, kSerial); }

OggOpusWriter::~OggOpusWriter() { ogg_stream_clear(&stream_); }

void OggOpusWriter::write_heads(Bytes* out) {
  append_packet(&stream_, head(), number_++, 0, out);
  append_packet(&stream_, tags(), number_++, 0, out);
  begun_ = true;
}

void OggOpusWriter::append(View packet, int samples, Bytes* out) {
  if (!begun_) write_heads(out);
  granule_ += int64_t{samples} * (kGranuleRate / kSampleRate);
  append_packet(&stream_, packet, number_++, granule_, out);
}

}  // namespace wire

// SPDX-License-Identifier: MIT
// Ogg Opus, whole, cut, damaged and of others. The pages of the reader's tests are written by libogg itself.
#include "ogg_opus.h"

#include <gtest/gtest.h>
#include <opus/opus.h>

#include <algorithm>
#include <cmath>
#include <memory>

namespace wire {
namespace {

// --- What is read -------------------------------------------------------------------------------------------------

struct Encoder {
  explicit Encoder(int channels, int bitrate = OPUS_AUTO) {
    int error = 0;
    state.reset(opus_encoder_create(48000, channels, OPUS_APPLICATION_AUDIO, &error));
    opus_encoder_ctl(state.get(), OPUS_SET_BITRATE(bitrate));
  }
  /// `samples` at 48 kHz.
  Bytes encode(int samples, int channels) {
    std::vector<float> sound(static_cast<size_t>(samples * channels));
    for (float& sample : sound) sample = 0.3f * std::sin(0.05f * static_cast<float>(phase++));
    Bytes packet(16384);
    const int size = opus_encode_float(state.get(), sound.data(), samples, packet.data(), 16384);
    packet.resize(static_cast<size_t>(std::max(size, 0)));
    return packet;
  }
  struct Free {
    void operator()(OpusEncoder* encoder) const { opus_encoder_destroy(encoder); }
  };
  std::unique_ptr<OpusEncoder, Free> state;
  int phase = 0;
};

/// A packet of 20 ms, different for each `number`.
Bytes packet(uint8_t number, size_t size = 50) {
  Bytes bytes(size, number);
  bytes[0] = 0x78;  // CELT, wide band, 20 ms, mono, one frame
  return bytes;
}

/// 48 frames of 2.5 ms, as large as they may be.
Bytes longest_packet(uint8_t number) {
  Bytes bytes(2 + 48 * 1275, number);
  bytes[0] = 0xe3;
  bytes[1] = 48;
  return bytes;
}

/// Writes pages with libogg as it likes to, unlike the writer under test.
struct Muxer {
  explicit Muxer(int serial = 7) { ogg_stream_init(&stream, serial); }
  ~Muxer() { ogg_stream_clear(&stream); }

  /// `flush` ends the page.
  void add(const Bytes& bytes, bool flush = true) {
    Bytes copy = bytes;
    ogg_packet one{copy.data(), static_cast<long>(copy.size()), number == 0, 0, number * 960, number};
    ++number;
    ogg_stream_packetin(&stream, &one);
    ogg_page page;
    while (flush ? ogg_stream_flush(&stream, &page) : ogg_stream_pageout(&stream, &page)) {
      pages.emplace_back(page.header, page.header + page.header_len);
      pages.back().insert(pages.back().end(), page.body, page.body + page.body_len);
    }
  }
  /// Of family 1: streams of two channels each.
  void add_heads(uint8_t channels = 1, uint8_t family = 0) {
    Bytes head = {'O', 'p', 'u', 's', 'H', 'e', 'a', 'd', 1, channels, 0, 15, 0x80, 0xbb, 0, 0, 0, 0, family};
    const auto streams = static_cast<uint8_t>(channels / 2);
    if (family) head.insert(head.end(), {streams, streams});
    for (uint8_t channel = 0; family && channel < channels; ++channel) head.push_back(channel);
    add(head);
    add({'O', 'p', 'u', 's', 'T', 'a', 'g', 's', 0, 0, 0, 0, 0, 0, 0, 0});
  }
  Bytes all() const {
    Bytes bytes;
    for (const Bytes& page : pages) bytes.insert(bytes.end(), page.begin(), page.end());
    return bytes;
  }
  ogg_stream_state stream{};
  int64_t number = 0;
  std::vector<Bytes> pages;
};

Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

struct Heard {
  std::vector<Bytes> packets;
  std::vector<int> samples;
  bool good = true;
};

void hear(OggOpusReader* reader, View bytes, Heard* heard) {
  heard->good = reader->append(bytes, [heard](View one, int samples) {
    heard->packets.emplace_back(one.begin(), one.end());
    heard->samples.push_back(samples);
  });
}

Heard hear(View bytes, size_t step, uint64_t* bad = nullptr) {
  OggOpusReader reader;
  Heard heard;
  for (size_t at = 0; at < bytes.size() && heard.good; at += step)
    hear(&reader, bytes.subspan(at, std::min(step, bytes.size() - at)), &heard);
  if (bad) *bad = reader.bad();
  return heard;
}

Bytes stream_of(int packets, Muxer* muxer) {
  muxer->add_heads();
  for (int i = 1; i <= packets; ++i) muxer->add(packet(static_cast<uint8_t>(i)));
  return muxer->all();
}

void expect_numbers(const Heard& heard, std::vector<int> numbers) {
  std::vector<int> got;
  for (const Bytes& one : heard.packets) got.push_back(one.back());
  EXPECT_EQ(got, numbers);
}

// --- Reading ------------------------------------------------------------------------------------------------------

TEST(OggOpusReader, CutAtEveryByte) {
  Muxer muxer;
  const Bytes stream = stream_of(6, &muxer);
  for (size_t cut = 0; cut <= stream.size(); ++cut) {
    OggOpusReader reader;
    Heard heard;
    const View view(stream);
    hear(&reader, view.first(cut), &heard);
    hear(&reader, view.subspan(cut), &heard);
    expect_numbers(heard, {1, 2, 3, 4, 5, 6});
    EXPECT_EQ(reader.bad(), 0u);
  }
  for (const size_t step : {1u, 2u, 7u, 64u}) expect_numbers(hear(stream, step), {1, 2, 3, 4, 5, 6});
}

TEST(OggOpusReader, GivesAPacketAsSoonAsItsPageIsThere) {
  Muxer muxer;
  stream_of(3, &muxer);
  OggOpusReader reader;
  Heard heard;
  for (size_t page = 0; page < muxer.pages.size(); ++page) {
    hear(&reader, muxer.pages[page], &heard);
    EXPECT_EQ(heard.packets.size(), page < 2 ? 0 : page - 1);
  }
}

TEST(OggOpusReader, AllDurations) {
  Encoder encoder(1);
  Muxer muxer;
  muxer.add_heads();
  const std::vector<int> durations = {120, 240, 480, 960, 1920, 2880, 3840, 4800, 5760};  // 2.5 to 120 ms at 48 kHz
  for (const int samples : durations) muxer.add(encoder.encode(samples, 1));
  const Heard heard = hear(muxer.all(), 100);
  ASSERT_EQ(heard.samples.size(), durations.size());
  for (size_t i = 0; i < durations.size(); ++i) EXPECT_EQ(heard.samples[i], durations[i] / 2);
  EXPECT_EQ(heard.samples.back(), kMostPacketSamples);
}

TEST(OggOpusReader, Stereo) {
  for (const uint8_t family : {0, 1}) {
    Encoder encoder(2);
    Muxer muxer;
    muxer.add_heads(2, family);
    for (int i = 0; i < 3; ++i) muxer.add(encoder.encode(960, 2));
    const Heard heard = hear(muxer.all(), 50);
    EXPECT_TRUE(heard.good);
    EXPECT_EQ(heard.samples, std::vector<int>(3, 480));
  }
}

TEST(OggOpusReader, Surround) {
  Muxer muxer;
  muxer.add_heads(6, 1);
  OggOpusReader reader;
  Heard heard;
  hear(&reader, muxer.all(), &heard);
  EXPECT_FALSE(heard.good);
  EXPECT_NE(reader.problem().find("6 channels"), std::string::npos) << reader.problem();
}

TEST(OggOpusReader, SeveralPacketsInAPage) {
  Muxer muxer;
  muxer.add_heads();
  for (uint8_t i = 1; i <= 20; ++i) muxer.add(packet(i), i % 10 == 0);
  EXPECT_EQ(muxer.pages.size(), 4u);
  const Heard heard = hear(muxer.all(), 33);
  EXPECT_EQ(heard.packets.size(), 20u);
}

TEST(OggOpusReader, PacketsOverSeveralPages) {
  // A page holds 65025 bytes, so that the second and the third packet are in two pages each.
  Muxer muxer;
  muxer.add_heads();
  for (uint8_t i = 1; i <= 3; ++i) muxer.add(longest_packet(i), i == 3);
  const auto continued = [](const Bytes& page) { return (page[5] & 1) != 0; };
  ASSERT_EQ(std::count_if(muxer.pages.begin(), muxer.pages.end(), continued), 2);
  uint64_t bad = 0;
  const Heard heard = hear(muxer.all(), 1000, &bad);
  ASSERT_EQ(heard.packets.size(), 3u);
  for (uint8_t i = 1; i <= 3; ++i) EXPECT_EQ(heard.packets[i - 1u], longest_packet(i));
  EXPECT_EQ(heard.samples, std::vector<int>(3, kMostPacketSamples));
  EXPECT_EQ(bad, 0u);
}

TEST(OggOpusReader, APacketWithoutEndIsGivenUp) {
  Muxer muxer;
  muxer.add_heads();
  Bytes long_tags(1 << 20, 'x');  // such as a picture
  std::copy_n("OpusTags", 8, long_tags.begin());
  muxer.add(long_tags);
  for (uint8_t i = 1; i <= 3; ++i) muxer.add(packet(i));
  uint64_t bad = 0;
  const Heard heard = hear(muxer.all(), 4096, &bad);
  EXPECT_TRUE(heard.good);
  expect_numbers(heard, {1, 2, 3});
  EXPECT_GT(bad, 0u);
}

TEST(OggOpusReader, ChainedStreams) {
  for (const int serial : {7, 8}) {
    Muxer first(7), second(serial);
    const Bytes both = stream_of(2, &first) + stream_of(3, &second);
    uint64_t bad = 0;
    expect_numbers(hear(both, 41, &bad), {1, 2, 1, 2, 3});
    EXPECT_EQ(bad, 0u);
  }
}

TEST(OggOpusReader, HeadsInTheMiddleOfAStream) {
  Muxer muxer;
  stream_of(1, &muxer);
  muxer.add_heads();  // not marked as a beginning
  muxer.add(packet(2));
  expect_numbers(hear(muxer.all(), 1000), {1, 2});
}

TEST(OggOpusReader, JoinedInTheMiddle) {
  Muxer muxer;
  stream_of(5, &muxer);
  Bytes rest;
  for (size_t page = 3; page < muxer.pages.size(); ++page) rest = rest + muxer.pages[page];
  const View tail = View(rest).subspan(10);  // and not at a page
  expect_numbers(hear(tail, 1000), {3, 4, 5});
}

TEST(OggOpusReader, OtherStreamsBeside) {
  Muxer picture(1), sound(2);
  picture.add(Bytes(42, 'T'));
  stream_of(2, &sound);
  picture.add(Bytes(100, 'T'));
  const Bytes mixed =
      picture.pages[0] + sound.pages[0] + sound.pages[1] + picture.pages[1] + sound.pages[2] + sound.pages[3];
  const Heard heard = hear(mixed, 64);
  EXPECT_TRUE(heard.good);
  expect_numbers(heard, {1, 2});
}

// --- What cannot be read ------------------------------------------------------------------------------------------

TEST(OggOpusReader, WrongChecksum) {
  Muxer muxer;
  stream_of(5, &muxer);
  muxer.pages[4].back() ^= 1;
  for (const size_t step : {1u, 13u, 5000u}) {
    uint64_t bad = 0;
    const Heard heard = hear(muxer.all(), step, &bad);
    EXPECT_TRUE(heard.good);
    expect_numbers(heard, {1, 2, 4, 5});
    EXPECT_EQ(bad, 1u);
  }
}

TEST(OggOpusReader, MissingPage) {
  Muxer muxer;
  stream_of(5, &muxer);
  muxer.pages.erase(muxer.pages.begin() + 3);
  uint64_t bad = 0;
  expect_numbers(hear(muxer.all(), 99, &bad), {1, 3, 4, 5});
  EXPECT_EQ(bad, 1u);
}

TEST(OggOpusReader, GarbageBetweenPages) {
  Muxer muxer;
  stream_of(3, &muxer);
  Bytes garbage(3000);
  for (size_t i = 0; i < garbage.size(); ++i) garbage[i] = static_cast<uint8_t>(i * 7919 >> 3);
  Bytes fake = {'O', 'g', 'g', 'S'};  // a page of one byte, but for its checksum
  fake.resize(28);
  fake[26] = fake[27] = 1;
  Bytes stream = garbage;
  for (const Bytes& page : muxer.pages) stream = stream + page + fake + garbage;
  uint64_t bad = 0;
  const Heard heard = hear(stream, 500, &bad);
  EXPECT_TRUE(heard.good);
  expect_numbers(heard, {1, 2, 3});
  EXPECT_EQ(bad, 6u);
}

TEST(OggOpusReader, PacketsThatAreNotOpus) {
  Muxer muxer;
  muxer.add_heads();
  muxer.add(packet(1));
  muxer.add({});                              // empty
  muxer.add({0x7b, 0x00});                    // no frames
  muxer.add({0x7b, 0x31});                    // 49 frames
  muxer.add({0x79, 1, 2, 3});                 // two frames of one and a half bytes
  muxer.add(Bytes{0x7a, 200} + Bytes(9, 0));  // a frame that is longer than the packet
  muxer.add({0x18});                          // 60 ms that were left out (DTX): good
  muxer.add(packet(2));
  uint64_t bad = 0;
  const Heard heard = hear(muxer.all(), 1000, &bad);
  EXPECT_TRUE(heard.good);
  EXPECT_EQ(heard.samples, (std::vector<int>{480, 1440, 480}));
  EXPECT_EQ(bad, 5u);
}

TEST(OggOpusReader, Vorbis) {
  Muxer muxer;
  muxer.add(Bytes{1, 'v', 'o', 'r', 'b', 'i', 's'} + Bytes(23, 0));
  OggOpusReader reader;
  Heard heard;
  hear(&reader, muxer.pages[0], &heard);
  EXPECT_TRUE(heard.good);  // Opus may begin beside it
  muxer.add(Bytes{3, 'v', 'o', 'r', 'b', 'i', 's'} + Bytes(50, 0));
  hear(&reader, muxer.pages[1], &heard);
  EXPECT_FALSE(heard.good);
  EXPECT_NE(reader.problem().find("not Opus"), std::string::npos);
  Muxer late;
  hear(&reader, stream_of(2, &late), &heard);
  EXPECT_FALSE(heard.good);
  EXPECT_TRUE(heard.packets.empty());
}

TEST(OggOpusReader, NothingOfOggIsGivenUpAfter64KiB) {
  Bytes wav(64 * 1024 - 1, 'w');
  std::copy_n("RIFF", 4, wav.begin());
  for (const size_t step : {1000u, 1u << 20}) EXPECT_TRUE(hear(wav, step).good);
  wav.push_back('w');
  for (const size_t step : {1000u, 1u << 20}) EXPECT_FALSE(hear(wav, step).good);
  Muxer muxer;
  const Bytes late = wav + stream_of(1, &muxer);
  for (const size_t step : {1u, 1000u, 1u << 20}) EXPECT_FALSE(hear(late, step).good);
}

// --- Writing ------------------------------------------------------------------------------------------------------

struct Page {
  int flags, serial, number;
  int64_t granule;
  Bytes body;
};

std::vector<Page> pages_of(const Bytes& stream) {
  std::vector<Page> pages;
  ogg_sync_state sync;
  ogg_sync_init(&sync);
  std::copy(stream.begin(), stream.end(), ogg_sync_buffer(&sync, static_cast<long>(stream.size())));
  ogg_sync_wrote(&sync, static_cast<long>(stream.size()));
  ogg_page page;
  while (const int result = ogg_sync_pageout(&sync, &page)) {
    EXPECT_EQ(result, 1);
    pages.push_back({page.header[5], ogg_page_serialno(&page), static_cast<int>(ogg_page_pageno(&page)),
                     ogg_page_granulepos(&page), Bytes(page.body, page.body + page.body_len)});
  }
  ogg_sync_clear(&sync);
  return pages;
}

TEST(OggOpusWriter, WritesAsTheReferenceDoes) {
  OggOpusWriter writer;
  Bytes first, second;
  writer.append(packet(1), 960, &first);
  writer.append(packet(2), 480, &second);
  auto pages = pages_of(first);
  ASSERT_EQ(pages.size(), 3u);
  EXPECT_EQ(pages[0].body, (Bytes{'O', 'p', 'u', 's', 'H', 'e', 'a', 'd', 1, 1, 0, 15, 0x80, 0xbb, 0, 0, 0, 0, 0}));
  EXPECT_EQ(text_of(View(pages[1].body).first(8)), "OpusTags");
  EXPECT_EQ(pages[2].body, packet(1));
  for (Page& page : pages_of(second)) pages.push_back(std::move(page));
  ASSERT_EQ(pages.size(), 4u);
  EXPECT_EQ(pages[3].body, packet(2));
  const int64_t granules[] = {0, 0, 1920, 2880};
  for (int i = 0; i < 4; ++i) {
    const Page& page = pages[static_cast<size_t>(i)];
    EXPECT_EQ(page.serial, 42);
    EXPECT_EQ(page.number, i);
    EXPECT_EQ(page.flags, i == 0 ? 2 : 0);
    EXPECT_EQ(page.granule, granules[i]);
  }
}

TEST(OggOpusWriter, IsRead) {
  Encoder encoder(1);
  OggOpusWriter writer;
  Bytes stream;
  std::vector<Bytes> packets;
  std::vector<int> samples;
  for (int i = 0; i < 40; ++i) {
    samples.push_back(i % 2 ? 960 : 480);
    packets.push_back(encoder.encode(2 * samples.back(), 1));
    writer.append(packets.back(), samples.back(), &stream);
  }
  const Heard heard = hear(stream, 77);
  EXPECT_EQ(heard.packets, packets);
  EXPECT_EQ(heard.samples, samples);
}

TEST(OggOpusWriter, LongestPacket) {
  OggOpusWriter writer;
  Bytes stream;
  writer.append(longest_packet(1), kMostPacketSamples, &stream);
  EXPECT_EQ(pages_of(stream).size(), 3u);
}

TEST(PacketSamples, OfNone) {
  EXPECT_EQ(packet_samples({}), 0);
  EXPECT_EQ(packet_samples(Bytes{0xff}), 0);
  EXPECT_EQ(packet_samples(Bytes(100000, 0x78)), 0);
  EXPECT_EQ(packet_samples(packet(1)), 480);
}

}  // namespace
}  // namespace wire

// SPDX-License-Identifier: MIT
// What waits, and what is thrown away when too much does.
#include <gtest/gtest.h>

#include "answers.h"
#include "delays.h"
#include "outbox.h"
#include "packet_queue.h"
#include "token_bucket.h"
#include "voice.h"

namespace {

using server::Answers;
using server::Outbox;
using server::PacketQueue;

server::Packet packet(int samples, int64_t number = 0) { return {server::Buffer(gst_buffer_new()), samples, number}; }

TEST(PacketQueueTest, TheOldestGoesInWholePackets) {
  PacketQueue queue;
  for (int i = 0; i < 10; ++i) queue.push(packet(960, i), 2000);
  EXPECT_EQ(queue.samples(), 2 * 960);
  EXPECT_EQ(queue.dropped_samples(), 8u * 960);
  EXPECT_EQ(queue.pop().arrival, 8);
  EXPECT_EQ(queue.pop().arrival, 9);
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.samples(), 0);
}

TEST(PacketQueueTest, TheNewestStays) {
  PacketQueue queue;
  queue.push(packet(960, 1), 0);
  EXPECT_EQ(queue.dropped_samples(), 0u);
  queue.push(packet(2880, 2), 0);
  EXPECT_EQ(queue.samples(), 2880);
  EXPECT_EQ(queue.dropped_samples(), 960u);
  queue.clear();
  EXPECT_TRUE(queue.empty());
  EXPECT_EQ(queue.dropped_samples(), 960u) << "what is cleared was not too late";
}

std::string order(Answers* answers) {
  std::string order;
  while (const auto answer = answers->next()) order += "atf"[answer->index()];
  return order;
}

TEST(AnswersTest, TextWaitsForTheAudioOfItsFrame) {
  Answers answers(960);
  answers.add_text("one");
  answers.add_text("");
  EXPECT_EQ(order(&answers), "");
  answers.add_audio(packet(960).buffer);
  EXPECT_EQ(order(&answers), "a");
  for (int i = 0; i < 4; ++i) answers.add_audio(packet(960).buffer);
  EXPECT_EQ(order(&answers), "atfaafa");
  EXPECT_EQ(answers.stepped(), 2u);
}

TEST(AnswersTest, AudioDoesNotOvertakeText) {
  Answers answers(1920);
  for (int i = 0; i < 3; ++i) answers.add_audio(packet(1920).buffer);
  EXPECT_EQ(order(&answers), "a");
  answers.add_text("one");
  EXPECT_EQ(order(&answers), "tfa");
}

TEST(AnswersTest, TextAlone) {
  Answers answers(0);
  for (const char* text : {"one", "", "two"}) answers.add_text(text);
  EXPECT_EQ(order(&answers), "tfftf");
}

wire::Bytes message(uint8_t number, size_t size = 10) { return wire::Bytes(size, number); }

TEST(OutboxTest, TheOldestSoundGoesAndWordsStay) {
  Outbox outbox(40);
  outbox.push(message(1), Outbox::Keep::kAlways);
  for (uint8_t i = 2; i < 8; ++i) outbox.push(message(i), i == 4 ? Outbox::Keep::kAlways : Outbox::Keep::kIfRoom);
  EXPECT_EQ(outbox.bytes(), 40u);
  EXPECT_EQ(outbox.dropped(), 3u);
  for (const uint8_t number : {1, 4, 6, 7}) EXPECT_EQ(outbox.pop()[0], number);
  EXPECT_TRUE(outbox.empty());
  EXPECT_EQ(outbox.bytes(), 0u);
}

TEST(OutboxTest, WhatMustStayStaysBeyondTheBound) {
  Outbox outbox(15);
  for (uint8_t i = 0; i < 3; ++i) outbox.push(message(i), Outbox::Keep::kAlways);
  outbox.push(message(3), Outbox::Keep::kIfRoom);
  EXPECT_EQ(outbox.bytes(), 30u);
  EXPECT_EQ(outbox.dropped(), 1u);
  EXPECT_TRUE(outbox.full());
  outbox.pop();
  outbox.pop();
  EXPECT_FALSE(outbox.full());
}

TEST(VoiceTest, AMessageIsAFrame) {
  server::Voice voice(server::Encoding::kOpus);
  const wire::Bytes one = {0x48, 1}, two = {0x48, 2};
  EXPECT_FALSE(voice.add(one, 960));
  EXPECT_TRUE(voice.add(two, 960));
  server::Voice samples(server::Encoding::kPcm);
  EXPECT_EQ(samples.add(one, 1920), (wire::Bytes{1, 0x48, 1}));
}

TEST(VoiceTest, WhatIsForgottenTakesNoHeadWithIt) {
  server::Voice voice(server::Encoding::kOpus);
  const wire::Bytes forgotten = {0x48, 1}, told = {0x48, 2};
  voice.add(forgotten, 960);
  voice.forget();
  EXPECT_FALSE(voice.add(told, 960));
  const auto message = voice.add(told, 960);
  ASSERT_TRUE(message);
  wire::OggOpusReader reader;
  std::vector<wire::Bytes> packets;
  reader.append(wire::parse(*message)->payload,
                [&](wire::View packet, int) { packets.emplace_back(packet.begin(), packet.end()); });
  EXPECT_EQ(packets, (std::vector<wire::Bytes>{told, told}));
  EXPECT_EQ(reader.bad(), 0u);
}

TEST(TokenBucketTest, BurstsAreTakenAndRatesAreNot) {
  server::TokenBucket bucket(10, 2);
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(bucket.take(1, 5));
  EXPECT_FALSE(bucket.take(1, 5));
  EXPECT_TRUE(bucket.take(1, 5.25));
  EXPECT_FALSE(bucket.take(21, 1000)) << "no more than the burst is saved up";
  for (int i = 0; i < 100; ++i) bucket.take(21, 1000);
  EXPECT_TRUE(bucket.take(20, 1000)) << "what is too much does not count";
  server::TokenBucket none(0, 10);
  EXPECT_TRUE(none.take(1e12, 0));
}

TEST(DelaysTest, QuantilesOfTheLast) {
  server::Delays delays;
  EXPECT_EQ(delays.quantile(0.5), 0);
  for (int i = 1; i <= 100; ++i) delays.add(i);
  EXPECT_EQ(delays.quantile(0.5), 50);
  EXPECT_EQ(delays.quantile(0.99), 99);
  EXPECT_EQ(delays.quantile(1), 100);
  EXPECT_EQ(delays.quantile(0), 1);
  for (int i = 0; i < 512; ++i) delays.add(7);
  EXPECT_EQ(delays.quantile(0), 7);
  EXPECT_EQ(delays.quantile(1), 7);
}

}  // namespace

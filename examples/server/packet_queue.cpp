// SPDX-License-Identifier: MIT
#include "packet_queue.h"

#include <utility>

namespace server {

void PacketQueue::push(Packet packet, int64_t room) {
  samples_ += packet.samples;
  packets_.push_back(std::move(packet));
  while (samples_ > room && packets_.size() > 1) dropped_ += static_cast<uint64_t>(pop().samples);
}

Packet PacketQueue::pop() {
  Packet packet = std::move(packets_.front());
  packets_.pop_front();
  samples_ -= packet.samples;
  return packet;
}

void PacketQueue::clear() {
  packets_.clear();
  samples_ = 0;
}

}  // namespace server

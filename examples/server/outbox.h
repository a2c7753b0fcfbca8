// SPDX-License-Identifier: MIT
// What is to be sent and has not been, bounded: to a client that reads slowly, the oldest sound is dropped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>

#include "../wire/message.h"

namespace server {

class Outbox {
 public:
  enum class Keep { kAlways, kIfRoom };

  explicit Outbox(size_t most_bytes) : most_bytes_(most_bytes) {}

  /// Beyond the bound, drops the oldest that need not be kept, this one included.
  void push(wire::Bytes message, Keep keep);
  wire::Bytes pop();

  bool empty() const { return entries_.empty(); }
  /// There is more than the bound, and all of it has to be kept.
  bool full() const { return bytes_ > most_bytes_; }
  size_t bytes() const { return bytes_; }
  uint64_t dropped() const { return dropped_; }  ///< Messages.

 private:
  struct Entry {
    wire::Bytes message;
    Keep keep;
  };
  const size_t most_bytes_;
  std::deque<Entry> entries_;
  size_t bytes_ = 0;
  uint64_t dropped_ = 0;
};

}  // namespace server

// SPDX-License-Identifier: MIT
#include "outbox.h"

#include <algorithm>
#include <utility>

namespace server {

void Outbox::push(wire::Bytes message, Keep keep) {
  bytes_ += message.size();
  entries_.push_back({std::move(message), keep});
  auto droppable = [](const Entry& entry) { return entry.keep == Keep::kIfRoom; };
  for (auto oldest = entries_.begin(); bytes_ > most_bytes_;) {
    oldest = std::find_if(oldest, entries_.end(), droppable);
    if (oldest == entries_.end()) return;
    bytes_ -= oldest->message.size();
    ++dropped_;
    oldest = entries_.erase(oldest);
  }
}

wire::Bytes Outbox::pop() {
  wire::Bytes message = std::move(entries_.front().message);
  entries_.pop_front();
  bytes_ -= message.size();
  return message;
}

}  // namespace server

// SPDX-License-Identifier: MIT
#include "message.h"

namespace wire {

std::optional<Message> parse(View bytes) {
  if (bytes.empty() || bytes[0] > static_cast<uint8_t>(Kind::kPing)) return std::nullopt;
  return Message{static_cast<Kind>(bytes[0]), bytes.subspan(1)};
}

Bytes make(Kind kind, View payload) {
  Bytes bytes;
  bytes.reserve(1 + payload.size());
  bytes.push_back(static_cast<uint8_t>(kind));
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

Bytes make(Kind kind, std::string_view text) {
  return make(kind, View(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}

}  // namespace wire

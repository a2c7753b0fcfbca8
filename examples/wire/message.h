// SPDX-License-Identifier: MIT
// Messages of the conversation protocol (docs/protocol.md): a byte that says the kind, and a payload.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace wire {

using Bytes = std::vector<uint8_t>;
using View = std::span<const uint8_t>;

enum class Kind : uint8_t {
  kHandshake = 0,
  kAudio = 1,
  kText = 2,
  kControl = 3,
  kMetadata = 4,
  kError = 5,
  kPing = 6,
};

/// The payload byte of kControl.
enum class Control : uint8_t { kStart = 0, kEndTurn = 1, kPause = 2, kRestart = 3 };

/// Why a WebSocket is closed, as its close codes.
enum class Close : uint16_t {
  kNormal = 1000,
  kGoingAway = 1001,
  kUnsupported = 1003,
  kPolicy = 1008,
  kTooBig = 1009,
  kFailed = 1011,
  kTryLater = 1013,
};

struct Message {
  Kind kind;
  View payload;  ///< Of the bytes that were parsed; not owned.
};

/// Nothing for an empty message or a kind that is not in Kind: to be discarded.
std::optional<Message> parse(View bytes);

Bytes make(Kind kind, View payload = {});
Bytes make(Kind kind, std::string_view text);

inline std::string_view text_of(View bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

}  // namespace wire

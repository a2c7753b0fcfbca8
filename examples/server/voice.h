// SPDX-License-Identifier: MIT
// What the model says, as messages of one frame.
#pragma once

#include <optional>
#include <utility>
#include <vector>

#include "../wire/message.h"
#include "../wire/ogg_opus.h"
#include "settings.h"

namespace server {

class Voice {
 public:
  explicit Voice(Encoding encoding) : encoding_(encoding) {}

  /// The message, when this packet completes one.
  std::optional<wire::Bytes> add(wire::Bytes packet, int samples) {
    if (encoding_ == Encoding::kPcm) return wire::make(wire::Kind::kAudio, packet);
    packets_.push_back(std::move(packet));
    if (static_cast<int>(packets_.size()) * samples < wire::kFrameSamples) return std::nullopt;
    wire::Bytes message = wire::make(wire::Kind::kAudio);
    for (const wire::Bytes& one : packets_) writer_.append(one, samples, &message);
    forget();
    return message;
  }
  /// What is begun is not completed any more. Nothing of it is in the stream, whose head may be yet to come.
  void forget() { packets_.clear(); }

 private:
  const Encoding encoding_;
  wire::OggOpusWriter writer_;
  std::vector<wire::Bytes> packets_;
};

}  // namespace server

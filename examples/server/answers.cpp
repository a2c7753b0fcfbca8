// SPDX-License-Identifier: MIT
#include "answers.h"

#include <utility>

#include "../wire/ogg_opus.h"

namespace server {

std::optional<Answers::Answer> Answers::next() {
  if (packet_samples_ > 0 && told_samples_ < wire::kFrameSamples) {
    if (packets_.empty()) return std::nullopt;
    Audio audio{std::move(packets_.front()), packet_samples_};
    packets_.pop_front();
    told_samples_ += packet_samples_;
    return audio;
  }
  if (!told_text_) {
    if (texts_.empty()) return std::nullopt;
    std::string text = std::move(texts_.front());
    texts_.pop_front();
    told_text_ = true;
    if (!text.empty()) return Text{std::move(text)};
  }
  told_text_ = false;
  told_samples_ = 0;
  return End{frame_++};
}

}  // namespace server

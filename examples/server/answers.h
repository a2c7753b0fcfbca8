// SPDX-License-Identifier: MIT
// The two branches of a pipeline put in order again: the text of a frame comes after its audio, and before the audio
// of the next.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <variant>

#include "packet_queue.h"

namespace server {

class Answers {
 public:
  struct Audio {
    Buffer packet;
    int samples;
  };
  struct Text {
    std::string text;  ///< Never empty.
  };
  struct End {
    uint64_t frame;
  };
  using Answer = std::variant<Audio, Text, End>;

  /// `packet_samples`: what each packet of audio lasts; 0: there is no audio.
  explicit Answers(int packet_samples) : packet_samples_(packet_samples) {}

  void add_audio(Buffer packet) { packets_.push_back(std::move(packet)); }
  /// Once for each frame.
  void add_text(std::string text) {
    texts_.push_back(std::move(text));
    ++stepped_;
  }

  /// What comes next, if it is there.
  std::optional<Answer> next();
  /// Frames that the model has answered, whether or not their audio is there.
  uint64_t stepped() const { return stepped_; }

 private:
  int packet_samples_;
  std::deque<Buffer> packets_;
  std::deque<std::string> texts_;
  uint64_t frame_ = 0, stepped_ = 0;
  int told_samples_ = 0;  ///< Of this frame's audio.
  bool told_text_ = false;
};

}  // namespace server

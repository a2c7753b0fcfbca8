// SPDX-License-Identifier: MIT
// One conversation as one GStreamer pipeline: appsrc ! opusdec ! mimienc ! moshilm ! mimidec ! opusenc ! appsink.
#pragma once

#include <gst/gst.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "../wire/ogg_opus.h"
#include "settings.h"

namespace server {

constexpr double kFrameSeconds = static_cast<double>(wire::kFrameSamples) / wire::kSampleRate;

struct ConversationStats {
  uint64_t frames_in = 0;        ///< Frames that the model has heard.
  uint64_t frames_out = 0;       ///< Frames that came out.
  uint64_t dropped_samples = 0;  ///< Sound that was dropped because it came too fast, at 24 kHz.
  uint64_t dropped_frames = 0;   ///< The same in frames, rounded up.
  double lag_seconds = 0;        ///< Sound that was pushed, neither dropped nor answered yet.
  uint64_t bad_packets = 0;      ///< That could not be decoded; the model hears silence in their place.
  int64_t seed = -1;             ///< In use, also where none was asked for.
};

/// What a model is, once it has been loaded.
struct ModelFacts {
  std::string name;  ///< For people: the hub id, the directory's name, or "embedded".
  std::string lm_file, type, device;
  bool speaks = true, writes = true;
  Sampling defaults;  ///< All set but the seed.
};

/// Not thread-safe: all calls come from one thread, which runs the default GMainContext, and all events are told there.
/// A conversation owns its pipeline; destroying it in any state stops it, drops what is under way, and no event comes
/// after that; an event may destroy it, or call anything else of it. Making one while the model is loaded elsewhere in
/// the process shares the weights.
class Conversation {
 public:
  struct Events {
    /// One packet of Opus (40 ms), or samples of one frame (PCM).
    std::function<void(wire::Bytes packet, int samples)> audio;
    /// A piece of text. It comes after the audio of its frame.
    std::function<void(std::string text)> text;
    /// An answer is complete (its audio and text were told). `delay_seconds`: since the last sound of its frame was
    /// pushed.
    std::function<void(double delay_seconds)> frame;
    /// Nothing comes after it. The sentence is for the client, `detail` for the log.
    std::function<void(std::string sentence, std::string detail)> failed;
  };

  /// Starts at once. Null when there is no such element or property; then `problem` says what to do.
  static std::unique_ptr<Conversation> make(const Model& model, const Settings& settings, double max_lag_seconds,
                                            Events events, std::string* problem);
  virtual ~Conversation() = default;

  /// One packet of what the user says, as `settings.encoding` has it. The first 1920 samples of a conversation are not
  /// heard. Copies. Drops the oldest that waits when more than max_lag_seconds would.
  virtual void push(wire::View packet, int samples) = 0;
  /// Begins a new conversation with what is pushed next (control message 3), whose first frame is not heard, either.
  virtual void restart() = 0;
  virtual ConversationStats stats() const = 0;
};

/// Holds the model in the process, so that a conversation begins at once. `done` is called on the default GMainContext:
/// facts, or nothing and a sentence. Destroying it gives the model back and cancels a load; then it waits until
/// conversations that were ended have stopped, so it comes last.
class LoadedModel {
 public:
  using Done = std::function<void(const ModelFacts* facts, std::string problem)>;
  using Progress = std::function<void(std::string text)>;
  static std::unique_ptr<LoadedModel> load(const Model& model, Progress progress, Done done);
  virtual ~LoadedModel() = default;
};

}  // namespace server

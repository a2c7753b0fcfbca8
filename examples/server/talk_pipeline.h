// SPDX-License-Identifier: MIT
// The pipeline of a conversation: what is fed goes in, and what comes out is mail.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>

#include "hearing.h"
#include "mailbox.h"
#include "settings.h"

namespace server {

/// One packet of what the server sends: 40 ms at 24 kHz.
constexpr int kOpusSamples = 960;

/// All calls come from one thread.
class TalkPipeline {
 public:
  /// Its models are being loaded when it returns. Null: `problem` is a sentence.
  static std::unique_ptr<TalkPipeline> make(const Model& model, const Settings& settings,
                                            std::shared_ptr<Mailbox> mailbox, uint64_t run, std::string* problem);
  /// Returns at once. When the pipeline has stopped, which can take as long as a step of the model, it mails kStopped.
  ~TalkPipeline();

  /// To be called for each kLoaded, with its text. True when it plays from now on.
  bool note_loaded(const std::string& element);
  bool playing() const { return awaited_.empty(); }
  bool speaks() const { return speaks_; }
  /// Frames by which the model's answer to a frame comes later.
  int answer_delay() const { return answer_delay_; }

  void feed(Packet packet);
  /// Samples that were fed, and that the first element has not taken yet.
  int64_t fed_samples() const;
  /// Mails kHungry once, when it has taken all that was fed.
  void tell_when_hungry();
  Hearing& hearing();

 private:
  struct Streams;
  explicit TalkPipeline(std::shared_ptr<Streams> streams) : streams_(std::move(streams)) {}
  void begin();

  std::shared_ptr<Streams> streams_;
  std::set<std::string> awaited_;  // elements whose models are being loaded
  int answer_delay_ = 0;
  bool speaks_ = false;
  uint64_t fed_ = 0;
};

}  // namespace server

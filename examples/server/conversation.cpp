// SPDX-License-Identifier: MIT
#include "conversation.h"

#include <algorithm>
#include <random>
#include <utility>

#include "answers.h"
#include "talk_pipeline.h"

namespace server {
namespace {

constexpr int64_t kFrame = wire::kFrameSamples;
/// Frames in the model's elements: one is encoded while another is stepped, and the next is there.
constexpr int64_t kFramesUnderWay = 3;

/// Short enough to be read out and to be exact in every JSON reader.
int64_t draw_seed() {
  std::random_device device;
  return std::uniform_int_distribution<int64_t>(0, (int64_t{1} << 31) - 1)(device);
}

int packet_samples(const Settings& settings) {
  if (!settings.audio) return 0;
  return settings.encoding == Encoding::kOpus ? kOpusSamples : wire::kFrameSamples;
}

/// With a copy of the function: what it does may destroy the conversation, which has it.
template <typename Event, typename... Parts>
void call(Event event, Parts... parts) {
  if (event) event(std::move(parts)...);
}

class PipelineConversation : public Conversation {
 public:
  PipelineConversation(Model model, Settings settings, double max_lag_seconds, Events events)
      : model_(std::move(model)),
        settings_(std::move(settings)),
        max_lag_(static_cast<int64_t>(std::clamp(max_lag_seconds, 0.0, 3600.0) * wire::kSampleRate)),
        events_(std::move(events)),
        answers_(packet_samples(settings_)),
        mailbox_(std::make_shared<Mailbox>([this](Mail mail) { read(std::move(mail)); })) {}
  ~PipelineConversation() override {
    *alive_ = false;
    mailbox_->close();
  }

  bool start(std::string* problem);
  void push(wire::View packet, int samples) override;
  void restart() override;
  ConversationStats stats() const override;

 private:
  void read(Mail mail);
  void stop();
  void fail(std::string sentence, std::string detail);
  void feed();
  void tell_answers();
  void tell(Answers::Answer answer);
  int64_t heard_frames() const { return static_cast<int64_t>(pipeline_->hearing().heard_samples()) / kFrame; }
  int64_t unanswered_samples() const;
  bool has_room() const;

  const Model model_;
  const Settings settings_;
  const int64_t max_lag_;
  const Events events_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // an event may destroy this

  PacketQueue queue_;
  Answers answers_;
  int64_t seed_ = settings_.sampling.seed.value_or(draw_seed());
  uint64_t run_ = 0, heard_before_ = 0, answered_before_ = 0, undecodable_before_ = 0, answered_ = 0;
  bool failed_ = false;
  std::shared_ptr<Mailbox> mailbox_;
  std::unique_ptr<TalkPipeline> pipeline_;  // null while a conversation that was ended by restart() stops
};

bool PipelineConversation::start(std::string* problem) {
  Settings settings = settings_;
  settings.sampling.seed = seed_;
  pipeline_ = TalkPipeline::make(model_, settings, mailbox_, ++run_, problem);
  return pipeline_ != nullptr;
}

void PipelineConversation::push(wire::View packet, int samples) {
  if (failed_ || packet.empty()) return;
  Buffer buffer(gst_buffer_new_memdup(packet.data(), packet.size()));
  const int64_t room = std::max<int64_t>(max_lag_ - unanswered_samples(), 0);
  queue_.push({std::move(buffer), samples, g_get_monotonic_time()}, room);
  feed();
}

void PipelineConversation::restart() {
  if (failed_) return;
  queue_.clear();
  seed_ = settings_.sampling.seed.value_or(draw_seed());
  // The model may have room for no more than one at a time: the next begins when this one has stopped.
  stop();
}

void PipelineConversation::stop() {
  if (!pipeline_) return;
  heard_before_ += static_cast<uint64_t>(heard_frames());
  undecodable_before_ += pipeline_->hearing().undecodable();
  answered_before_ += std::exchange(answered_, 0);
  answers_ = Answers(packet_samples(settings_));
  pipeline_.reset();
}

// What the pipeline holds, and the model has not answered.
int64_t PipelineConversation::unanswered_samples() const {
  if (!pipeline_) return 0;
  const auto heard = static_cast<int64_t>(pipeline_->hearing().heard_samples());
  const auto answered = static_cast<int64_t>(answers_.stepped()) + (heard >= kFrame ? pipeline_->answer_delay() : 0);
  return pipeline_->fed_samples() + std::max<int64_t>(heard - answered * kFrame, 0);
}

bool PipelineConversation::has_room() const {
  const auto stepped = static_cast<int64_t>(answers_.stepped()) + pipeline_->answer_delay();
  return pipeline_->fed_samples() < kFrame && heard_frames() - stepped < kFramesUnderWay;
}

void PipelineConversation::feed() {
  if (!pipeline_ || !pipeline_->playing()) return;
  while (!queue_.empty()) {
    // Before looking, so that no hunger is missed.
    pipeline_->tell_when_hungry();
    if (!has_room()) return;
    pipeline_->feed(queue_.pop());
  }
}

void PipelineConversation::read(Mail mail) {
  if (failed_) return;
  if (mail.kind == Mail::Kind::kStopped) {
    std::string problem;
    if (mail.run == run_ && !start(&problem)) fail("The conversation cannot begin again.", problem);
    return;
  }
  if (!pipeline_ || mail.run != run_) return;
  switch (mail.kind) {
    case Mail::Kind::kLoaded:
      if (pipeline_->note_loaded(mail.text) && !pipeline_->speaks()) answers_ = Answers(0);
      break;
    case Mail::Kind::kAudio:
      answers_.add_audio(std::move(mail.buffer));
      return tell_answers();
    case Mail::Kind::kText:
      answers_.add_text(std::move(mail.text));
      feed();
      return tell_answers();
    case Mail::Kind::kError:
      return fail(std::move(mail.text), std::move(mail.detail));
    default:
      break;
  }
  feed();
}

void PipelineConversation::fail(std::string sentence, std::string detail) {
  failed_ = true;
  queue_.clear();
  stop();
  call(events_.failed, std::move(sentence), std::move(detail));
}

void PipelineConversation::tell_answers() {
  const std::shared_ptr<bool> alive = alive_;
  while (auto answer = answers_.next()) {
    tell(std::move(*answer));
    if (!*alive) return;
  }
}

void PipelineConversation::tell(Answers::Answer answer) {
  if (const auto* audio = std::get_if<Answers::Audio>(&answer)) {
    GstMapInfo map;
    if (!events_.audio || !gst_buffer_map(audio->packet.get(), &map, GST_MAP_READ)) return;
    wire::Bytes bytes(map.data, map.data + map.size);
    gst_buffer_unmap(audio->packet.get(), &map);
    call(events_.audio, std::move(bytes), audio->samples);
  } else if (auto* text = std::get_if<Answers::Text>(&answer)) {
    if (settings_.text) call(events_.text, std::move(text->text));
  } else {
    ++answered_;
    const uint64_t heard = std::get<Answers::End>(answer).frame + static_cast<uint64_t>(pipeline_->answer_delay());
    const auto arrival = pipeline_->hearing().arrival(heard);
    call(events_.frame, arrival ? static_cast<double>(g_get_monotonic_time() - *arrival) / G_USEC_PER_SEC : 0.0);
  }
}

ConversationStats PipelineConversation::stats() const {
  ConversationStats stats;
  stats.frames_in = heard_before_;
  stats.frames_out = answered_before_ + answered_;
  stats.dropped_samples = queue_.dropped_samples();
  stats.dropped_frames = (stats.dropped_samples + kFrame - 1) / kFrame;
  stats.bad_packets = undecodable_before_;
  stats.seed = seed_;
  if (!pipeline_) return stats;
  const Hearing& hearing = pipeline_->hearing();
  stats.frames_in += static_cast<uint64_t>(heard_frames());
  stats.bad_packets += hearing.undecodable();
  const auto heard = static_cast<int64_t>(hearing.heard_samples());
  const int64_t lag = queue_.samples() + pipeline_->fed_samples() + heard - static_cast<int64_t>(answered_) * kFrame;
  stats.lag_seconds = static_cast<double>(std::max<int64_t>(lag, 0)) / wire::kSampleRate;
  return stats;
}

}  // namespace

std::unique_ptr<Conversation> Conversation::make(const Model& model, const Settings& settings, double max_lag_seconds,
                                                 Events events, std::string* problem) {
  auto made = std::make_unique<PipelineConversation>(model, settings, max_lag_seconds, std::move(events));
  if (!made->start(problem)) return nullptr;
  return made;
}

}  // namespace server

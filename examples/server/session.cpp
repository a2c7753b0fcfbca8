// SPDX-License-Identifier: MIT
#include "session.h"

#include <algorithm>
#include <array>
#include <utility>

#include "delays.h"
#include "log.h"
#include "metrics.h"
#include "session_metadata.h"
#include "token_bucket.h"
#include "voice.h"
#include "web_socket.h"

namespace server {
namespace {

using wire::Close;
using wire::Kind;
using Keep = Outbox::Keep;

constexpr double kBurstSeconds = 10;
constexpr double kPingSeconds = 3;

/// What the client says, as packets for a conversation.
class Ear {
 public:
  using Push = wire::OggOpusReader::OnPacket;

  explicit Ear(Encoding encoding) : encoding_(encoding) {}

  /// False when it can never be sound.
  bool take(wire::View bytes, const Push& push) {
    if (encoding_ == Encoding::kOpus) return reader_.append(bytes, push);
    take_samples(bytes, push);
    return true;
  }
  const std::string& problem() const { return reader_.problem(); }
  uint64_t bad() const { return reader_.bad(); }

 private:
  // A sample may be cut in two.
  void take_samples(wire::View bytes, const Push& push) {
    constexpr size_t kSampleBytes = sizeof(int16_t), kMost = wire::kFrameSamples * kSampleBytes;
    rest_.insert(rest_.end(), bytes.begin(), bytes.end());
    size_t at = 0;
    while (rest_.size() - at >= kSampleBytes) {
      const size_t size = std::min(rest_.size() - at, kMost) / kSampleBytes * kSampleBytes;
      push(wire::View(rest_).subspan(at, size), static_cast<int>(size / kSampleBytes));
      at += size;
    }
    rest_.erase(rest_.begin(), rest_.begin() + static_cast<std::ptrdiff_t>(at));
  }

  const Encoding encoding_;
  wire::OggOpusReader reader_;
  wire::Bytes rest_;
};

class SocketSession : public Session {
 public:
  SocketSession(SoupWebsocketConnection* socket, Peer peer, Settings settings, const SessionLimits& limits,
                Metrics* metrics, Ended ended);
  ~SocketSession() override;

  void wait(int place, int length) override;
  void begin(const Model& model, const ModelFacts& facts) override;
  void end(Close code, const std::string& sentence, const std::string& reason) override;
  const Peer& peer() const override { return peer_; }
  bool talking() const override { return conversation_ != nullptr; }
  ConversationStats stats() const override { return conversation_ ? conversation_->stats() : last_; }
  double frame_delay(double quantile) const override { return delays_.quantile(quantile); }

 private:
  WebSocket::Events socket_events();
  Conversation::Events conversation_events();
  void on_message(wire::View message);
  void on_sound(wire::View sound);
  void on_control(wire::View control);
  void on_voice(wire::Bytes packet, int samples);
  void on_frame(double delay);
  void on_failure(const std::string& sentence, const std::string& detail);
  void on_closed(const std::string& reason);
  static gboolean on_second(gpointer self);
  void tick();
  bool check_limits(double now);
  bool check_rate(double now);
  void send(Kind kind, std::string_view text, Keep keep) { socket_.send(wire::make(kind, text), keep); }
  void send_metadata();
  void count();
  void stop();

  const Peer peer_;
  const Settings settings_;
  const SessionLimits limits_;
  Metrics* const metrics_;
  const Ended ended_;
  const double made_ = WebSocket::now();
  ModelFacts facts_;

  TokenBucket messages_, bytes_;
  Ear ear_;
  Voice voice_;
  Delays delays_;
  bool voiced_ = false;  // an audio message was sent
  double begun_ = 0, heard_ = made_;
  uint64_t frames_ = 0;
  std::string reason_;
  ConversationStats last_, counted_;
  uint64_t received_ = 0, counted_sent_ = 0, counted_dropped_ = 0, counted_bad_ = 0;
  guint timer_;
  WebSocket socket_;
  std::unique_ptr<Conversation> conversation_;
};

SocketSession::SocketSession(SoupWebsocketConnection* socket, Peer peer, Settings settings, const SessionLimits& limits,
                             Metrics* metrics, Ended ended)
    : peer_(std::move(peer)),
      settings_(std::move(settings)),
      limits_(limits),
      metrics_(metrics),
      ended_(std::move(ended)),
      messages_(limits.messages_per_second, kBurstSeconds),
      bytes_(limits.bytes_per_second, kBurstSeconds),
      ear_(settings_.encoding),
      voice_(settings_.encoding),
      timer_(g_timeout_add_seconds(1, on_second, this)),
      socket_(socket, limits.unsent_bytes, socket_events()) {
  // Who waits need not say anything, but has to be there.
  if (limits_.idle_seconds > 0) socket_.ask_for_pongs(std::max(static_cast<int>(limits_.idle_seconds / 3), 1));
}

SocketSession::~SocketSession() {
  g_source_remove(timer_);
  stop();
}

WebSocket::Events SocketSession::socket_events() {
  return {.message = [this](wire::View message) { on_message(message); },
          .other = [this] { on_message({}); },
          .pong =
              [this] {
                if (!talking()) heard_ = WebSocket::now();
              },
          .closed = [this](const std::string& reason) { on_closed(reason); }};
}

Conversation::Events SocketSession::conversation_events() {
  return {.audio = [this](wire::Bytes packet, int samples) { on_voice(std::move(packet), samples); },
          .text = [this](const std::string& text) { send(Kind::kText, text, Keep::kAlways); },
          .frame = [this](double delay) { on_frame(delay); },
          .failed = [this](std::string sentence, std::string detail) { on_failure(sentence, detail); }};
}

void SocketSession::wait(int place, int length) {
  if (settings_.queue) send(Kind::kMetadata, queue_metadata(place, length), Keep::kAlways);
}

void SocketSession::begin(const Model& model, const ModelFacts& facts) {
  if (socket_.closing()) return;
  facts_ = facts;
  begun_ = heard_ = WebSocket::now();
  std::string problem;
  conversation_ = Conversation::make(model, settings_, limits_.max_lag_seconds, conversation_events(), &problem);
  if (!conversation_) return on_failure("The conversation failed on the server.", problem);
  socket_.ask_for_pongs(0);
  send(Kind::kHandshake, "", Keep::kAlways);
  metrics_->join_latency.add(WebSocket::now() - made_);
  send_metadata();
}

void SocketSession::send_metadata() {
  if (!settings_.metadata) return;
  const int64_t seed = conversation_->stats().seed;
  send(Kind::kMetadata, begin_metadata(facts_, settings_, seed, limits_.max_lag_seconds), Keep::kAlways);
}

void SocketSession::end(Close code, const std::string& sentence, const std::string& reason) {
  if (socket_.closing()) return;
  reason_ = reason;
  stop();
  if (!sentence.empty()) send(Kind::kError, sentence, Keep::kAlways);
  socket_.close(code);
}

void SocketSession::stop() {
  count();
  if (conversation_) last_ = conversation_->stats();
  conversation_.reset();
}

void SocketSession::on_message(wire::View bytes) {
  const double now = WebSocket::now();
  heard_ = now;
  metrics_->bytes_in += bytes.size();
  if (!messages_.take(1, now)) return end(Close::kPolicy, "Too many messages came.", "rate");
  if (!check_rate(now)) return;
  const auto message = wire::parse(bytes);
  if (!message) {
    ++metrics_->bad_messages;
  } else if (message->kind == Kind::kAudio) {
    on_sound(message->payload);
  } else if (message->kind == Kind::kControl) {
    on_control(message->payload);
  }
}

// What comes before the conversation is read, too: the stream's head may be in it.
void SocketSession::on_sound(wire::View sound) {
  const bool good = ear_.take(sound, [this](wire::View packet, int samples) {
    if (conversation_) conversation_->push(packet, samples);
  });
  if (!good) end(Close::kUnsupported, ear_.problem(), "not-opus");
}

void SocketSession::on_control(wire::View control) {
  if (control.size() != 1 || control[0] != static_cast<uint8_t>(wire::Control::kRestart) || !conversation_) return;
  conversation_->restart();
  voice_.forget();
  send_metadata();
}

void SocketSession::on_voice(wire::Bytes packet, int samples) {
  auto message = voice_.add(std::move(packet), samples);
  if (!message) return;
  // Without the stream's head, nothing that follows could be decoded.
  socket_.send(std::move(*message), std::exchange(voiced_, true) ? Keep::kIfRoom : Keep::kAlways);
}

void SocketSession::on_frame(double delay) {
  delays_.add(delay);
  metrics_->frame_delay.add(delay);
  if (delay > kFrameSeconds) ++metrics_->late_frames;
  if (++frames_ != settings_.most_steps) return;
  end(Close::kNormal, "The conversation has had its " + std::to_string(frames_) + " steps.", "limit");
}

void SocketSession::on_failure(const std::string& sentence, const std::string& detail) {
  log::write(log::Level::kError, "conversation-failed", {{"id", peer_.id}, {"text", detail}});
  end(Close::kFailed, sentence, "failed");
}

void SocketSession::on_closed(const std::string& reason) {
  stop();
  const Ended ended = ended_;
  const std::string word = reason_.empty() ? reason : reason_;
  ended(this, word);
}

gboolean SocketSession::on_second(gpointer self) {
  static_cast<SocketSession*>(self)->tick();
  return G_SOURCE_CONTINUE;
}

void SocketSession::tick() {
  const double now = WebSocket::now();
  count();
  if (socket_.stuck_seconds() > limits_.stuck_seconds) socket_.give_up("slow");
  if (socket_.closing() || !check_limits(now)) return;
  if (conversation_ && settings_.stats)
    send(Kind::kMetadata, stats_metadata(conversation_->stats(), delays_, metrics_->active), Keep::kIfRoom);
  if (now - socket_.last_sent() >= kPingSeconds) send(Kind::kPing, "", Keep::kIfRoom);
}

// Of all that came: what libsoup answers or keeps itself counts, too.
bool SocketSession::check_rate(double now) {
  const uint64_t received = socket_.received_bytes();
  const auto more = static_cast<double>(received - std::exchange(received_, received));
  if (!bytes_.take(more, now)) end(Close::kPolicy, "Too much came.", "rate");
  return !socket_.closing();
}

bool SocketSession::check_limits(double now) {
  if (!check_rate(now)) return false;
  if (limits_.idle_seconds > 0 && now - heard_ > limits_.idle_seconds) {
    end(Close::kPolicy, "Nothing was heard for too long.", "idle");
  } else if (conversation_ && limits_.session_seconds > 0 && now - begun_ > limits_.session_seconds) {
    end(Close::kNormal, "The time of this conversation is used up.", "limit");
  }
  return !socket_.closing();
}

/// Adds what has grown since the last time.
void add(uint64_t* sum, uint64_t now, uint64_t* before) {
  *sum += now - *before;
  *before = now;
}

void SocketSession::count() {
  const ConversationStats now = stats();
  add(&metrics_->frames_in, now.frames_in, &counted_.frames_in);
  add(&metrics_->frames_out, now.frames_out, &counted_.frames_out);
  add(&metrics_->dropped_frames, now.dropped_frames, &counted_.dropped_frames);
  add(&metrics_->bad_packets, now.bad_packets + ear_.bad(), &counted_bad_);
  add(&metrics_->bytes_out, socket_.sent_bytes(), &counted_sent_);
  add(&metrics_->dropped_output, socket_.dropped(), &counted_dropped_);
}

}  // namespace

std::unique_ptr<Session> Session::make(SoupWebsocketConnection* socket, Peer peer, Settings settings,
                                       const SessionLimits& limits, Metrics* metrics, Ended ended) {
  return std::make_unique<SocketSession>(socket, std::move(peer), std::move(settings), limits, metrics,
                                         std::move(ended));
}

}  // namespace server

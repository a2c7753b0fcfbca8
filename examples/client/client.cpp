// SPDX-License-Identifier: MIT
#include "client.h"

#include <glib-unix.h>

#include <algorithm>
#include <csignal>
#include <nlohmann/json.hpp>

namespace client {
namespace {

using nlohmann::json;

constexpr int kPacketsPerFrame = wire::kFrameSamples / kPacketSamples;
constexpr int64_t kWindow = 8;         // frames under way: enough for a far server, and less than any lets wait
constexpr int64_t kTextWindow = 20;    // where answers are told once a second
constexpr int64_t kMostDelay = 4;      // frames that a model may hold back at the end
constexpr int kFramesPerSecond = 150;  // of a file, on average: moshi-server takes 200 messages and 128 KiB of a client
constexpr size_t kStalledBytes = 8192;  // that the network has not taken: a second of sound
constexpr guint kTickMs = 50;
constexpr guint kFirstBackoffMs = 500, kLongestBackoffMs = 8000;
constexpr gint64 kSecond = G_USEC_PER_SEC;
constexpr gint64 kLostAfter = 10 * kSecond;   // without any message; a server sends something every 3 s
constexpr gint64 kStuckAfter = 60 * kSecond;  // without an answer that a server owes
constexpr gint64 kLastAnswerAfter = 5 * kSecond;
constexpr gint64 kLastTextAfter = kSecond / 5;  // it follows the last sound
constexpr gint64 kSpeakerHolds = kSecond / 5;
constexpr gint64 kBurst = 10 * kSecond;  // that may be sent at once of what was not sent before
constexpr size_t kMostDelays = 100000;
constexpr int kMostDepth = 8;  // of metadata; what is deeper is none that is known

void say(const std::string& sentence) { app::fail(sentence); }

double percentile(std::vector<double> values, double part) {
  if (values.empty()) return 0;
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(part * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

int64_t to_ms(uint64_t samples) { return static_cast<int64_t>(samples) * 1000 / wire::kSampleRate; }

}  // namespace

Client::Client(const Options& options, Transcript transcript)
    : options_(options),
      transcript_(std::move(transcript)),
      playout_(options.max_lag_seconds),
      loop_(g_main_loop_new(nullptr, FALSE)) {}

Client::~Client() {
  for (const guint source : sources_) g_source_remove(source);
  if (retry_) g_source_remove(retry_);
}

bool Client::set_up() {
  const auto failed = [this](const std::string& sentence) { fail(sentence); };
  devices_ = Devices::make(
      options_, &playout_, [this] { pump(); }, failed);
  if (!devices_) return false;
  if (options_.to_speaker() || options_.to_file()) {
    decoder_ = Decoder::make(options_, &playout_, failed);
    if (!decoder_) return false;
  }
  return true;
}

bool Client::run() {
  if (!set_up()) return false;
  const GSourceFunc interrupted = [](gpointer user) -> gboolean {
    static_cast<Client*>(user)->stop();
    return G_SOURCE_CONTINUE;
  };
  const GSourceFunc tick = [](gpointer user) -> gboolean {
    static_cast<Client*>(user)->on_tick();
    return G_SOURCE_CONTINUE;
  };
  sources_ = {g_unix_signal_add(SIGINT, interrupted, this), g_unix_signal_add(SIGTERM, interrupted, this),
              g_timeout_add(kTickMs, tick, this)};
  say("connecting to " + options_.address.substr(0, options_.address.find('?')));
  connect();
  g_main_loop_run(loop_.get());
  if (options_.stats) print_stats();
  return transcript_.finish() && good_;
}

// --- Connections --------------------------------------------------------------------------------------------------

void Client::connect() {
  reader_.emplace();
  writer_.emplace();
  begun_ = told_why_ = told_wait_ = all_sent_ = false;
  frame_.clear();
  frame_packets_ = 0;
  window_ = options_.hears() ? kWindow : kTextWindow;
  frames_sent_ = samples_heard_ = frames_told_ = 0;
  next_frame_at_ = 0;
  sent_at_.clear();
  since_ = last_message_ = last_answer_ = g_get_monotonic_time();
  link_ = std::make_unique<Link>(Link::Target{options_.address, options_.token, options_.insecure},
                                 Link::Events{[this] { on_opened(); }, [this](wire::View bytes) { on_message(bytes); },
                                              [this](const Link::End& end) { on_ended(end); }});
  link_->connect();
}

void Client::on_opened() {
  since_ = g_get_monotonic_time();
  if (stopping_) link_->close(wire::Close::kNormal);
}

void Client::on_ended(const Link::End& end) {
  if (reader_) bad_packets_ += reader_->bad();
  const bool was_begun = std::exchange(begun_, false);
  if (stopping_ || !good_) {
    write_out();
    return;
  }
  const auto code = static_cast<wire::Close>(end.code);
  const bool for_good =
      end.refused || code == wire::Close::kUnsupported || code == wire::Close::kPolicy || code == wire::Close::kTooBig;
  if (options_.live() && was_begun && code == wire::Close::kNormal) {
    say("the server has ended the conversation");
    stopping_ = true;
    write_out();
    return;
  }
  std::string why = printable(end.sentence);
  if (why.empty()) why = "the server has closed the connection, code " + std::to_string(end.code);
  if (options_.live() && ever_begun_ && !for_good) {
    reconnect(told_why_ ? "" : why + "; ");
  } else if (told_why_) {
    good_ = false;
    write_out();
  } else {
    fail(why);
  }
}

void Client::reconnect(const std::string& why) {
  backoff_ms_ = backoff_ms_ == 0 ? kFirstBackoffMs : std::min(2 * backoff_ms_, kLongestBackoffMs);
  ++reconnects_;
  char seconds[32];
  g_snprintf(seconds, sizeof seconds, "%.1f", backoff_ms_ / 1000.0);
  say(why + "connecting again in " + seconds + " s");
  const GSourceFunc again = [](gpointer user) -> gboolean {
    auto* self = static_cast<Client*>(user);
    self->retry_ = 0;
    self->connect();
    return G_SOURCE_REMOVE;
  };
  retry_ = g_timeout_add(backoff_ms_, again, this);
}

void Client::fail(const std::string& sentence) {
  if (!good_) return;  // the first error is the cause of the others
  good_ = app::fail(sentence);
  if (link_ && link_->open()) {
    link_->close(wire::Close::kNormal);
  } else if (drained_at_ != 0) {
    quit();  // what failed is what the end waits for
  } else {
    write_out();
  }
}

void Client::stop() {
  if (stopping_) {
    good_ = good_ && drained_at_ != 0;  // then all is there, and only played yet
    quit();
    return;
  }
  stopping_ = true;
  const bool between = retry_ != 0;
  if (between) {
    g_source_remove(std::exchange(retry_, 0));
    write_out();
  } else {
    link_->close(wire::Close::kNormal);
  }
}

// All that came is written or played before the end.
void Client::write_out() {
  if (std::exchange(writing_out_, true)) return;
  if (!decoder_) {
    quit();
    return;
  }
  decoder_->finish([this] {
    playout_.finish();
    if (options_.to_file() || options_.live() || !good_) quit();
    drained_at_ = g_get_monotonic_time();
  });
}

void Client::quit() { g_main_loop_quit(loop_.get()); }

// --- What comes ---------------------------------------------------------------------------------------------------

void Client::on_message(wire::View bytes) {
  last_message_ = g_get_monotonic_time();
  const auto message = wire::parse(bytes);
  if (!message) {
    ++discarded_;
    return;
  }
  switch (message->kind) {
    case wire::Kind::kHandshake:
      on_handshake();
      break;
    case wire::Kind::kAudio:
      on_audio(message->payload);
      break;
    case wire::Kind::kText:
      if (options_.listen != "audio") transcript_.write(wire::text_of(message->payload));
      break;
    case wire::Kind::kMetadata:
      on_metadata(message->payload);
      break;
    case wire::Kind::kError:
      say("the server says: " + printable(wire::text_of(message->payload)));
      told_why_ = true;
      break;
    case wire::Kind::kControl:
    case wire::Kind::kPing:
      break;
  }
}

void Client::on_handshake() {
  if (std::exchange(begun_, true)) return;
  ever_begun_ = true;
  backoff_ms_ = 0;
  last_answer_ = last_message_;
  say(options_.live() ? "connected; Ctrl-C ends the conversation" : "connected");
  if (!transcript_.begin()) {
    good_ = false;
    link_->close(wire::Close::kNormal);
    return;
  }
  if (decoder_) decoder_->play();
  while (options_.live() && devices_->next()) {
  }
  devices_->play();
  pump();
}

void Client::on_audio(wire::View bytes) {
  const bool good = reader_->append(bytes, [this](wire::View packet, int samples) {
    samples_heard_ += samples;
    all_samples_heard_ += samples;
    if (decoder_ && options_.hears()) decoder_->push(packet, samples);
  });
  if (!good) fail("cannot read what the server sends: " + reader_->problem());
  on_answer();
  pump();
}

int64_t Client::answered() const { return std::max(samples_heard_ / wire::kFrameSamples, frames_told_); }

// Answer n is that of frame n, counted from 0, because frame 0 has none.
void Client::on_answer() {
  const gint64 now = g_get_monotonic_time();
  const int64_t oldest = frames_sent_ - static_cast<int64_t>(sent_at_.size());
  for (int64_t frame = oldest; frame <= answered() && !sent_at_.empty(); ++frame) {
    if (frame > 0 && delays_ms_.size() < kMostDelays)
      delays_ms_.push_back(static_cast<double>(now - sent_at_.front()) / 1000);
    sent_at_.pop_front();
    last_answer_ = now;
  }
}

void Client::on_metadata(wire::View bytes) {
  const auto text = wire::text_of(bytes);
  const auto known = [](int depth, json::parse_event_t, const json&) { return depth < kMostDepth; };
  const json data = json::parse(text, known, false);
  const auto number = [](const json& object, const char* name) -> std::optional<int64_t> {
    const auto found = object.find(name);
    if (found == object.end() || !found->is_number_integer()) return std::nullopt;
    return found->get<int64_t>();
  };
  if (!data.is_object()) {
    ++discarded_;
    return;
  }
  if (const auto queue = data.find("queue"); queue != data.end() && queue->is_object()) {
    const auto place = number(*queue, "place"), length = number(*queue, "length");
    if (place && length)
      say("waiting: place " + std::to_string(*place) + " of " + std::to_string(*length) + " in the queue");
    told_wait_ = true;
  }
  if (const auto stats = data.find("stats"); stats != data.end() && stats->is_object()) {
    server_stats_ = stats->dump(-1, ' ', true, json::error_handler_t::replace);
    frames_told_ = number(*stats, "frames_out").value_or(0);
    on_answer();
    pump();
  }
  if (const auto model = data.find("lm_model_file"); model != data.end() && model->is_string()) {
    const auto seed = number(data, "seed");
    say("the model is " + printable(model->get<std::string>()) + (seed ? ", seed " + std::to_string(*seed) : ""));
    const auto max_lag_ms = number(data, "max_lag_ms");
    if (max_lag_ms) window_ = std::clamp<int64_t>(*max_lag_ms / 80, 1, window_);
  }
}

// --- What goes ----------------------------------------------------------------------------------------------------

void Client::pump() {
  if (!begun_ || stopping_ || !good_ || !link_->open()) {
    while (options_.live() && devices_->next()) {
    }
  } else if (options_.live()) {
    send_live();
  } else {
    send_file();
  }
}

void Client::send_live() {
  while (link_->unsent() < kStalledBytes) {
    const auto packet = devices_->next();
    if (!packet) return;
    wire::Bytes pages;
    writer_->append(*packet, kPacketSamples, &pages);
    link_->send(wire::make(wire::Kind::kAudio, wire::View(pages)));
    ++packets_sent_;
    if (++frame_packets_ < kPacketsPerFrame) continue;
    frame_packets_ = 0;
    ++frames_sent_;
  }
}

void Client::send_file() {
  while (!all_sent_ && frames_sent_ - 1 - answered() < window_ && g_get_monotonic_time() >= next_frame_at_) {
    const auto packet = devices_->next();
    if (!packet) {
      // Less than a frame is left: silence that was put behind the file.
      all_sent_ = devices_->ended();
      return;
    }
    writer_->append(*packet, kPacketSamples, &frame_);
    if (++frame_packets_ == kPacketsPerFrame) send_frame();
  }
}

void Client::send_frame() {
  link_->send(wire::make(wire::Kind::kAudio, wire::View(frame_)));
  packets_sent_ += frame_packets_;
  frame_.clear();
  frame_packets_ = 0;
  ++frames_sent_;
  const gint64 now = g_get_monotonic_time();
  next_frame_at_ = std::max(next_frame_at_, now - kBurst) + kSecond / kFramesPerSecond;
  if (frames_sent_ - 2 - answered() <= 0) last_answer_ = now;  // nothing was owed until now
  sent_at_.push_back(now);
}

// --- Watching -----------------------------------------------------------------------------------------------------

void Client::on_tick() {
  const gint64 now = g_get_monotonic_time();
  if (drained_at_ != 0) {
    if (playout_.waiting() > 0) drained_at_ = now;
    if (now - drained_at_ > kSpeakerHolds) quit();
    return;
  }
  if (!link_ || retry_ || writing_out_) return;
  if (link_->open() && !begun_ && !told_wait_ && now - since_ > kSecond) {
    told_wait_ = true;
    say("waiting for the server to begin");
  }
  if (!begun_) return;
  pump();
  options_.live() ? watch_live() : watch_file();
}

void Client::watch_live() {
  if (g_get_monotonic_time() - last_message_ > kLostAfter)
    link_->give_up("the connection is lost: nothing has come from the server for 10 s");
}

void Client::watch_file() {
  const gint64 now = g_get_monotonic_time();
  const int64_t missing = frames_sent_ - 1 - answered();
  // Models hold some frames back at the end, and not all servers count that.
  if (missing > (all_sent_ ? kMostDelay : 0)) {
    if (now - last_answer_ > kStuckAfter)
      fail("the server has not answered " + std::to_string(missing) + " of " + std::to_string(frames_sent_) +
           " frames for " + std::to_string(kStuckAfter / kSecond) + " s");
    return;
  }
  const bool all_there = missing <= 0 && now - last_message_ > kLastTextAfter;
  const bool waited = now - last_answer_ > kLastAnswerAfter;
  if (!all_sent_ || (!all_there && !waited)) return;
  stopping_ = true;
  link_->close(wire::Close::kNormal);
}

void Client::print_stats() const {
  const PlayoutStats playout = playout_.stats();
  json figures = {
      {"frames_sent", packets_sent_ / kPacketsPerFrame},
      {"frames_heard", all_samples_heard_ / wire::kFrameSamples},
      {"playout",
       {{"underruns", playout.underruns},
        {"concealed_ms", to_ms(playout.concealed)},
        {"skipped_silence_ms", to_ms(playout.skipped_silence)},
        {"dropped_ms", to_ms(playout.dropped)},
        {"most_waiting_ms", to_ms(playout.most_waiting)}}},
      {"reconnects", reconnects_},
      {"discarded_messages", discarded_},
      {"bad_packets", bad_packets_},
  };
  if (options_.live()) {
    figures["microphone_dropped_ms"] = to_ms(devices_->dropped() * kPacketSamples);
  } else {
    figures["answer_ms"] = {{"p50", percentile(delays_ms_, 0.5)}, {"p99", percentile(delays_ms_, 0.99)}};
  }
  say("stats: " + figures.dump());
  if (!server_stats_.empty()) say("server's stats: " + server_stats_);
}

}  // namespace client

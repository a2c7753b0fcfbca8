// SPDX-License-Identifier: MIT
#include "capacity.h"

#include <opus.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

#include "../app.h"

namespace server {
namespace {

constexpr int kPacketSamples = wire::kFrameSamples / 2;
constexpr int kMost = 64;               // conversations at once; more than that is no machine's first worry
constexpr int kInFlight = 3;            // frames of each, so that none waits for this thread
// What of the machine is given away: conversations in real time do not come in step, and are computed together less.
constexpr double kRoom = 0.5;
constexpr double kRoundSeconds = 0.25;  // of measuring
constexpr int kLeastFrames = 2;         // of each conversation in a round
constexpr int kMostRoundSeconds = 20;

/// Two seconds of noise, as clients would send it.
std::vector<wire::Bytes> noise() {
  using Encoder = std::unique_ptr<OpusEncoder, app::Deleter<opus_encoder_destroy>>;
  int status = OPUS_OK;
  const Encoder encoder(opus_encoder_create(wire::kSampleRate, 1, OPUS_APPLICATION_VOIP, &status));
  std::vector<wire::Bytes> packets;
  std::minstd_rand random;  // the same noise each time
  std::uniform_real_distribution<float> sample(-0.1f, 0.1f);
  for (int n = 0; encoder && n < 50; ++n) {
    float sound[kPacketSamples];
    for (float& one : sound) one = sample(random);
    wire::Bytes packet(1500);
    const int size = opus_encode_float(encoder.get(), sound, kPacketSamples, packet.data(), 1500);
    packet.resize(static_cast<size_t>(std::max(size, 1)));
    packets.push_back(std::move(packet));
  }
  return packets;
}

double seconds_now() { return static_cast<double>(g_get_monotonic_time()) / G_USEC_PER_SEC; }

/// Rounds with 1, 2, 4, ... conversations, as long as each of them keeps up with real time and the room beyond it.
class Probe : public CapacityProbe {
 public:
  Probe(const Model& model, Done done) : model_(model), done_(std::move(done)), packets_(noise()) {
    later_ = g_idle_add(on_later, this);
  }
  ~Probe() override {
    if (later_) g_source_remove(later_);
    if (limit_) g_source_remove(limit_);
  }

 private:
  struct Talk {
    std::unique_ptr<Conversation> conversation;
    size_t next = 0;
    int frames = 0;  // of this round
  };

  // Conversations are made, and destroyed, here and not in their own events.
  static gboolean on_later(gpointer user) {
    auto* self = static_cast<Probe*>(user);
    self->later_ = 0;
    self->step();
    return G_SOURCE_REMOVE;
  }
  void call_later() {
    if (!later_) later_ = g_idle_add(on_later, this);
  }
  static gboolean on_limit(gpointer user) {
    auto* self = static_cast<Probe*>(user);
    self->limit_ = 0;
    self->over_ = true;
    self->call_later();
    return G_SOURCE_REMOVE;
  }

  void step() {
    if (!problem_.empty()) return finish();
    if (talks_.empty()) return start_round(1);
    if (measured() && !judge()) return finish();
    if (measured()) start_round(std::min(together() * 2, kMost));
  }

  void start_round(int count) {
    over_ = false;
    began_ = 0;
    while (together() < count && add()) continue;
    if (!problem_.empty()) {
      call_later();
      return;
    }
    for (auto& talk : talks_) talk->frames = 0;
    if (limit_) g_source_remove(limit_);
    limit_ = g_timeout_add_seconds(kMostRoundSeconds, on_limit, this);
  }

  bool add() {
    auto talk = std::make_unique<Talk>();
    Talk* raw = talk.get();
    Conversation::Events events;
    events.frame = [this, raw](double) { on_frame(raw); };
    events.failed = [this](std::string sentence, std::string detail) {
      problem_ = sentence + (detail.empty() ? "" : ": " + detail);
      call_later();
    };
    talk->conversation = Conversation::make(model_, Settings(), kInFlight * 1.0, std::move(events), &problem_);
    if (!talk->conversation) return false;
    for (int i = 0; i < 1 + kInFlight; ++i) push_frame(raw);  // the first one is not heard
    talks_.push_back(std::move(talk));
    return true;
  }

  void push_frame(Talk* talk) {
    for (int i = 0; i < wire::kFrameSamples / kPacketSamples; ++i)
      talk->conversation->push(packets_[talk->next++ % packets_.size()], kPacketSamples);
  }

  void on_frame(Talk* talk) {
    ++talk->frames;
    push_frame(talk);
    // A round begins when all have begun, so that their making is not measured.
    const bool all = std::all_of(talks_.begin(), talks_.end(), [](const auto& one) { return one->frames >= 1; });
    if (began_ == 0 && all) {
      began_ = seconds_now();
      for (auto& one : talks_) one->frames = 0;
    }
    if (measured()) call_later();
  }

  bool measured() const {
    if (over_) return true;
    if (began_ == 0 || seconds_now() - began_ < kRoundSeconds) return false;
    return std::all_of(talks_.begin(), talks_.end(), [](const auto& one) { return one->frames >= kLeastFrames; });
  }

  /// Whether another round is worth it.
  bool judge() {
    if (began_ == 0) {  // not one frame of each in all the time
      if (capacity_.together == 0) capacity_.together = together();
      return false;
    }
    int frames = 0;
    for (const auto& one : talks_) frames += one->frames;
    const double speed = frames * kFrameSeconds / (seconds_now() - began_);
    const int carried = static_cast<int>(std::floor(speed * kRoom));
    const bool good = carried >= together();
    if (good || together() == 1) {
      capacity_.sessions = std::max(1, std::min(carried, together()));
      capacity_.real_time = speed;
      capacity_.together = together();
    }
    if (good) return together() < kMost;
    if (carried > capacity_.sessions) {
      capacity_.sessions = carried;
      capacity_.real_time = speed;
      capacity_.together = together();
    }
    return false;
  }

  void finish() {
    const std::string problem = problem_;
    const Done done = std::move(done_);
    const bool none = capacity_.together == 0;
    if (limit_) g_source_remove(std::exchange(limit_, 0));
    talks_.clear();
    const Capacity capacity = capacity_;
    // This object may be destroyed in it.
    done(none ? nullptr : &capacity, problem);
  }

  int together() const { return static_cast<int>(talks_.size()); }

  const Model model_;
  Done done_;
  const std::vector<wire::Bytes> packets_;
  std::vector<std::unique_ptr<Talk>> talks_;
  Capacity capacity_{1, 0, 0};
  std::string problem_;
  double began_ = 0;
  bool over_ = false;
  guint later_ = 0, limit_ = 0;
};

}  // namespace

std::unique_ptr<CapacityProbe> CapacityProbe::run(const Model& model, Done done) {
  return std::make_unique<Probe>(model, std::move(done));
}

}  // namespace server

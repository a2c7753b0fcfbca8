// SPDX-License-Identifier: MIT
#include "engine/warm_up.h"

#include <algorithm>
#include <array>
#include <memory>
#include <span>
#include <vector>

#include "engine/environment.h"

namespace moshi::engine {
namespace {

constexpr int kManyFrames = 8;

/// Something unlike silence, the same every time: the top bits of a linear congruential generator.
class Noise {
 public:
  uint32_t next() { return (state_ = state_ * 1664525u + 1013904223u) >> 8; }
  float sample() { return static_cast<float>(next()) * 0x1p-25f - 0.25f; }

 private:
  uint32_t state_ = 1;
};

/// Runs `call` on the executor's thread and returns what it took there.
template <class Call>
int64_t time_of(Executor& executor, const Call& call) {
  int64_t took = 0;
  executor.run([&] {
    const auto& now_ns = environment().now_ns;
    const int64_t began = now_ns();
    call();
    took = now_ns() - began;
  });
  return took;
}

/// The median of three.
template <class Measure>
int64_t median(const Measure& measure) {
  std::array<int64_t, 3> took{};
  for (int64_t& one : took) one = measure();
  std::sort(took.begin(), took.end());
  return std::max<int64_t>(took[1], 1);
}

/// A stream of a codec's own, long enough for the longest call.
class Trial {
 public:
  explicit Trial(const Lane& lane) : lane_(lane), row_(lane.make_row()) {
    Noise noise;
    pcm_.resize(static_cast<size_t>(kManyFrames) * static_cast<size_t>(lane.frame_samples));
    for (float& sample : pcm_) sample = noise.sample();
    codebooks_ = std::min(lane.codebooks, 8);
    codes_.resize(static_cast<size_t>(kManyFrames) * static_cast<size_t>(codebooks_));
    for (uint16_t& code : codes_) {
      code = static_cast<uint16_t>(noise.next() % static_cast<uint32_t>(lane.cardinality));
    }
  }

  /// Time that a call of so many frames takes.
  int64_t run(Executor& executor, int frames) {
    return time_of(executor, [&] {
      if (lane_.work == Work::kEncode) {
        const mimi::EncodeItem item{row_.codec(), frames, codebooks_, pcm_.data(), codes_.data(), nullptr};
        lane_.codec->encode(std::span(&item, 1));
      } else {
        const mimi::DecodeItem item{row_.codec(), frames, codebooks_, codes_.data(), pcm_.data(), nullptr};
        lane_.codec->decode(std::span(&item, 1));
      }
    });
  }

 private:
  const Lane& lane_;
  Row row_;
  int codebooks_ = 0;
  std::vector<float> pcm_;
  std::vector<uint16_t> codes_;
};

void warm_up_codec(Executor& executor, Lane& lane, const std::function<void()>& check) {
  Trial trial(lane);
  trial.run(executor, 1);  // maps pages, fills caches: measures nothing
  check();
  lane.processing_ns = median([&] {
    const int64_t took = trial.run(executor, 1);
    check();
    return took;
  });
  trial.run(executor, kManyFrames);
  check();
  const int64_t many = trial.run(executor, kManyFrames);
  lane.cost.set(lane.processing_ns, (many - lane.processing_ns) / (kManyFrames - 1));
}

void warm_up_language_model(Executor& executor, Lane& lane, const std::function<void()>& check) {
  const Row row = lane.make_row();
  std::vector<int32_t> tokens(static_cast<size_t>(1 + lane.language_model->config().dep_q));
  const auto step = [&] {
    lm::StepItem item;
    item.row = row.lm();
    item.frames = 1;
    item.tokens = tokens.data();
    const int64_t took = time_of(executor, [&] { lane.language_model->step(std::span(&item, 1), nullptr); });
    check();
    return took;
  };
  step();  // maps pages, fills caches: measures nothing
  lane.processing_ns = median(step);
  // Steps follow one another, however many a call has.
  lane.cost.set(lane.processing_ns, lane.processing_ns);
}

}  // namespace

void warm_up(Executor& executor, Lane& lane, const std::function<void()>& check) {
  if (lane.work == Work::kStep) {
    warm_up_language_model(executor, lane, check);
  } else {
    warm_up_codec(executor, lane, check);
  }
}

}  // namespace moshi::engine

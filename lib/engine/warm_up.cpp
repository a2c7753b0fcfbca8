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

/// A stream of its own, long enough for the longest call.
class Trial {
 public:
  explicit Trial(const Lane& lane) : lane_(lane), row_(lane.codec->make_row(lane.direction)) {
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
    int64_t took = 0;
    executor.run([&] {
      const auto& now_ns = environment().now_ns;
      const int64_t began = now_ns();
      if (lane_.direction == mimi::Direction::kEncode) {
        const mimi::EncodeItem item{row_.get(), frames, codebooks_, pcm_.data(), codes_.data(), nullptr};
        lane_.codec->encode(std::span(&item, 1));
      } else {
        const mimi::DecodeItem item{row_.get(), frames, codebooks_, codes_.data(), pcm_.data(), nullptr};
        lane_.codec->decode(std::span(&item, 1));
      }
      took = now_ns() - began;
    });
    return took;
  }

 private:
  const Lane& lane_;
  std::unique_ptr<mimi::RowState> row_;
  int codebooks_ = 0;
  std::vector<float> pcm_;
  std::vector<uint16_t> codes_;
};

}  // namespace

void warm_up(Executor& executor, Lane& lane, const std::function<void()>& check) {
  Trial trial(lane);
  trial.run(executor, 1);  // maps pages, fills caches: measures nothing
  check();
  std::array<int64_t, 3> single{};
  for (int64_t& took : single) {
    took = trial.run(executor, 1);
    check();
  }
  std::sort(single.begin(), single.end());
  trial.run(executor, kManyFrames);
  check();
  const int64_t many = trial.run(executor, kManyFrames);
  lane.processing_ns = std::max<int64_t>(single[1], 1);
  lane.cost.set(lane.processing_ns, (many - lane.processing_ns) / (kManyFrames - 1));
}

}  // namespace moshi::engine

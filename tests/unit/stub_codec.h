// SPDX-License-Identifier: MIT
// A codec without weights for the engine's tests: each row's output is a hash of all that the row has seen, so that any
// mix-up of rows, frames or order shows; a test sees every call, can hold calls back, and owns the clock.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "common/error.h"
#include "mimi/codec.h"

namespace stub {

using moshi::mimi::Codec;
using moshi::mimi::Config;
using moshi::mimi::DecodeItem;
using moshi::mimi::Direction;
using moshi::mimi::EncodeItem;
using moshi::mimi::RowState;

/// 16 samples a frame at 200 Hz, 8 codebooks of 64 codes, a ring that is full after 5 frames.
inline Config small_config() {
  Config config;
  config.sample_rate = 200;
  config.seanet.ratios = {2, 2, 2};
  config.seanet.dimension = 4;
  config.transformer.context = 10;
  config.transformer.num_layers = 1;
  config.transformer.d_model = 4;
  config.quantizer.n_q = 8;
  config.quantizer.bins = 64;
  return config;
}
constexpr int kFrameSamples = 16;
constexpr int kCodebooks = 8;
constexpr int kBins = 64;
constexpr int kLatent = 4;

/// One call of the codec, as it came in.
struct Call {
  struct Item {
    const void* input;
    int frames;
  };
  Direction direction;
  std::vector<Item> items;
  int frames() const {
    int sum = 0;
    for (const Item& item : items) sum += item.frames;
    return sum;
  }
};

/// What a test sees and decides.
class Control {
 public:
  std::atomic<int64_t> now_ns{1'000'000'000};
  std::atomic<int64_t> first_ns{2'000'000};  ///< of a call's first frame; the clock moves by it
  std::atomic<int64_t> more_ns{1'000'000};   ///< of each further one
  std::atomic<int> codecs{0};                ///< alive
  std::atomic<int> rows{0};                  ///< alive
  std::atomic<bool> record{true};            ///< keep the calls for calls()
  std::atomic<bool> throw_in_call{false};    ///< the next call throws, after it has changed its rows

  std::vector<Call> calls() {
    std::lock_guard lock(mutex_);
    return calls_;
  }
  void forget_calls() {
    std::lock_guard lock(mutex_);
    calls_.clear();
  }

  /// From now on calls wait at their beginning until they are let through.
  void hold() { set_allowed(0); }
  void let(int calls) {
    std::lock_guard lock(mutex_);
    allowed_ += calls;
    changed_.notify_all();
  }
  void let_all() { set_allowed(-1); }
  /// Returns when a call waits to be let through.
  void wait_for_held() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return held_; });
  }

  void enter(Call call, int frames) {
    std::unique_lock lock(mutex_);
    if (record) calls_.push_back(std::move(call));
    held_ = allowed_ == 0;
    changed_.notify_all();
    changed_.wait(lock, [&] { return allowed_ != 0; });
    held_ = false;
    if (allowed_ > 0) --allowed_;
    now_ns += first_ns + (frames - 1) * more_ns;
  }

 private:
  void set_allowed(int allowed) {
    std::lock_guard lock(mutex_);
    allowed_ = allowed;
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Call> calls_;
  int allowed_ = -1;  // calls that may pass; negative: all
  bool held_ = false;
};

inline uint64_t mix(uint64_t state, uint64_t value) {
  state = (state ^ value) * 0x9e3779b97f4a7c15u;
  return state ^ (state >> 29);
}

class Row final : public RowState {
 public:
  explicit Row(Control& control) : control_(control) { ++control_.rows; }
  ~Row() override { --control_.rows; }
  void reset() override { state = kFresh; }
  std::unique_ptr<RowState> clone() const override {
    auto copy = std::make_unique<Row>(control_);
    copy->state = state;
    return copy;
  }
  size_t saved_bytes() const override { return sizeof state; }
  void save(std::byte* out) const override { std::memcpy(out, &state, sizeof state); }
  void load(std::span<const std::byte> in) override {
    if (in.size() != sizeof state) throw moshi::Error(MOSHI_ERR_FORMAT, "a stub row has 8 bytes");
    std::memcpy(&state, in.data(), sizeof state);
  }

  static constexpr uint64_t kFresh = 0x123456789abcdef;
  uint64_t state = kFresh;

 private:
  Control& control_;
};

inline void encode_frame(uint64_t& state, const float* pcm, int codebooks, uint16_t* codes, float* latent) {
  for (int i = 0; i < kFrameSamples; ++i) {
    uint32_t bits;
    std::memcpy(&bits, pcm + i, sizeof bits);
    state = mix(state, bits);
  }
  for (int k = 0; k < codebooks; ++k) {
    codes[k] = static_cast<uint16_t>(mix(state, static_cast<uint64_t>(k)) >> 40) % kBins;
  }
  for (int i = 0; latent && i < kLatent; ++i) latent[i] = static_cast<float>(state % 1000) + static_cast<float>(i);
}

inline void decode_frame(uint64_t& state, const uint16_t* codes, int codebooks, float* pcm, float* latent) {
  for (int k = 0; k < codebooks; ++k) state = mix(state, codes[k]);
  for (int i = 0; i < kFrameSamples; ++i) {
    pcm[i] = static_cast<float>(mix(state, static_cast<uint64_t>(i)) >> 48) / 65536.0f - 0.5f;
  }
  for (int i = 0; latent && i < kLatent; ++i) latent[i] = static_cast<float>(state % 1000) + static_cast<float>(i);
}

/// What a stream of its own would give.
inline std::vector<uint16_t> encoded(const std::vector<float>& pcm, int codebooks, uint64_t state = Row::kFresh) {
  const size_t frames = pcm.size() / kFrameSamples;
  std::vector<uint16_t> codes(frames * static_cast<size_t>(codebooks));
  for (size_t f = 0; f < frames; ++f) {
    encode_frame(state, &pcm[f * kFrameSamples], codebooks, &codes[f * static_cast<size_t>(codebooks)], nullptr);
  }
  return codes;
}

inline std::vector<float> decoded(const std::vector<uint16_t>& codes, int codebooks, uint64_t state = Row::kFresh) {
  const size_t frames = codes.size() / static_cast<size_t>(codebooks);
  std::vector<float> pcm(frames * kFrameSamples);
  for (size_t f = 0; f < frames; ++f) {
    decode_frame(state, &codes[f * static_cast<size_t>(codebooks)], codebooks, &pcm[f * kFrameSamples], nullptr);
  }
  return pcm;
}

class StubCodec final : public Codec {
 public:
  StubCodec(Control& control, Config config) : control_(control), config_(std::move(config)) { ++control_.codecs; }
  ~StubCodec() override { --control_.codecs; }
  const Config& config() const override { return config_; }
  const char* name() const override { return "stub"; }
  std::unique_ptr<RowState> make_row(Direction) const override { return std::make_unique<Row>(control_); }
  size_t row_bytes(Direction) const override { return 1'000'000; }
  size_t weight_bytes() const override { return 50'000'000; }

  void encode(std::span<const EncodeItem> items) override {
    enter(Direction::kEncode, items, [](const EncodeItem& item) { return item.pcm; });
    for (const EncodeItem& item : items) {
      for (int f = 0; f < item.frames; ++f) {
        encode_frame(static_cast<Row&>(*item.row).state, item.pcm + f * kFrameSamples, item.codebooks,
                     item.codes + f * item.codebooks, item.latent ? item.latent + f * kLatent : nullptr);
      }
    }
    throw_if_asked();
  }

  void decode(std::span<const DecodeItem> items) override {
    enter(Direction::kDecode, items, [](const DecodeItem& item) { return item.codes; });
    for (const DecodeItem& item : items) {
      for (int f = 0; f < item.frames; ++f) {
        decode_frame(static_cast<Row&>(*item.row).state, item.codes + f * item.codebooks, item.codebooks,
                     item.pcm + f * kFrameSamples, item.latent ? item.latent + f * kLatent : nullptr);
      }
    }
    throw_if_asked();
  }

 private:
  template <class Item, class Input>
  void enter(Direction direction, std::span<const Item> items, Input input) {
    Call call{direction, {}};
    int frames = 0;
    for (const Item& item : items) {
      frames += item.frames;
      for (const Item& other : items) {
        if (&item != &other && item.row == other.row) throw std::logic_error("a row takes part twice");
      }
      if (control_.record) call.items.push_back({input(item), item.frames});
    }
    control_.enter(std::move(call), frames);
  }

  void throw_if_asked() {
    if (control_.throw_in_call.exchange(false)) throw std::runtime_error("the stub was asked to fail");
  }

  Control& control_;
  Config config_;
};

}  // namespace stub

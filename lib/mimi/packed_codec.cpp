// SPDX-License-Identifier: MIT
#include "mimi/packed_codec.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "mimi/packed_decoder.h"
#include "mimi/packed_encoder.h"

namespace moshi::mimi {
namespace {

// Frames of all items together that go through the deep layers at once: enough for weights to be read rarely, few
// enough for the activations to stay in the caches.
constexpr int kWaveFrames = 16;

/// Counts tensors as they are read, for progress and for cancellation between tensors.
class CountingSource : public TensorSource {
 public:
  CountingSource(const TensorSource& source, size_t total, const std::function<void(double)>& progress)
      : source_(source), total_(total), progress_(progress) {}
  std::vector<float> read(const std::string& name) const override {
    if (progress_) progress_(std::min(1.0, static_cast<double>(done_) / static_cast<double>(total_)));
    ++done_;
    return source_.read(name);
  }

 private:
  const TensorSource& source_;
  size_t total_;
  const std::function<void(double)>& progress_;
  mutable size_t done_ = 0;
};

class PackedCodec : public Codec {
 public:
  PackedCodec(const Config& config, const TensorSource& source, bool encode, bool decode, kernels::Pool& pool,
              const kernels::Kernels& kernels)
      : config_(config), context_{pool, kernels, {}} {
    if (encode) encoder_.emplace(config_, source, arena_);
    if (decode) decoder_.emplace(config_, source, arena_);
  }

  const Config& config() const override { return config_; }
  const char* name() const override { return context_.kernels.name; }
  std::unique_ptr<RowState> make_row(Direction direction) const override {
    return std::make_unique<PackedRow>(shape(direction));
  }
  size_t row_bytes(Direction direction) const override { return shape(direction)->layout.size() * sizeof(float); }
  size_t weight_bytes() const override { return arena_.bytes(); }

  void encode(std::span<const EncodeItem> items) override {
    in_waves(items, encode_wave_, [&](std::span<const EncodeItem> wave) { encoder_->run(context_, wave); });
  }
  void decode(std::span<const DecodeItem> items) override {
    in_waves(items, decode_wave_, [&](std::span<const DecodeItem> wave) { decoder_->run(context_, wave); });
  }

 private:
  const std::shared_ptr<PackedShape>& shape(Direction direction) const {
    return direction == Direction::kEncode ? encoder_->shape() : decoder_->shape();
  }

  /// Frames [begin, begin + frames) of an item of either direction.
  template <class Item>
  Item slice(Item item, int begin, int frames) const {
    item.frames = frames;
    item.pcm += static_cast<size_t>(begin) * config_.frame_samples();
    item.codes += static_cast<size_t>(begin) * item.codebooks;
    if (item.latent) item.latent += static_cast<size_t>(begin) * config_.seanet.dimension;
    return item;
  }

  template <class Item, class Run>
  void in_waves(std::span<const Item> items, std::vector<Item>& wave, const Run& run) {
    int longest = 0;
    for (const Item& item : items) longest = std::max(longest, item.frames);
    const int quota = std::max(1, kWaveFrames / std::max(1, static_cast<int>(items.size())));
    for (int begin = 0; begin < longest; begin += quota) {
      wave.clear();
      for (const Item& item : items) {
        const int frames = std::min(quota, item.frames - begin);
        if (frames > 0) wave.push_back(slice(item, begin, frames));
      }
      run(std::span<const Item>(wave));
    }
  }

  Config config_;
  kernels::Arena arena_;
  nn::Context context_;
  std::optional<PackedEncoder> encoder_;
  std::optional<PackedDecoder> decoder_;
  std::vector<EncodeItem> encode_wave_;
  std::vector<DecodeItem> decode_wave_;
};

}  // namespace

std::unique_ptr<Codec> make_packed_codec(const Config& config, const TensorSource& source, bool encode, bool decode,
                                         kernels::Pool& pool, const std::function<void(double)>& progress,
                                         const kernels::Kernels* kernels) {
  size_t total = 0;
  for (const TensorSpec& tensor : expected_tensors(config)) {
    if (encode && used_by(tensor, Direction::kEncode)) ++total;
    if (decode && used_by(tensor, Direction::kDecode)) ++total;
  }
  const CountingSource counting(source, std::max<size_t>(total, 1), progress);
  auto codec = std::make_unique<PackedCodec>(config, counting, encode, decode, pool,
                                             kernels ? *kernels : kernels::select_kernels());
  if (progress) progress(1.0);
  return codec;
}

}  // namespace moshi::mimi

// SPDX-License-Identifier: MIT
#include "mimi/torch_codec.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "common/error.h"
#include "mimi/row_layout.h"
#include "mimi/seanet_layers.h"
#include "mimi/torch_device.h"
#include "mimi/torch_layers.h"
#include "mimi/torch_row.h"

namespace moshi::mimi {
namespace {

/// LibTorch's exceptions as ours.
template <class Fn>
auto translated(const char* doing, const Fn& fn) {
  try {
    return fn();
  } catch (const c10::OutOfMemoryError& error) {
    throw Error(MOSHI_ERR_NO_MEMORY, std::string("too little memory for ") + doing, error.what_without_backtrace());
  } catch (const c10::Error& error) {
    throw Error(MOSHI_ERR_INTERNAL, std::string("LibTorch failed at ") + doing, error.what_without_backtrace());
  }
}

void check_config(const Config& config) {
  if (config.seanet.channels != 1) {
    throw Error(MOSHI_ERR_NOT_SUPPORTED, "the Mimi configuration has " + std::to_string(config.seanet.channels) +
                                             " audio channels; only 1 works");
  }
  if (config.transformer.context < config.steps_per_frame()) {
    throw Error(MOSHI_ERR_MISMATCH, "the Mimi configuration's context, " + std::to_string(config.transformer.context) +
                                        " steps, is shorter than a frame of " +
                                        std::to_string(config.steps_per_frame()) + " steps");
  }
}

/// Elements that a load reads: the total behind its progress.
int64_t elements_to_load(const Config& config, bool encode, bool decode) {
  int64_t sum = 0;
  for (const TensorSpec& spec : expected_tensors(config)) {
    const bool wanted = (encode && used_by(spec, Direction::kEncode)) || (decode && used_by(spec, Direction::kDecode));
    if (wanted) sum += spec.elements();
  }
  return sum;
}

/// One direction: its layers and the layout of its rows.
struct Path {
  Path(const Config& config, Direction direction, TorchWeights& weights)
      : layout(std::make_shared<RowLayout>(row_layout(config, direction))),
        seanet(direction == Direction::kEncode ? encoder_layers(config.seanet) : decoder_layers(config.seanet), weights,
               *layout),
        transformer(direction == Direction::kEncode ? "encoder_transformer" : "decoder_transformer", config.transformer,
                    weights, *layout) {
    if (config.steps_per_frame() == 1) return;
    if (direction == Direction::kEncode) {
      resample.emplace(downsample_shape(config), false, 1, TorchConv::Start::kReplicate, weights, *layout);
    } else {
      resample.emplace(upsample_shape(config), false, config.seanet.dimension, TorchConv::Start::kZeros, weights,
                       *layout);
    }
  }

  std::shared_ptr<const RowLayout> layout;
  TorchSeanet seanet;
  TorchTransformer transformer;
  std::optional<TorchConv> resample;
};

class TorchCodec final : public Codec {
 public:
  TorchCodec(const Config& config, at::Device device, bool encode, bool decode, TorchWeights& weights, int max_batch);

  const Config& config() const override { return config_; }
  const char* name() const override { return "torch"; }
  std::unique_ptr<RowState> make_row(Direction direction) const override;
  size_t row_bytes(Direction direction) const override { return path(direction).layout->values() * sizeof(float); }
  size_t weight_bytes() const override { return weight_bytes_; }
  void encode(std::span<const EncodeItem> items) override;
  void decode(std::span<const DecodeItem> items) override;

 private:
  const Path& path(Direction direction) const;
  template <class Item>
  void check_items(std::span<const Item> items, const Path& path) const;
  template <class Item, class Step>
  void by_frame(std::span<const Item> items, const Step& step) const;
  template <class Item>
  RowBatch batch_of(const std::vector<const Item*>& items) const;
  void encode_frame(const std::vector<const EncodeItem*>& items, int frame) const;
  void decode_frame(const std::vector<const DecodeItem*>& items, int frame) const;

  Config config_;
  at::Device device_;
  size_t max_batch_;
  std::optional<Path> encode_;
  std::optional<TorchQuantizer> quantizer_;
  std::optional<Path> decode_;
  size_t weight_bytes_ = 0;
};

TorchCodec::TorchCodec(const Config& config, at::Device device, bool encode, bool decode, TorchWeights& weights,
                       int max_batch)
    : config_(config), device_(device) {
  const int unset = device.is_cpu() ? 1 : 0;
  const int batch = max_batch > 0 ? max_batch : unset;
  max_batch_ = batch > 0 ? static_cast<size_t>(batch) : SIZE_MAX;
  if (encode) encode_.emplace(config, Direction::kEncode, weights);
  quantizer_.emplace(config.quantizer, weights, encode, decode);
  if (decode) decode_.emplace(config, Direction::kDecode, weights);
  weight_bytes_ = weights.bytes();
}

const Path& TorchCodec::path(Direction direction) const {
  const bool encode = direction == Direction::kEncode;
  const std::optional<Path>& wanted = encode ? encode_ : decode_;
  if (!wanted) {
    throw Error(MOSHI_ERR_INVALID_ARGUMENT,
                std::string("this Mimi was loaded without ") + (encode ? "its encoder" : "its decoder"));
  }
  return *wanted;
}

std::unique_ptr<RowState> TorchCodec::make_row(Direction direction) const {
  return translated("a row's state", [&] { return std::make_unique<TorchRow>(path(direction).layout, device_); });
}

template <class Item>
void TorchCodec::check_items(std::span<const Item> items, const Path& path) const {
  for (const Item& item : items) {
    const auto* row = dynamic_cast<const TorchRow*>(item.row);
    if (row == nullptr || row->layout() != path.layout.get()) {
      throw Error(MOSHI_ERR_INVALID_ARGUMENT, "a listed row was not made by this codec for this direction");
    }
    if (item.frames < 0 || item.codebooks < 1 || item.codebooks > config_.quantizer.n_q) {
      throw Error(MOSHI_ERR_INVALID_ARGUMENT, "a listed row asks for " + std::to_string(item.frames) + " frames of " +
                                                  std::to_string(item.codebooks) + " codebooks; the model has " +
                                                  std::to_string(config_.quantizer.n_q));
    }
  }
}

/// Frame after frame, as the streaming result is defined; each with the items that still have one, max_batch_ at once.
template <class Item, class Step>
void TorchCodec::by_frame(std::span<const Item> items, const Step& step) const {
  int frames = 0;
  for (const Item& item : items) frames = std::max(frames, item.frames);
  for (int frame = 0; frame < frames; ++frame) {
    std::vector<const Item*> batch;
    for (const Item& item : items) {
      if (item.frames > frame) batch.push_back(&item);
      const bool last = &item == &items.back();
      if (batch.empty() || (batch.size() < max_batch_ && !last)) continue;
      step(batch, frame);
      batch.clear();
    }
  }
}

template <class Item>
RowBatch TorchCodec::batch_of(const std::vector<const Item*>& items) const {
  std::vector<TorchRow*> rows;
  for (const Item* item : items) rows.push_back(static_cast<TorchRow*>(item->row));
  return RowBatch(std::move(rows), device_);
}

/// One row of `tensor` to the caller's memory, as floats.
void copy_out(const at::Tensor& tensor, size_t row, float* out) {
  const at::Tensor values = tensor[static_cast<int64_t>(row)].contiguous();
  std::memcpy(out, values.const_data_ptr<float>(), values.nbytes());
}

void TorchCodec::encode(std::span<const EncodeItem> items) {
  const TorchScope scope;
  check_items(items, path(Direction::kEncode));
  translated("encoding", [&] {
    by_frame(items, [this](const std::vector<const EncodeItem*>& batch, int frame) { encode_frame(batch, frame); });
  });
}

void TorchCodec::encode_frame(const std::vector<const EncodeItem*>& items, int frame) const {
  const Path& path = *encode_;
  RowBatch rows = batch_of(items);
  const int64_t samples = config_.frame_samples();
  at::Tensor pcm = at::empty({static_cast<int64_t>(items.size()), 1, samples}, at::kFloat);
  int codebooks = 1;
  for (size_t i = 0; i < items.size(); ++i) {
    std::memcpy(pcm[static_cast<int64_t>(i)].mutable_data_ptr<float>(), items[i]->pcm + frame * samples,
                static_cast<size_t>(samples) * sizeof(float));
    codebooks = std::max(codebooks, items[i]->codebooks);
  }
  at::Tensor latent = path.transformer(path.seanet(pcm.to(device_), rows), rows);
  if (path.resample) latent = (*path.resample)(latent, rows);
  // The codes of fewer codebooks are the first of those of more.
  const at::Tensor codes = quantizer_->encode(latent, codebooks).to(at::kCPU).contiguous();
  const at::Tensor host_latent = latent.to(at::kCPU);
  rows.frame_done();
  for (size_t i = 0; i < items.size(); ++i) {
    const EncodeItem& item = *items[i];
    const int64_t* from = codes.const_data_ptr<int64_t>() + static_cast<int64_t>(i) * codebooks;
    uint16_t* to = item.codes + static_cast<int64_t>(frame) * item.codebooks;
    for (int k = 0; k < item.codebooks; ++k) to[k] = static_cast<uint16_t>(from[k]);
    if (item.latent != nullptr) copy_out(host_latent, i, item.latent + frame * latent.size(1));
  }
}

void TorchCodec::decode(std::span<const DecodeItem> items) {
  const TorchScope scope;
  check_items(items, path(Direction::kDecode));
  translated("decoding", [&] {
    by_frame(items, [this](const std::vector<const DecodeItem*>& batch, int frame) { decode_frame(batch, frame); });
  });
}

void TorchCodec::decode_frame(const std::vector<const DecodeItem*>& items, int frame) const {
  const Path& path = *decode_;
  RowBatch rows = batch_of(items);
  int64_t levels = 1;
  for (const DecodeItem* item : items) levels = std::max<int64_t>(levels, item->codebooks);
  const auto count = static_cast<int64_t>(items.size());
  at::Tensor codes = at::zeros({count, levels}, at::kLong);
  at::Tensor used = at::empty({count}, at::kLong);
  for (size_t i = 0; i < items.size(); ++i) {
    const uint16_t* from = items[i]->codes + static_cast<int64_t>(frame) * items[i]->codebooks;
    std::copy_n(from, items[i]->codebooks, codes.mutable_data_ptr<int64_t>() + static_cast<int64_t>(i) * levels);
    used.mutable_data_ptr<int64_t>()[i] = items[i]->codebooks;
  }
  const at::Tensor latent = quantizer_->decode(codes.to(device_), used.to(device_));
  const at::Tensor steps = path.resample ? (*path.resample)(latent, rows) : latent;
  const at::Tensor pcm = path.seanet(path.transformer(steps, rows), rows).to(at::kCPU);
  const at::Tensor host_latent = latent.to(at::kCPU);
  rows.frame_done();
  for (size_t i = 0; i < items.size(); ++i) {
    const DecodeItem& item = *items[i];
    copy_out(pcm, i, item.pcm + static_cast<int64_t>(frame) * config_.frame_samples());
    if (item.latent != nullptr) copy_out(host_latent, i, item.latent + frame * latent.size(1));
  }
}

}  // namespace

std::unique_ptr<Codec> make_torch_codec(const Config& config, const TensorSource& source, const std::string& device,
                                        bool encode, bool decode, const std::function<void(double)>& progress,
                                        int max_batch) {
  check_config(config);
  return translated("loading a Mimi", [&]() -> std::unique_ptr<Codec> {
    const at::Device opened = open_torch_device(device);
    const TorchScope scope;
    const auto total = static_cast<double>(elements_to_load(config, encode, decode));
    double loaded = 0.0;
    TorchWeights weights(config, source, opened, [&](int64_t elements) {
      loaded += static_cast<double>(elements);
      if (progress) progress(std::min(1.0, loaded / total));
    });
    auto codec = std::make_unique<TorchCodec>(config, opened, encode, decode, weights, max_batch);
    if (progress) progress(1.0);
    return codec;
  });
}

}  // namespace moshi::mimi

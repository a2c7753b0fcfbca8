// SPDX-License-Identifier: MIT
#include "mimi/row_layout.h"

#include <bit>
#include <cstring>

#include "common/error.h"
#include "mimi/seanet_layers.h"

namespace moshi::mimi {
namespace {

static_assert(std::endian::native == std::endian::little, "saved rows are little-endian");

constexpr char kMagic[8] = {'m', 'i', 'm', 'i', 'r', 'o', 'w', '1'};
/// Far beyond any stream (thousands of years), far below where positions would overflow.
constexpr int64_t kMaxFrames = int64_t{1} << 48;

void add_history(RowLayout& layout, const ConvShape& conv) {
  if (conv.history() > 0) layout.entries.push_back({conv.name, RowEntry::Kind::kHistory, conv.history(), conv.in});
}

void add_seanet(RowLayout& layout, const std::vector<SeanetLayer>& layers) {
  for (const SeanetLayer& layer : layers) {
    for (const ConvShape& conv : layer.convs) add_history(layout, conv);
  }
}

void add_transformer(RowLayout& layout, const std::string& name, const TransformerConfig& config) {
  for (int i = 0; i < config.num_layers; ++i) {
    const std::string layer = name + ".transformer.layers." + std::to_string(i);
    layout.entries.push_back({layer, RowEntry::Kind::kKeys, config.context, config.d_model});
    layout.entries.push_back({layer, RowEntry::Kind::kValues, config.context, config.d_model});
  }
}

/// FNV-1a over whatever tells two layouts apart.
class Hash {
 public:
  void add(std::string_view text) {
    for (const char c : text) byte(static_cast<uint8_t>(c));
    byte(0);
  }
  void add(int64_t value) {
    for (int i = 0; i < 8; ++i) byte(static_cast<uint8_t>(static_cast<uint64_t>(value) >> (8 * i)));
  }
  uint64_t value() const { return state_; }

 private:
  void byte(uint8_t value) { state_ = (state_ ^ value) * 1099511628211u; }
  uint64_t state_ = 14695981039346656037u;
};

}  // namespace

RowLayout row_layout(const Config& config, Direction direction) {
  RowLayout layout;
  layout.direction = direction;
  layout.steps_per_frame = config.steps_per_frame();
  layout.heads = config.transformer.num_heads;
  const bool resampled = layout.steps_per_frame > 1;
  if (direction == Direction::kEncode) {
    add_seanet(layout, encoder_layers(config.seanet));
    add_transformer(layout, "encoder_transformer", config.transformer);
    if (resampled) add_history(layout, downsample_shape(config));
  } else {
    if (resampled) add_history(layout, upsample_shape(config));
    add_transformer(layout, "decoder_transformer", config.transformer);
    add_seanet(layout, decoder_layers(config.seanet));
  }
  return layout;
}

size_t RowLayout::index(std::string_view layer, RowEntry::Kind kind) const {
  for (size_t i = 0; i < entries.size(); ++i) {
    if (entries[i].kind == kind && entries[i].layer == layer) return i;
  }
  throw Error(MOSHI_ERR_INTERNAL, "the row layout has no entry for layer " + std::string(layer));
}

size_t RowLayout::values() const {
  size_t sum = 0;
  for (const RowEntry& entry : entries) sum += static_cast<size_t>(entry.values());
  return sum;
}

uint64_t RowLayout::hash() const {
  Hash hash;
  hash.add(direction == Direction::kEncode ? "encode" : "decode");
  hash.add(steps_per_frame);
  hash.add(heads);
  for (const RowEntry& entry : entries) {
    hash.add(entry.layer);
    hash.add(static_cast<int64_t>(entry.kind));
    hash.add(entry.rows);
    hash.add(entry.width);
  }
  return hash.value();
}

size_t RowLayout::saved_bytes() const { return kRowHeadBytes + values() * sizeof(float); }

void write_row_head(const RowLayout& layout, int64_t frames, std::byte* out) {
  const uint64_t hash = layout.hash();
  std::memcpy(out, kMagic, 8);
  std::memcpy(out + 8, &hash, 8);
  std::memcpy(out + 16, &frames, 8);
}

int64_t read_row_head(const RowLayout& layout, std::span<const std::byte> in) {
  if (in.size() < kRowHeadBytes || std::memcmp(in.data(), kMagic, sizeof(kMagic)) != 0) {
    throw Error(MOSHI_ERR_FORMAT, "this is not a saved Mimi row");
  }
  uint64_t hash = 0;
  int64_t frames = 0;
  std::memcpy(&hash, in.data() + 8, 8);
  std::memcpy(&frames, in.data() + 16, 8);
  if (hash != layout.hash()) {
    throw Error(MOSHI_ERR_FORMAT, "the saved Mimi row is of another model shape or of the other direction");
  }
  if (in.size() != layout.saved_bytes()) {
    throw Error(MOSHI_ERR_FORMAT, "the saved Mimi row has " + std::to_string(in.size()) + " bytes, expected " +
                                      std::to_string(layout.saved_bytes()));
  }
  if (frames < 0 || frames > kMaxFrames) {
    throw Error(MOSHI_ERR_FORMAT, "the saved Mimi row has an impossible frame count, " + std::to_string(frames));
  }
  return frames;
}

}  // namespace moshi::mimi

// SPDX-License-Identifier: MIT
#include "mimi/packed_row.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "common/error.h"

namespace moshi::mimi {
namespace {

const nn::StateLayout::History& history_of(const nn::StateLayout& layout, const std::string& layer) {
  const auto& all = layout.histories();
  const auto found = std::find_if(all.begin(), all.end(), [&](const auto& history) { return history.layer == layer; });
  if (found == all.end()) throw Error(MOSHI_ERR_INTERNAL, "no history in the packed state for layer " + layer);
  return *found;
}

/// The number in a layer's name, "encoder_transformer.transformer.layers.3".
int layer_number(const std::string& layer) { return std::stoi(layer.substr(layer.rfind('.') + 1)); }

}  // namespace

PackedRow::PackedRow(std::shared_ptr<const PackedShape> shape)
    : shape_(std::move(shape)), state_(shape_->layout.size()) {}

void PackedRow::reset() {
  state_.clear();
  frames_ = 0;
}

std::unique_ptr<RowState> PackedRow::clone() const {
  auto copy = std::make_unique<PackedRow>(shape_);
  std::copy_n(state_.data(), state_.size(), copy->state_.data());
  copy->frames_ = frames_;
  return copy;
}

nn::Part PackedRow::part(int frames) {
  return {.state = state_.data(), .position = frames_ * shape_->saved.steps_per_frame, .frames = frames};
}

size_t PackedRow::saved_bytes() const { return shape_->saved.saved_bytes(); }

/// Calls visit(saved index of a head's first value, ring, position, head) for every position and head that is kept.
template <class Visit>
void PackedRow::visit_rings(const RowEntry& entry, int layer, const Visit& visit) const {
  const nn::Transformer& transformer = *shape_->transformer;
  const int64_t position = frames_ * shape_->saved.steps_per_frame;
  const int64_t kept = std::min<int64_t>(position, transformer.ring().capacity());
  for (int64_t row = 0; row < kept; ++row) {
    for (int head = 0; head < transformer.heads(); ++head) {
      const auto saved = static_cast<size_t>(row * entry.width + head * transformer.ring().head_dim());
      visit(saved, state_.data() + transformer.ring_offset(layer, head), position - kept + row);
    }
  }
}

void PackedRow::save(std::byte* out) const {
  write_row_head(shape_->saved, frames_, out);
  out += kRowHeadBytes;
  const int head_dim = shape_->transformer->ring().head_dim();
  std::vector<float> values, key(head_dim), value(head_dim);
  for (const RowEntry& entry : shape_->saved.entries) {
    values.assign(entry.values(), 0.0f);
    if (entry.kind == RowEntry::Kind::kHistory) {
      std::copy_n(state_.data() + history_of(shape_->layout, entry.layer).offset, values.size(), values.data());
    } else {
      const std::vector<float>& chosen = entry.kind == RowEntry::Kind::kKeys ? key : value;
      visit_rings(entry, layer_number(entry.layer), [&](size_t at, const float* ring, int64_t position) {
        shape_->transformer->ring().read(ring, position, key.data(), value.data());
        std::copy(chosen.begin(), chosen.end(), values.begin() + static_cast<ptrdiff_t>(at));
      });
    }
    std::memcpy(out, values.data(), values.size() * sizeof(float));
    out += values.size() * sizeof(float);
  }
}

void PackedRow::load(std::span<const std::byte> in) {
  const int64_t frames = read_row_head(shape_->saved, in);
  reset();
  frames_ = frames;
  const std::byte* next = in.data() + kRowHeadBytes;
  const nn::KvRing& ring_shape = shape_->transformer->ring();
  std::vector<float> values, keys, key(ring_shape.head_dim()), value(ring_shape.head_dim());
  for (const RowEntry& entry : shape_->saved.entries) {
    values.resize(entry.values());
    std::memcpy(values.data(), next, values.size() * sizeof(float));
    next += values.size() * sizeof(float);
    if (entry.kind == RowEntry::Kind::kHistory) {
      std::copy(values.begin(), values.end(), state_.data() + history_of(shape_->layout, entry.layer).offset);
    } else if (entry.kind == RowEntry::Kind::kKeys) {
      keys = values;  // values of the same layer follow
    } else {
      visit_rings(entry, layer_number(entry.layer), [&](size_t at, float* ring, int64_t position) {
        ring_shape.write(ring, position, &keys[at], &values[at]);
      });
    }
  }
}

}  // namespace moshi::mimi

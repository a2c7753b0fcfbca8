// SPDX-License-Identifier: MIT
// A row's streaming state in the packed backend: one flat array whose places the layers know.
#pragma once

#include "kernels/arena.h"
#include "mimi/codec.h"
#include "mimi/row_layout.h"
#include "nn/stream_buffer.h"
#include "nn/transformer.h"

namespace moshi::mimi {

/// What a row needs to know of the path that made it; outlives its rows' last use.
struct PackedShape {
  RowLayout saved;
  nn::StateLayout layout;
  const nn::Transformer* transformer = nullptr;
};

class PackedRow : public RowState {
 public:
  explicit PackedRow(std::shared_ptr<const PackedShape> shape);

  void reset() override;
  std::unique_ptr<RowState> clone() const override;
  size_t saved_bytes() const override;
  void save(std::byte* out) const override;
  void load(std::span<const std::byte> in) override;

  /// The state as `frames` more frames will find it.
  nn::Part part(int frames);
  void advance(int frames) { frames_ += frames; }

 private:
  template <class Visit>
  void visit_rings(const RowEntry& entry, int layer, const Visit& visit) const;

  std::shared_ptr<const PackedShape> shape_;
  kernels::LazyFloats state_;
  int64_t frames_ = 0;
};

}  // namespace moshi::mimi

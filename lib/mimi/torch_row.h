// SPDX-License-Identifier: MIT
// A row's state as tensors on the device, and the batch of rows that one operator call works on.
#pragma once

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <memory>
#include <vector>

#include "mimi/codec.h"
#include "mimi/row_layout.h"

namespace moshi::mimi {

/// What every use of LibTorch in here stands under: no autograd, and one thread.
class TorchScope {
 public:
  TorchScope();

 private:
  c10::InferenceMode inference_;
};

/// One tensor for each entry of the layout: history as [width, rows], oldest first; keys and values as rings
/// [heads, context, head dimension], position p in slot p mod context.
class TorchRow final : public RowState {
 public:
  TorchRow(std::shared_ptr<const RowLayout> layout, at::Device device);

  void reset() override;
  std::unique_ptr<RowState> clone() const override;
  size_t saved_bytes() const override { return layout_->saved_bytes(); }
  void save(std::byte* out) const override;
  void load(std::span<const std::byte> in) override;

  const RowLayout* layout() const { return layout_.get(); }
  at::Tensor& tensor(size_t entry) { return tensors_[entry]; }
  int64_t steps() const { return frames_ * layout_->steps_per_frame; }
  void frame_done() { ++frames_; }

 private:
  std::shared_ptr<const RowLayout> layout_;
  int64_t frames_ = 0;
  std::vector<at::Tensor> tensors_;
};

/// The rows that go through the layers together, for the length of one frame.
class RowBatch {
 public:
  RowBatch(std::vector<TorchRow*> rows, at::Device device);

  const RowLayout& layout() const { return *rows_.front()->layout(); }
  /// Latent steps that each row has taken before this frame: int64, [rows].
  const at::Tensor& steps() const { return steps_; }
  /// An entry of all rows, stacked along a new first dimension.
  at::Tensor gather(size_t entry) const;
  /// Replaces an entry of all rows by `values`, stacked likewise.
  void store(size_t entry, const at::Tensor& values);
  /// Writes this frame's keys or values, [rows, heads, time, head dimension], into the rings.
  void append(size_t entry, const at::Tensor& values);
  void frame_done();

 private:
  std::vector<TorchRow*> rows_;
  at::Tensor steps_;
};

}  // namespace moshi::mimi

// SPDX-License-Identifier: MIT
#include "mimi/torch_row.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace moshi::mimi {
namespace {

at::Tensor empty_entry(const RowLayout& layout, const RowEntry& entry, at::Device device) {
  const auto options = at::TensorOptions().dtype(at::kFloat).device(device);
  if (entry.kind == RowEntry::Kind::kHistory) return at::zeros({entry.width, entry.rows}, options);
  return at::zeros({layout.heads, entry.rows, entry.width / layout.heads}, options);
}

/// The ring's slots from the oldest position that is kept to the newest.
at::Tensor slots_by_age(int64_t context, int64_t steps, at::Device device) {
  const int64_t kept = std::min(context, steps);
  return (at::arange(steps - kept, steps, at::TensorOptions().dtype(at::kLong).device(device))).remainder(context);
}

}  // namespace

TorchScope::TorchScope() {
  thread_local bool one_thread = false;
  if (one_thread) return;
  at::set_num_threads(1);
  one_thread = true;
}

TorchRow::TorchRow(std::shared_ptr<const RowLayout> layout, at::Device device) : layout_(std::move(layout)) {
  const TorchScope scope;
  tensors_.reserve(layout_->entries.size());
  for (const RowEntry& entry : layout_->entries) tensors_.push_back(empty_entry(*layout_, entry, device));
}

void TorchRow::reset() {
  const TorchScope scope;
  for (at::Tensor& tensor : tensors_) tensor.zero_();
  frames_ = 0;
}

std::unique_ptr<RowState> TorchRow::clone() const {
  const TorchScope scope;
  auto copy = std::make_unique<TorchRow>(*this);
  for (at::Tensor& tensor : copy->tensors_) tensor = tensor.clone();
  return copy;
}

void TorchRow::save(std::byte* out) const {
  const TorchScope scope;
  write_row_head(*layout_, frames_, out);
  out += kRowHeadBytes;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const RowEntry& entry = layout_->entries[i];
    const size_t bytes = static_cast<size_t>(entry.values()) * sizeof(float);
    at::Tensor rows;
    if (entry.kind == RowEntry::Kind::kHistory) {
      rows = tensors_[i].t();
    } else {
      rows = tensors_[i].index_select(1, slots_by_age(entry.rows, steps(), tensors_[i].device())).transpose(0, 1);
    }
    rows = rows.to(at::kCPU).contiguous();
    if (rows.numel() > 0) std::memcpy(out, rows.const_data_ptr<float>(), rows.nbytes());
    std::memset(out + rows.nbytes(), 0, bytes - rows.nbytes());
    out += bytes;
  }
}

void TorchRow::load(std::span<const std::byte> in) {
  const TorchScope scope;
  frames_ = read_row_head(*layout_, in);
  const std::byte* next = in.data() + kRowHeadBytes;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const RowEntry& entry = layout_->entries[i];
    at::Tensor rows = at::empty({entry.rows, entry.width}, at::kFloat);
    std::memcpy(rows.mutable_data_ptr<float>(), next, rows.nbytes());
    next += rows.nbytes();
    at::Tensor& tensor = tensors_[i];
    if (entry.kind == RowEntry::Kind::kHistory) {
      tensor.copy_(rows.t());
    } else {
      const at::Tensor slots = slots_by_age(entry.rows, steps(), tensor.device());
      const at::Tensor kept = rows.narrow(0, 0, slots.numel()).view({-1, layout_->heads, entry.width / layout_->heads});
      tensor.zero_();
      tensor.index_copy_(1, slots, kept.transpose(0, 1).to(tensor.device()));
    }
  }
}

RowBatch::RowBatch(std::vector<TorchRow*> rows, at::Device device) : rows_(std::move(rows)) {
  std::vector<int64_t> steps;
  for (const TorchRow* row : rows_) steps.push_back(row->steps());
  steps_ = at::tensor(steps, at::kLong).to(device);
}

at::Tensor RowBatch::gather(size_t entry) const {
  std::vector<at::Tensor> parts;
  for (TorchRow* row : rows_) parts.push_back(row->tensor(entry));
  return at::stack(parts);
}

void RowBatch::store(size_t entry, const at::Tensor& values) {
  for (size_t i = 0; i < rows_.size(); ++i) rows_[i]->tensor(entry).copy_(values[static_cast<int64_t>(i)]);
}

void RowBatch::append(size_t entry, const at::Tensor& values) {
  const int64_t context = layout().entries[entry].rows;
  for (size_t i = 0; i < rows_.size(); ++i) {
    const at::Tensor row_values = values[static_cast<int64_t>(i)];
    for (int64_t t = 0; t < values.size(2); ++t) {
      const int64_t slot = (rows_[i]->steps() + t) % context;
      rows_[i]->tensor(entry).select(1, slot).copy_(row_values.select(1, t));
    }
  }
}

void RowBatch::frame_done() {
  for (TorchRow* row : rows_) row->frame_done();
}

}  // namespace moshi::mimi

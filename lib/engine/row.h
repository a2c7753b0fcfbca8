// SPDX-License-Identifier: MIT
// A stream's state in one lane, whichever model it belongs to.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include "lm/language_model.h"
#include "mimi/codec.h"

namespace moshi::engine {

class Row {
 public:
  Row() = default;
  explicit Row(std::unique_ptr<mimi::RowState> codec) : codec_(std::move(codec)) {}
  explicit Row(std::unique_ptr<lm::Row> lm) : lm_(std::move(lm)) {}

  explicit operator bool() const { return codec_ || lm_; }
  /// Null if it is the other model's.
  mimi::RowState* codec() const { return codec_.get(); }
  lm::Row* lm() const { return lm_.get(); }

  void reset() {
    if (lm_) return lm_->reset();
    codec_->reset();
  }
  Row clone() const { return lm_ ? Row(lm_->clone()) : Row(codec_->clone()); }
  size_t saved_bytes() const { return lm_ ? lm_->saved_bytes() : codec_->saved_bytes(); }
  void save(std::byte* out) const {
    if (lm_) return lm_->save(out);
    codec_->save(out);
  }
  void load(std::span<const std::byte> in) {
    if (lm_) return lm_->load(in);
    codec_->load(in);
  }

 private:
  std::unique_ptr<mimi::RowState> codec_;
  std::unique_ptr<lm::Row> lm_;
};

}  // namespace moshi::engine

// SPDX-License-Identifier: MIT
// The state of one conversation with the packed model.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <vector>

#include "kernels/arena.h"
#include "lm/conditioning.h"
#include "lm/language_model.h"
#include "lm/step_transformer.h"
#include "lm/token_ring.h"

namespace moshi::lm {

/// One of the two streams that guidance runs; without it there is only the first.
struct Half {
  kernels::LazyFloats rings;
  FusedConditions conditions;
  CrossMemory cross;
};

class Conversation final : public Row {
 public:
  /// The parts of a model that a row needs; they outlive it.
  struct Shape {
    const Config& config;
    const StepTransformer& temporal;
    const Conditioning& conditioning;
  };
  explicit Conversation(const Shape& shape);

  void reset() override { tokens_.reset(); }
  std::unique_ptr<Row> clone() const override;
  int64_t steps() const override { return tokens_.step(); }
  const Sampling& sampling() const override { return sampling_; }
  void set_sampling(const Sampling& sampling) override { sampling_ = sampling; }
  const Guidance& guidance() const override { return guidance_; }
  void set_guidance(const Guidance& guidance) override;
  void set_conditions(std::span<const Condition> conditions) override;
  size_t saved_bytes() const override;
  void save(std::byte* out) const override;
  void load(std::span<const std::byte> in) override;

  TokenRing& tokens() { return tokens_; }
  int halves() const { return guidance_.active() ? 2 : 1; }
  /// Makes conditions ready for use, if they have changed.
  void prepare(Workspace& work);
  /// What the transformer runs on; prepare() has been called.
  Branch branch(int half);
  /// Added to the input of a half, or null.
  const float* sum_condition(int half) const {
    return halves_[half].conditions.sum.empty() ? nullptr : halves_[half].conditions.sum.data();
  }

 private:
  struct Header;
  Header header() const;
  /// Positions that the rings hold.
  int positions() const;
  template <class Fn>
  void for_each_ring_position(int half, const Fn& fn) const;

  Shape shape_;
  TokenRing tokens_;
  Sampling sampling_;
  Guidance guidance_;
  std::vector<Condition> conditions_;
  bool fused_ = false;
  std::array<Half, 2> halves_;
};

}  // namespace moshi::lm

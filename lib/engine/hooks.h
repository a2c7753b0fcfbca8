// SPDX-License-Identifier: MIT
// The step hooks of engine references, and how a step of a batch reaches them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>

#include "lm/language_model.h"
#include "moshi/core.h"

namespace moshi::engine {

/// The hooks of one engine reference, which its sessions share with it. Any thread may set them; the executor calls.
class Hooks {
 public:
  /// Null, or one with null functions: none. When it returns, what was set before is not called any more.
  void set(const MoshiStepHooks* hooks);
  bool any() const;
  /// Calls the hook that `which` points to, if it is set.
  void call(MoshiStepFn MoshiStepHooks::*which, std::span<MoshiSession* const> sessions, void* data,
            ptrdiff_t row_stride) const;

 private:
  mutable std::mutex mutex_;  // held while a hook runs
  MoshiStepHooks hooks_ = MOSHI_INIT(MoshiStepHooks);
};

/// Hands what a step computes to the hooks of the engines whose sessions take part, each of them once where the
/// sessions of one engine lie side by side.
class BatchHooks final : public lm::StepHooks {
 public:
  /// `sessions` are those of `items`, in the same order; both outlive this.
  BatchHooks(std::span<const lm::StepItem> items, std::span<MoshiSession* const> sessions)
      : items_(items), sessions_(sessions) {}

  /// Whether any of the sessions has a hook.
  bool any() const;

  void text_logits(std::span<lm::StepItem* const> items, float* logits, ptrdiff_t stride) override;
  void text(std::span<lm::StepItem* const> items, int32_t* tokens) override;
  void audio(std::span<lm::StepItem* const> items, int32_t* tokens, ptrdiff_t stride) override;

 private:
  template <class T>
  void dispatch(MoshiStepFn MoshiStepHooks::*which, std::span<lm::StepItem* const> items, T* data, ptrdiff_t stride);

  std::span<const lm::StepItem> items_;
  std::span<MoshiSession* const> sessions_;
};

}  // namespace moshi::engine

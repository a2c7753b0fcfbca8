// SPDX-License-Identifier: MIT
#include "engine/hooks.h"

#include <algorithm>

#include "engine/scheduler.h"
#include "engine/session.h"

namespace moshi::engine {

void Hooks::set(const MoshiStepHooks* hooks) {
  std::lock_guard lock(mutex_);
  hooks_ = hooks ? *hooks : MOSHI_INIT(MoshiStepHooks);
}

bool Hooks::any() const {
  std::lock_guard lock(mutex_);
  return hooks_.text_logits || hooks_.text || hooks_.audio;
}

void Hooks::call(MoshiStepFn MoshiStepHooks::*which, std::span<MoshiSession* const> sessions, void* data,
                 ptrdiff_t row_stride) const {
  std::lock_guard lock(mutex_);
  if (const MoshiStepFn hook = hooks_.*which) {
    hook(hooks_.user, static_cast<int32_t>(sessions.size()), sessions.data(), data, row_stride);
  }
}

bool BatchHooks::any() const {
  return std::any_of(sessions_.begin(), sessions_.end(), [](const Session* session) { return session->hooks->any(); });
}

template <class T>
void BatchHooks::dispatch(MoshiStepFn MoshiStepHooks::*which, std::span<lm::StepItem* const> items, T* data,
                          ptrdiff_t stride) {
  std::array<MoshiSession*, kMaxRows> sessions;
  for (size_t i = 0; i < items.size(); ++i) sessions[i] = sessions_[static_cast<size_t>(items[i] - items_.data())];
  for (size_t first = 0; first < items.size();) {
    size_t end = first + 1;
    while (end < items.size() && sessions[end]->hooks == sessions[first]->hooks) ++end;
    sessions[first]->hooks->call(which, std::span(sessions.data() + first, end - first),
                                 data + static_cast<ptrdiff_t>(first) * stride, stride);
    first = end;
  }
}

void BatchHooks::text_logits(std::span<lm::StepItem* const> items, float* logits, ptrdiff_t stride) {
  dispatch(&MoshiStepHooks::text_logits, items, logits, stride);
}

void BatchHooks::text(std::span<lm::StepItem* const> items, int32_t* tokens) {
  dispatch(&MoshiStepHooks::text, items, tokens, 1);
}

void BatchHooks::audio(std::span<lm::StepItem* const> items, int32_t* tokens, ptrdiff_t stride) {
  dispatch(&MoshiStepHooks::audio, items, tokens, stride);
}

}  // namespace moshi::engine

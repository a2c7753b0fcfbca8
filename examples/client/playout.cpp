// SPDX-License-Identifier: MIT
#include "playout.h"

#include <algorithm>
#include <cmath>

namespace client {
namespace {

constexpr size_t kFrame = 1920;
constexpr size_t kFade = 120;                   // 5 ms
constexpr size_t kLeastMargin = 480;            // 20 ms
constexpr size_t kMarginStep = 480;             // for an underrun
constexpr size_t kWindow = 2 * Playout::kRate;  // in which the least that waits is looked for
constexpr size_t kCalm = 30 * Playout::kRate;   // after which the margin shrinks
constexpr size_t kWorthSkipping = 480;          // less is left alone
constexpr float kQuiet = 0.003f;                // -50 dB of full scale

}  // namespace

Playout::Playout(double max_lag_seconds)
    : max_lag_(std::max(kFrame + kLeastMargin, static_cast<size_t>(max_lag_seconds * kRate))), margin_(kLeastMargin) {}

size_t Playout::wanted() const { return kFrame + margin_; }

void Playout::push(std::span<const float> samples) {
  const std::lock_guard lock(mutex_);
  finishing_ = false;
  samples_.insert(samples_.end(), samples.begin(), samples.end());
  if (samples_.size() > max_lag_) {
    const size_t count = samples_.size() - wanted();
    leave_out(count);
    stats_.dropped += count;
    window_ = 0;
    least_ = SIZE_MAX;
    excess_ = 0;
  }
  stats_.most_waiting = std::max<uint64_t>(stats_.most_waiting, samples_.size());
}

void Playout::pull(std::span<float> out) {
  const std::lock_guard lock(mutex_);
  if (!playing_ && !start()) {
    if (begun_) stats_.concealed += out.size();
    run_dry(out);
    return;
  }
  leave_out_silence(out.size());
  play(out);
}

bool Playout::start() {
  const bool enough = samples_.size() >= wanted() || (finishing_ && !samples_.empty());
  if (!enough) return false;
  playing_ = begun_ = true;
  fading_in_ = window_ = 0;
  least_ = SIZE_MAX;
  return true;
}

// Fades out from the sample that was played last, so that the end makes no click.
void Playout::run_dry(std::span<float> out) {
  for (float& sample : out) {
    last_ *= 1.0f - 4.0f / kFade;
    sample = last_ = std::abs(last_) < 1e-5f ? 0.0f : last_;
  }
}

void Playout::play(std::span<float> out) {
  const size_t count = std::min(out.size(), samples_.size());
  std::copy_n(samples_.begin(), count, out.begin());
  samples_.erase(samples_.begin(), samples_.begin() + static_cast<std::ptrdiff_t>(count));
  for (size_t i = 0; i < count && fading_in_ < kFade; ++i, ++fading_in_)
    out[i] *= static_cast<float>(fading_in_) / kFade;
  if (count > 0) last_ = out[count - 1];
  watch(count);
  if (count == out.size()) return;
  run_dry(out.subspan(count));
  playing_ = false;
  excess_ = 0;
  if (finishing_) {
    begun_ = false;
    return;
  }
  ++stats_.underruns;
  stats_.concealed += out.size() - count;
  calm_ = 0;
  margin_ = std::min(margin_ + kMarginStep, std::max(kLeastMargin, max_lag_ - std::min(max_lag_, 2 * kFrame)));
}

// What was never needed within the window, beyond the margin, is lag that nobody asked for.
void Playout::watch(size_t block) {
  least_ = std::min(least_, samples_.size());
  window_ += block;
  calm_ += block;
  if (calm_ >= kCalm) {
    calm_ = 0;
    margin_ = std::max(kLeastMargin, margin_ - kMarginStep / 2);
  }
  if (window_ < kWindow) return;
  excess_ = least_ > margin_ + kWorthSkipping ? least_ - margin_ : 0;
  window_ = 0;
  least_ = SIZE_MAX;
}

void Playout::leave_out_silence(size_t block) {
  while (excess_ >= block && samples_.size() > 2 * block + kFade) {
    const auto end = samples_.begin() + static_cast<std::ptrdiff_t>(block + kFade);
    if (std::any_of(samples_.begin(), end, [](float sample) { return std::abs(sample) > kQuiet; })) return;
    leave_out(block);
    stats_.skipped_silence += block;
    excess_ -= block;
  }
}

// The first samples that stay are mixed with the first that go.
void Playout::leave_out(size_t count) {
  const size_t fade = std::min(kFade, samples_.size() - count);
  for (size_t i = 0; i < fade; ++i) {
    const float part = static_cast<float>(i) / kFade;
    samples_[count + i] = samples_[i] * (1 - part) + samples_[count + i] * part;
  }
  samples_.erase(samples_.begin(), samples_.begin() + static_cast<std::ptrdiff_t>(count));
}

void Playout::finish() {
  const std::lock_guard lock(mutex_);
  finishing_ = true;
  if (samples_.empty()) {
    playing_ = begun_ = false;
  }
}

size_t Playout::waiting() const {
  const std::lock_guard lock(mutex_);
  return samples_.size();
}

size_t Playout::margin() const {
  const std::lock_guard lock(mutex_);
  return margin_;
}

PlayoutStats Playout::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

}  // namespace client

// SPDX-License-Identifier: MIT
#include "fourier.h"

#include <utility>

namespace app {

Fourier::Fourier(size_t size, std::vector<double> window)
    : transform_(gst_fft_f64_new(static_cast<gint>(size), FALSE)),
      window_(std::move(window)),
      frame_(size),
      power_(size / 2 + 1),
      spectrum_(size / 2 + 1) {}

std::span<const double> Fourier::power(const double* samples) {
  for (size_t i = 0; i < window_.size(); ++i) frame_[i] = samples[i] * window_[i];
  gst_fft_f64_fft(transform_.get(), frame_.data(), spectrum_.data());
  for (size_t i = 0; i < power_.size(); ++i) {
    power_[i] = spectrum_[i].r * spectrum_[i].r + spectrum_[i].i * spectrum_[i].i;
  }
  return power_;
}

}  // namespace app

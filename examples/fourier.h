// SPDX-License-Identifier: MIT
// Power spectra of frames of sound.
#pragma once

#include <gst/fft/gstfftf64.h>

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

namespace app {

class Fourier {
 public:
  /// `size`: points of the transform, even; `window`: what frames are multiplied by, at most as long.
  Fourier(size_t size, std::vector<double> window);

  /// Power of the frame that begins at `samples`, in size / 2 + 1 bins. As many samples are read as the window has.
  std::span<const double> power(const double* samples);

  size_t bins() const { return power_.size(); }

 private:
  struct Free {
    void operator()(GstFFTF64* transform) const { gst_fft_f64_free(transform); }
  };

  std::unique_ptr<GstFFTF64, Free> transform_;
  std::vector<double> window_, frame_, power_;
  std::vector<GstFFTF64Complex> spectrum_;
};

}  // namespace app

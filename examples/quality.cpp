// SPDX-License-Identifier: MIT
#include "quality.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <vector>

#include "fourier.h"

namespace app {
namespace {

using Samples = std::vector<double>;

// STOI's own constants.
constexpr size_t kFrame = 256, kHop = 128, kPoints = 512;
constexpr size_t kBands = 15;
constexpr double kLowestBand = 150;                // Hz, its center
constexpr size_t kSegment = 30;                    // frames, 0.4 s
constexpr double kDynamicRange = 40, kClip = -15;  // dB
constexpr double kTiny = 2.220446049250313e-16;

constexpr size_t kMelFrame = 1024, kMelHop = 256, kMelBands = 80;
constexpr double kMelTop = 8000, kMelFloor = 60;  // Hz, dB

/// A Hann window whose first zero is `skip` before its first sample: 0 or 1, for one of period `size` or `size` + 1.
Samples hann(size_t size, size_t skip) {
  Samples window(size);
  for (size_t i = 0; i < size; ++i) {
    const double turn = static_cast<double>(i + skip) / static_cast<double>(size + skip);
    window[i] = 0.5 - 0.5 * std::cos(2 * std::numbers::pi * turn);
  }
  return window;
}

/// Both without the frames in which the original is silent; what is left is overlapped and added.
void drop_silence(Samples* original, Samples* decoded) {
  const Samples window = hann(kFrame, 1);
  std::vector<double> levels;
  for (size_t at = 0; at + kFrame <= original->size(); at += kHop) {
    double energy = 0;
    for (size_t i = 0; i < kFrame; ++i) energy += std::pow((*original)[at + i] * window[i], 2);
    levels.push_back(20 * std::log10(std::sqrt(energy) + kTiny));
  }
  const double loudest = levels.empty() ? 0 : *std::max_element(levels.begin(), levels.end());
  std::array<Samples, 2> kept;
  size_t frames = 0;
  for (size_t frame = 0; frame < levels.size(); ++frame) {
    if (levels[frame] <= loudest - kDynamicRange) continue;
    for (size_t side = 0; side < 2; ++side) {
      const Samples& from = side == 0 ? *original : *decoded;
      kept[side].resize(frames * kHop + kFrame);
      for (size_t i = 0; i < kFrame; ++i) kept[side][frames * kHop + i] += from[frame * kHop + i] * window[i];
    }
    ++frames;
  }
  *original = std::move(kept[0]);
  *decoded = std::move(kept[1]);
}

using Bands = std::array<double, kBands>;

/// Amplitudes of third octaves, frame by frame.
std::vector<Bands> third_octaves(const Samples& samples) {
  const auto bin_of = [](double frequency) {
    return static_cast<size_t>(std::lround(frequency * static_cast<double>(kPoints) / kStoiRate));
  };
  Fourier fourier(kPoints, hann(kFrame, 1));
  std::vector<Bands> frames;
  for (size_t at = 0; at + kFrame <= samples.size(); at += kHop) {
    const auto power = fourier.power(samples.data() + at);
    Bands& bands = frames.emplace_back();
    for (size_t band = 0; band < kBands; ++band) {
      const double center = kLowestBand * std::exp2(static_cast<double>(band) / 3);
      const size_t end = bin_of(center * std::exp2(1.0 / 6));
      double sum = 0;
      for (size_t bin = bin_of(center * std::exp2(-1.0 / 6)); bin < end; ++bin) sum += power[bin];
      bands[band] = std::sqrt(sum);
    }
  }
  return frames;
}

using Segment = std::array<double, kSegment>;

double length_of(const Segment& values) {
  double sum = 0;
  for (const double value : values) sum += value * value;
  return std::sqrt(sum);
}

/// Without its mean, and of length 1.
void normalize(Segment* values) {
  double mean = 0;
  for (const double value : *values) mean += value / kSegment;
  for (double& value : *values) value -= mean;
  const double length = length_of(*values) + kTiny;
  for (double& value : *values) value /= length;
}

/// The correlation of one band's envelopes over a segment, the decoded one scaled and clipped to the original.
double correlation(Segment original, Segment decoded) {
  const double scale = length_of(original) / (length_of(decoded) + kTiny);
  const double most = 1 + std::pow(10, -kClip / 20);
  for (size_t i = 0; i < kSegment; ++i) decoded[i] = std::min(decoded[i] * scale, original[i] * most);
  normalize(&original);
  normalize(&decoded);
  double sum = 0;
  for (size_t i = 0; i < kSegment; ++i) sum += original[i] * decoded[i];
  return sum;
}

double mel_of(double frequency) { return 2595 * std::log10(1 + frequency / 700); }
double frequency_of(double mel) { return 700 * (std::pow(10, mel / 2595) - 1); }

/// Triangles, evenly spaced in mel: [band][bin].
std::vector<Samples> mel_filters(size_t bins, int rate) {
  std::vector<Samples> filters(kMelBands, Samples(bins));
  const auto edge = [](size_t i) {
    return frequency_of(mel_of(kMelTop) * static_cast<double>(i) / static_cast<double>(kMelBands + 1));
  };
  for (size_t band = 0; band < kMelBands; ++band) {
    const double low = edge(band), middle = edge(band + 1), high = edge(band + 2);
    for (size_t bin = 0; bin < bins; ++bin) {
      const double frequency = static_cast<double>(bin) * rate / kMelFrame;
      filters[band][bin] =
          std::max(0.0, std::min((frequency - low) / (middle - low), (high - frequency) / (high - middle)));
    }
  }
  return filters;
}

/// dB, frame by frame and in each band by band.
Samples mel_levels(std::span<const float> pcm, int rate) {
  Fourier fourier(kMelFrame, hann(kMelFrame, 0));
  const std::vector<Samples> filters = mel_filters(fourier.bins(), rate);
  const Samples samples(pcm.begin(), pcm.end());
  Samples levels;
  for (size_t at = 0; at + kMelFrame <= samples.size(); at += kMelHop) {
    const auto power = fourier.power(samples.data() + at);
    for (const Samples& filter : filters) {
      double sum = 0;
      for (size_t bin = 0; bin < power.size(); ++bin) sum += filter[bin] * power[bin];
      levels.push_back(10 * std::log10(sum + 1e-10));
    }
  }
  return levels;
}

}  // namespace

std::optional<double> stoi(std::span<const float> original, std::span<const float> decoded) {
  const size_t size = std::min(original.size(), decoded.size());
  Samples first(original.begin(), original.begin() + static_cast<ptrdiff_t>(size));
  Samples second(decoded.begin(), decoded.begin() + static_cast<ptrdiff_t>(size));
  drop_silence(&first, &second);
  const std::vector<Bands> ours = third_octaves(first), theirs = third_octaves(second);
  if (ours.size() < kSegment) return std::nullopt;
  double sum = 0;
  for (size_t end = kSegment; end <= ours.size(); ++end) {
    for (size_t band = 0; band < kBands; ++band) {
      Segment a, b;
      for (size_t i = 0; i < kSegment; ++i) {
        a[i] = ours[end - kSegment + i][band];
        b[i] = theirs[end - kSegment + i][band];
      }
      sum += correlation(a, b);
    }
  }
  return sum / static_cast<double>((ours.size() - kSegment + 1) * kBands);
}

double mel_distance(std::span<const float> original, std::span<const float> decoded, int rate) {
  const size_t size = std::min(original.size(), decoded.size());
  const Samples ours = mel_levels(original.first(size), rate), theirs = mel_levels(decoded.first(size), rate);
  if (ours.empty()) return 0;
  const double floor = *std::max_element(ours.begin(), ours.end()) - kMelFloor;
  double sum = 0;
  for (size_t i = 0; i < ours.size(); ++i) sum += std::abs(std::max(ours[i], floor) - std::max(theirs[i], floor));
  return sum / static_cast<double>(ours.size());
}

}  // namespace app

// SPDX-License-Identifier: MIT
#include <algorithm>
#include <cmath>

#include "common/random_numbers.h"
#include "mimi/random/functions.h"
#include "mimi/random_model.h"

namespace moshi::mimi {
namespace {

constexpr double kPi = 3.14159265358979323846;
constexpr int kFormants = 4;
constexpr double kHiss = 0.002;  // of a microphone

/// What the vocal tract does for one sound: how loud the voice and the noise are, and where it resonates.
struct Sound {
  int samples = 0;
  double pitch = 120.0;  // Hz
  double voice = 0.0;
  double noise = 0.0;
  double loudness = 1.0;
  double formants[kFormants] = {500.0, 1500.0, 2500.0, 3500.0};  // Hz
};

Sound draw_sound(const RandomNumbers& numbers, uint64_t index, int sample_rate) {
  const auto draw = [&](int what) { return numbers.uniform(index * 16 + static_cast<uint64_t>(what)); };
  Sound sound;
  sound.samples = static_cast<int>((0.05 + 0.13 * draw(0)) * sample_rate);
  sound.pitch = 90.0 + 150.0 * draw(1);
  const double kind = draw(2);
  if (kind < 0.6) {
    sound.voice = 0.4 + 0.6 * draw(3);
    sound.noise = 0.02;
  } else if (kind < 0.8) {
    sound.noise = 0.1 + 0.4 * draw(3);
  } else if (kind < 0.9) {
    sound.voice = 0.3;
    sound.noise = 0.2;
  }
  // 52 dB from the faintest to the loudest sound, which is what words and breaths of recordings have.
  sound.loudness = random::exponential(-6.0 * draw(8));
  sound.formants[0] = 250.0 + 600.0 * draw(4);
  sound.formants[1] = 850.0 + 1400.0 * draw(5);
  sound.formants[2] = 2200.0 + 900.0 * draw(6);
  sound.formants[3] = 3300.0 + 1200.0 * draw(7);
  return sound;
}

/// A two-pole resonance; gain about 1 at its peak.
class Resonator {
 public:
  void tune(double frequency, double bandwidth, double sample_rate) {
    const double radius = random::exponential(-kPi * bandwidth / sample_rate);
    a1_ = 2.0 * radius * random::cosine(2.0 * kPi * std::min(frequency, 0.45 * sample_rate) / sample_rate);
    a2_ = -radius * radius;
    gain_ = 1.0 - radius;
  }
  double step(double x) {
    const double y = gain_ * x + a1_ * y1_ + a2_ * y2_;
    y2_ = y1_;
    y1_ = y;
    return y;
  }

 private:
  double a1_ = 0.0, a2_ = 0.0, gain_ = 0.0, y1_ = 0.0, y2_ = 0.0;
};

double mix(double a, double b, double part) { return a + (b - a) * part; }

/// Pulses and noise through resonators that move from each sound to the next.
std::vector<double> synthesize(int sample_rate, size_t samples, uint64_t seed) {
  constexpr int kRetune = 32;  // samples between two settings of the resonators
  const RandomNumbers sounds(seed, "speech sounds");
  const RandomNumbers noise(seed, "speech noise");
  std::vector<double> out;
  Resonator resonators[kFormants];
  double phase = 0.0;
  Sound sound = draw_sound(sounds, 0, sample_rate);
  for (uint64_t index = 1; out.size() < samples; ++index) {
    const Sound next = draw_sound(sounds, index, sample_rate);
    for (int i = 0; i < sound.samples && out.size() < samples; ++i) {
      const double part = static_cast<double>(i) / sound.samples;
      if (i % kRetune == 0) {
        for (int f = 0; f < kFormants; ++f) {
          resonators[f].tune(mix(sound.formants[f], next.formants[f], part), 60.0 + 40.0 * f, sample_rate);
        }
      }
      phase += mix(sound.pitch, next.pitch, part) / sample_rate;
      double source = mix(sound.noise, next.noise, part) * noise.normal(out.size());
      if (phase >= 1.0) {
        phase -= 1.0;
        source += 12.0 * mix(sound.voice, next.voice, part);
      }
      double value = 0.02 * source;
      for (int f = 0; f < kFormants; ++f) value += resonators[f].step(source) / (1 + f);
      const double hiss = kHiss * noise.normal((uint64_t{1} << 40) + out.size());
      out.push_back(value * mix(sound.loudness, next.loudness, part) + hiss);
    }
    sound = next;
  }
  return out;
}

}  // namespace

std::vector<float> synthetic_speech(int sample_rate, double seconds, uint64_t seed) {
  const std::vector<double> raw = synthesize(sample_rate, static_cast<size_t>(seconds * sample_rate), seed);
  double square = 0.0;
  for (const double value : raw) square += value * value;
  const double rms = std::sqrt(square / static_cast<double>(std::max<size_t>(raw.size(), 1)));
  const double scale = rms > 0.0 ? 0.08 / rms : 0.0;
  std::vector<float> speech;
  for (const double value : raw) speech.push_back(static_cast<float>(std::clamp(value * scale, -0.95, 0.95)));
  return speech;
}

}  // namespace moshi::mimi

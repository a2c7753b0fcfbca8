// SPDX-License-Identifier: MIT
#include "mimi/random/codebooks.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "common/random_numbers.h"
#include "mimi/random/product.h"

namespace moshi::mimi::random {
namespace {

// Rows are shorter than residuals, as the means of a trained codebook are; how much so is found by trying.
constexpr int kScaleCount = 10;
constexpr double kScales[kScaleCount] = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0};
constexpr double kNoise = 0.15;  // of the residual's deviation in each dimension
constexpr int kNear = 2;         // frames

struct Origin {
  int frame = 0;
  int toward = 0;
};

bool made_from(const Origin& origin, int frame) {
  return std::abs(origin.frame - frame) <= kNear || std::abs(origin.toward - frame) <= kNear;
}

std::vector<double> deviations(const Signal& x) {
  std::vector<double> result(x.width);
  for (size_t c = 0; c < x.width; ++c) {
    double square = 0.0;
    for (size_t step = 0; step < x.steps; ++step) square += static_cast<double>(x.row(step)[c]) * x.row(step)[c];
    result[c] = std::sqrt(square / static_cast<double>(x.steps));
  }
  return result;
}

/// Which row a frame would take from rows scaled by each of kScales, and what would be left of its square.
struct Choice {
  int row[kScaleCount];
  double left[kScaleCount];
};

Choice choose(const float* values, int frame, const Signal& rows, const std::vector<double>& squares,
              const std::vector<Origin>& origins) {
  Choice best;
  std::fill(std::begin(best.row), std::end(best.row), -1);
  double square = 0.0;
  for (size_t c = 0; c < rows.width; ++c) square += static_cast<double>(values[c]) * values[c];
  for (const bool exclude : {true, false}) {  // with very few frames every row is near; then all are allowed
    for (size_t row = 0; row < rows.steps; ++row) {
      if (exclude && made_from(origins[row], frame)) continue;
      double product = 0.0;
      for (size_t c = 0; c < rows.width; ++c) product += static_cast<double>(values[c]) * rows.row(row)[c];
      for (int i = 0; i < kScaleCount; ++i) {
        const double left = square - 2.0 * kScales[i] * product + kScales[i] * kScales[i] * squares[row];
        if (best.row[i] >= 0 && left >= best.left[i]) continue;
        best.row[i] = static_cast<int>(row);
        best.left[i] = left;
      }
    }
    if (best.row[0] >= 0) break;
  }
  return best;
}

/// The scale that leaves the least over all frames.
int best_scale(const std::vector<Choice>& choices) {
  double least = 0.0;
  int best = -1;
  for (int i = 0; i < kScaleCount; ++i) {
    double sum = 0.0;
    for (const Choice& choice : choices) sum += choice.left[i];
    if (best >= 0 && sum >= least) continue;
    best = i;
    least = sum;
  }
  return best;
}

/// Rows between two frames' residuals each, with noise.
Signal draw_rows(uint64_t seed, const std::string& name, int bins, const Signal& residual,
                 std::vector<Origin>& origins) {
  const RandomNumbers numbers(seed, name + " origins");
  const RandomNumbers noise(seed, name + " noise");
  const std::vector<double> deviation = deviations(residual);
  const auto frames = static_cast<int>(residual.steps);
  Signal rows(static_cast<size_t>(bins), residual.width);
  origins.resize(rows.steps);
  for (size_t row = 0; row < rows.steps; ++row) {
    origins[row] = {numbers.below(row * 3, frames), numbers.below(row * 3 + 1, frames)};
    const double part = numbers.uniform(row * 3 + 2);
    const float* a = residual.row(static_cast<size_t>(origins[row].frame));
    const float* b = residual.row(static_cast<size_t>(origins[row].toward));
    for (size_t c = 0; c < rows.width; ++c) {
      const double value = a[c] + part * (static_cast<double>(b[c]) - a[c]);
      rows.row(row)[c] = static_cast<float>(value + kNoise * deviation[c] * noise.normal(row * rows.width + c));
    }
  }
  return rows;
}

}  // namespace

Codebook draw_codebook(uint64_t seed, const std::string& name, int bins, Signal& residual, int threads) {
  std::vector<Origin> origins;
  const Signal rows = draw_rows(seed, name, bins, residual, origins);
  std::vector<double> squares(rows.steps);
  for (size_t row = 0; row < rows.steps; ++row) {
    for (size_t c = 0; c < rows.width; ++c) squares[row] += static_cast<double>(rows.row(row)[c]) * rows.row(row)[c];
  }
  std::vector<Choice> choices(residual.steps);
  in_parallel(residual.steps, 1, threads, [&](size_t begin, size_t end) {
    for (size_t frame = begin; frame < end; ++frame) {
      choices[frame] = choose(residual.row(frame), static_cast<int>(frame), rows, squares, origins);
    }
  });
  const int scale = best_scale(choices);

  const RandomNumbers usage(seed, name + " usage");
  Codebook book{std::vector<float>(rows.steps), std::vector<float>(rows.data.size())};
  for (size_t row = 0; row < rows.steps; ++row) {
    book.usage[row] = static_cast<float>(0.2 + 3.0 * usage.uniform(row));
    for (size_t c = 0; c < rows.width; ++c) {
      book.sum[row * rows.width + c] = static_cast<float>(kScales[scale] * rows.row(row)[c] * book.usage[row]);
    }
  }
  for (size_t frame = 0; frame < residual.steps; ++frame) {
    const auto row = static_cast<size_t>(choices[frame].row[scale]);
    for (size_t c = 0; c < rows.width; ++c) {
      residual.row(frame)[c] -= book.sum[row * rows.width + c] / book.usage[row];
    }
  }
  return book;
}

}  // namespace moshi::mimi::random

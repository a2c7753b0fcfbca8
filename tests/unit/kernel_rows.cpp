// SPDX-License-Identifier: MIT
// The kernels over single rows against double precision, and every instruction set against the portable path.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernel_testing.h"

namespace moshi::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

constexpr Gate kGates[] = {Gate::kSilu,      Gate::kGelu, Gate::kSigmoid, Gate::kTanh,     Gate::kRelu,
                           Gate::kLeakyRelu, Gate::kElu,  Gate::kMish,    Gate::kSoftsign, Gate::kIdentity};

double exact_gate(Gate kind, double x) {
  switch (kind) {
    case Gate::kSilu:
      return x / (1 + std::exp(-x));
    case Gate::kGelu:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
    case Gate::kSigmoid:
      return 1 / (1 + std::exp(-x));
    case Gate::kTanh:
      return std::tanh(x);
    case Gate::kRelu:
      return x > 0 ? x : 0;
    case Gate::kLeakyRelu:
      return x > 0 ? x : x * 0.01;
    case Gate::kElu:
      return x > 0 ? x : std::expm1(x);
    case Gate::kMish:
      return x * std::tanh(std::log1p(std::exp(std::min(x, 40.0))));
    case Gate::kSoftsign:
      return x / (1 + std::abs(x));
    case Gate::kIdentity:
      return x;
  }
  return NAN;
}

TEST(Gates, EqualDoublePrecisionAndEveryPath) {
  std::vector<float> x = random_floats(4001, 1, -12, 12);
  for (const float large : {50.0f, 87.5f, 89.0f, 104.0f, 1000.0f, 1e20f, 3e38f}) {
    x.push_back(large);
    x.push_back(-large);
  }
  for (int i = 0; i < 400; ++i) x.push_back(std::exp(-0.1f * static_cast<float>(i)) * (i % 2 ? 1.0f : -1.0f));
  x.push_back(0.0f);
  const std::vector<float> ones(x.size(), 1.0f);
  const auto count = static_cast<int>(x.size());
  for (const Gate kind : kGates) {
    std::vector<float> expected;
    for (const Kernels* kernels : all_paths()) {
      std::vector<float> y(x.size(), NAN);
      kernels->gate(kind, x.data(), ones.data(), y.data(), count);
      // GELU's erf is accurate absolutely, so that its product with a large negative x is less so.
      const double absolute = kind == Gate::kGelu ? 5e-7 : 1e-7;
      for (int i = 0; i < count; ++i) {
        const double exact = exact_gate(kind, x[i]);
        ASSERT_NEAR(y[i], exact, absolute + std::abs(exact) * 5e-7)
            << kernels->name << " gate " << static_cast<int>(kind) << " at " << x[i];
      }
      if (expected.empty()) expected = y;
      EXPECT_TRUE(same_bits(y, expected)) << kernels->name << " gate " << static_cast<int>(kind);
    }
  }
}

TEST(Gates, MultiplyByUpAndTouchNothingBeyond) {
  for (const Kernels* kernels : all_paths()) {
    for (const int count : {1, 15, 16, 17, 33}) {
      const std::vector<float> up = random_floats(count, 3);
      const std::vector<float> gate = random_floats(count, 4);
      std::vector<float> y(count + 1, 7.0f);
      kernels->gate(Gate::kIdentity, gate.data(), up.data(), y.data(), count);
      for (int i = 0; i < count; ++i) EXPECT_EQ(y[i], gate[i] * up[i]);
      EXPECT_EQ(y[count], 7.0f);
      std::vector<float> in_place = gate;
      kernels->gate(Gate::kIdentity, in_place.data(), up.data(), in_place.data(), count);
      EXPECT_TRUE(std::equal(in_place.begin(), in_place.end(), y.begin()));
    }
  }
}

TEST(RmsNorm, EqualsDoublePrecisionAndEveryPath) {
  for (const int d : {1, 5, 16, 100, 1024, 4096}) {
    const std::vector<float> x = random_floats(d, 5, -3, 4);
    const std::vector<float> w = random_floats(d, 6);
    double squares = 0;
    for (const float v : x) squares += static_cast<double>(v) * v;
    std::vector<float> expected;
    for (const Kernels* kernels : all_paths()) {
      std::vector<float> y(d);
      kernels->rms_norm(x.data(), w.data(), y.data(), d, 1e-2f);
      for (int i = 0; i < d; ++i) {
        const double exact = x[i] * (w[i] / std::sqrt(squares / d + 1e-2f));
        ASSERT_NEAR(y[i], exact, std::abs(exact) * 1e-6) << kernels->name << d;
      }
      if (expected.empty()) expected = y;
      EXPECT_TRUE(same_bits(y, expected)) << kernels->name << d;
    }
  }
}

TEST(Add, AddsInPlaceAndTouchesNothingBeyond) {
  for (const Kernels* kernels : all_paths()) {
    for (const int count : {1, 16, 47}) {
      const std::vector<float> x = random_floats(count, 7);
      const std::vector<float> before = random_floats(count + 1, 8);
      std::vector<float> y = before;
      kernels->add(y.data(), x.data(), count);
      for (int i = 0; i < count; ++i) EXPECT_EQ(y[i], before[i] + x[i]) << kernels->name;
      EXPECT_EQ(y[count], before[count]);
    }
  }
}

TEST(Softmax, EqualsDoublePrecisionAndEveryPath) {
  for (const int count : {1, 3, 16, 31, 2049, 32001}) {
    const std::vector<float> x = random_floats(count, 9, -40, 40);
    double total = 0;
    for (const float v : x) total += std::exp(static_cast<double>(v));
    std::vector<float> expected;
    for (const Kernels* kernels : all_paths()) {
      std::vector<float> y = x;
      kernels->softmax(y.data(), y.data(), count);
      for (int i = 0; i < count; ++i) {
        // Numbers up to 80 below the top: their difference is rounded to 4e-6.
        const double exact = std::exp(static_cast<double>(x[i])) / total;
        ASSERT_NEAR(y[i], exact, exact * 6e-6) << kernels->name << count;
      }
      if (expected.empty()) expected = y;
      EXPECT_TRUE(same_bits(y, expected)) << kernels->name << count;
    }
  }
}

TEST(Softmax, WhatIsExcludedHasNoProbability) {
  for (const Kernels* kernels : all_paths()) {
    std::vector<float> x(37, -kInfinity), y(37);
    x[3] = x[36] = 1000.0f;
    x[5] = 800.0f;
    kernels->softmax(x.data(), y.data(), 37);
    for (int i = 0; i < 37; ++i) EXPECT_EQ(y[i], i == 3 || i == 36 ? 0.5f : 0.0f) << kernels->name << i;
  }
}

TEST(Finite, FindsInfinityAndNanAnywhere) {
  for (const Kernels* kernels : all_paths()) {
    for (const int count : {1, 16, 50}) {
      std::vector<float> x(count, 3e38f);
      EXPECT_TRUE(kernels->finite(x.data(), count)) << kernels->name;
      for (int i = 0; i < count; ++i) {
        for (const float bad : {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN()}) {
          x[i] = bad;
          EXPECT_FALSE(kernels->finite(x.data(), count)) << kernels->name << i;
        }
        x[i] = -3e38f;
      }
    }
  }
}

}  // namespace
}  // namespace moshi::kernels

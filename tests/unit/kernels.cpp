// SPDX-License-Identifier: MIT
// The kernels against double precision, and every instruction set against the portable path, bit for bit.
#include "kernels/kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "kernel_testing.h"
#include "kernels/gemm.h"

namespace moshi::kernels {
namespace {

/// A product of random matrices with everything that can follow it.
struct Product {
  int rows, k, n;
  std::vector<float> a, b, bias, scale, residual;
  Arena arena;
  PackedMatrix packed;

  Product(int rows, int k, int n) : rows(rows), k(k), n(n) {
    a = random_floats(static_cast<size_t>(rows) * k, 1);
    b = random_floats(static_cast<size_t>(k) * n, 2);
    bias = random_floats(round_up(n, kLanes), 3);
    scale = random_floats(round_up(n, kLanes), 4);
    residual = random_floats(static_cast<size_t>(rows) * n, 5);
    packed = pack(arena, k, n, [&](int i, int column) { return b[static_cast<size_t>(i) * n + column]; });
  }

  double exact(int row, int column) const {
    double sum = 0;
    for (int i = 0; i < k; ++i) {
      sum += static_cast<double>(a[static_cast<size_t>(row) * k + i]) * b[static_cast<size_t>(i) * n + column];
    }
    return sum;
  }

  /// Raw output, then output after ELU.
  std::vector<float> run(const Kernels& kernels, Pool& pool, bool decorated, Activation activation) const {
    std::vector<float> raw(static_cast<size_t>(rows) * n, NAN), elu(raw);
    std::vector<const float*> a_rows, residual_rows;
    std::vector<float*> raw_rows, elu_rows;
    for (int row = 0; row < rows; ++row) {
      a_rows.push_back(&a[static_cast<size_t>(row) * k]);
      residual_rows.push_back(&residual[static_cast<size_t>(row) * n]);
      raw_rows.push_back(&raw[static_cast<size_t>(row) * n]);
      elu_rows.push_back(&elu[static_cast<size_t>(row) * n]);
    }
    GemmCall call{.rows = rows, .a = a_rows.data(), .b = packed};
    call.out = raw_rows.data();
    call.out_elu = elu_rows.data();
    call.activation = activation;
    if (decorated) {
      call.bias = bias.data();
      call.scale = scale.data();
      call.residual = residual_rows.data();
    }
    run_gemm(pool, kernels, call);
    raw.insert(raw.end(), elu.begin(), elu.end());
    return raw;
  }
};

TEST(Gemm, EqualsDoublePrecisionForEveryShape) {
  Pool pool(1);
  for (const Kernels* kernels : all_paths()) {
    for (const int n : {1, 15, 16, 32, 48, 63, 64, 65, 130}) {
      for (const int rows : {1, 2, 3, 5, 6, 7, 13, 100}) {
        for (const int k : {1, 7, 256, 600}) {
          const Product product(rows, k, n);
          const std::vector<float> out = product.run(*kernels, pool, false, Activation::kNone);
          for (int row = 0; row < rows; ++row) {
            for (int column = 0; column < n; ++column) {
              const size_t at = static_cast<size_t>(row) * n + column;
              ASSERT_NEAR(out[at], product.exact(row, column), 1e-6 * std::sqrt(k) * 4)
                  << kernels->name << " rows " << rows << " k " << k << " n " << n;
            }
          }
        }
      }
    }
  }
}

TEST(Gemm, BiasActivationScaleResidualAndEluFollowInThatOrder) {
  Pool pool(1);
  const Product product(5, 40, 37);
  const std::vector<float> out = product.run(select_kernels(), pool, true, Activation::kGelu);
  for (int row = 0; row < product.rows; ++row) {
    for (int column = 0; column < product.n; ++column) {
      const size_t at = static_cast<size_t>(row) * product.n + column;
      double v = product.exact(row, column) + product.bias[column];
      v = 0.5 * v * (1 + std::erf(v / std::sqrt(2.0)));
      v = product.residual[at] + v * product.scale[column];
      ASSERT_NEAR(out[at], v, 1e-5);
      const double elu = v > 0 ? v : std::expm1(v);
      ASSERT_NEAR(out[static_cast<size_t>(product.rows) * product.n + at], elu, 1e-5);
    }
  }
}

TEST(Gemm, SameBitsOnEveryPathThreadAndRowCount) {
  Pool one(1), two(2);
  const Product product(97, 700, 150);
  const std::vector<float> expected = product.run(*find_kernels("portable"), one, true, Activation::kGelu);
  for (const Kernels* kernels : all_paths()) {
    EXPECT_TRUE(same_bits(product.run(*kernels, one, true, Activation::kGelu), expected)) << kernels->name;
    EXPECT_TRUE(same_bits(product.run(*kernels, two, true, Activation::kGelu), expected)) << kernels->name;
    for (const int rows : {1, 2, 3, 4, 5, 9}) {
      Product fewer(97, 700, 150);
      fewer.rows = rows;
      const std::vector<float> out = fewer.run(*kernels, one, true, Activation::kGelu);
      EXPECT_EQ(std::memcmp(out.data(), expected.data(), sizeof(float) * rows * 150), 0) << kernels->name << rows;
    }
  }
}

TEST(Elementary, EluIsExpm1BelowZero) {
  for (const Kernels* kernels : all_paths()) {
    std::vector<float> x = random_floats(20000, 7, -30, 5);
    for (int i = 0; i < 2000; ++i) x.push_back(-std::exp(-0.01f * static_cast<float>(i)));
    std::vector<float> y(x.size());
    kernels->elu(x.data(), y.data(), x.size());
    for (size_t i = 0; i < x.size(); ++i) {
      const double exact = x[i] > 0 ? x[i] : std::expm1(static_cast<double>(x[i]));
      ASSERT_NEAR(y[i], exact, std::abs(exact) * 3e-7) << kernels->name << " at " << x[i];
    }
  }
}

TEST(Elementary, SameBitsOnEveryPath) {
  const std::vector<float> x = random_floats(10007, 8, -100, 100);
  const std::vector<float> w = random_floats(10007, 9);
  std::vector<float> elu, norm, blend;
  for (const Kernels* kernels : all_paths()) {
    std::vector<float> e(x.size()), l(x.size()), b(x.size());
    kernels->elu(x.data(), e.data(), x.size());
    kernels->layer_norm(x.data(), w.data(), x.data(), l.data(), static_cast<int>(x.size()), 1e-5f);
    kernels->blend(x.data(), w.data(), w.data(), x.data(), b.data(), static_cast<int>(x.size()));
    if (elu.empty()) {
      elu = e;
      norm = l;
      blend = b;
    }
    EXPECT_TRUE(same_bits(e, elu)) << kernels->name;
    EXPECT_TRUE(same_bits(l, norm)) << kernels->name;
    EXPECT_TRUE(same_bits(b, blend)) << kernels->name;
  }
}

TEST(LayerNorm, EqualsDoublePrecision) {
  for (const Kernels* kernels : all_paths()) {
    for (const int d : {5, 16, 96, 511, 512}) {
      const std::vector<float> x = random_floats(d, 11, 2, 5);
      const std::vector<float> w = random_floats(d, 12);
      const std::vector<float> b = random_floats(d, 13);
      std::vector<float> y(d);
      kernels->layer_norm(x.data(), w.data(), b.data(), y.data(), d, 1e-5f);
      double mean = 0, variance = 0;
      for (const float v : x) mean += v / d;
      for (const float v : x) variance += (v - mean) * (v - mean) / d;
      for (int i = 0; i < d; ++i) {
        ASSERT_NEAR(y[i], (x[i] - mean) / std::sqrt(variance + 1e-5) * w[i] + b[i], 1e-5) << kernels->name << d;
      }
    }
  }
}

TEST(Argmax, TakesTheFirstOfEquals) {
  for (const Kernels* kernels : all_paths()) {
    std::vector<float> x(2048, -1.0f);
    x[77] = x[1500] = x[2047] = 3.0f;
    EXPECT_EQ(kernels->argmax(x.data(), 2048), 77) << kernels->name;
    EXPECT_EQ(kernels->argmax(x.data(), 70), 0) << kernels->name;
    EXPECT_EQ(kernels->argmax(x.data() + 78, 1970), 1500 - 78) << kernels->name;
    EXPECT_EQ(kernels->argmax(x.data() + 2040, 8), 7) << kernels->name;
  }
}

/// Softmax attention over the ring, oldest to newest, in double precision.
std::vector<double> attention(const AttendCall& call) {
  const auto* keys = static_cast<const float*>(call.keys);
  const auto* values = static_cast<const float*>(call.values);
  std::vector<double> weights, out(call.head_dim, 0);
  double top = -1e30, total = 0;
  for (int i = 0; i < call.count; ++i) {
    const int slot = (call.first_slot + i) % call.capacity;
    double score = 0;
    for (int d = 0; d < call.head_dim; ++d) {
      score += static_cast<double>(call.query[d]) * keys[(slot / 16 * call.head_dim + d) * 16 + slot % 16];
    }
    weights.push_back(score * call.scale);
    top = std::max(top, weights.back());
  }
  for (double& weight : weights) total += weight = std::exp(weight - top);
  for (int i = 0; i < call.count; ++i) {
    const int slot = (call.first_slot + i) % call.capacity;
    for (int d = 0; d < call.head_dim; ++d) out[d] += weights[i] / total * values[slot * call.head_dim + d];
  }
  return out;
}

TEST(Attention, EqualsDoublePrecisionAndEveryPath) {
  for (const int capacity : {5, 16, 40, 250}) {
    for (const int head_dim : {16, 64, 80}) {
      for (const int first : {0, 3, capacity - 2}) {
        for (const int count : {1, capacity / 2, capacity}) {
          const std::vector<float> keys = random_floats(round_up(capacity, 16) * head_dim, 21);
          const std::vector<float> values = random_floats(capacity * head_dim, 22);
          const std::vector<float> query = random_floats(head_dim, 23);
          std::vector<float> scores(2 * round_up(capacity, 16)), expected;
          for (const Kernels* kernels : all_paths()) {
            std::vector<float> out(head_dim);
            const AttendCall call{.keys = keys.data(),
                                  .values = values.data(),
                                  .query = query.data(),
                                  .out = out.data(),
                                  .scores = scores.data(),
                                  .head_dim = head_dim,
                                  .capacity = capacity,
                                  .first_slot = first,
                                  .count = count,
                                  .scale = 0.3f};
            kernels->attend(call);
            const std::vector<double> exact = attention(call);
            for (int d = 0; d < head_dim; ++d) ASSERT_NEAR(out[d], exact[d], 1e-6) << kernels->name;
            if (expected.empty()) expected = out;
            EXPECT_TRUE(same_bits(out, expected)) << kernels->name;
          }
        }
      }
    }
  }
}

TEST(Pack, ColumnsAreTakenFromWhereTheyWent) {
  const Product product(1, 33, 100);
  for (const int n : {0, 63, 64, 99}) {
    std::vector<float> values(33, 0.0f);
    subtract_column(product.packed, n, values.data());
    for (int i = 0; i < 33; ++i) EXPECT_EQ(values[i], -product.b[static_cast<size_t>(i) * 100 + n]);
  }
}

}  // namespace
}  // namespace moshi::kernels

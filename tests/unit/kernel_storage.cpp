// SPDX-License-Identifier: MIT
// Narrow storage of weights and rings: the same bits as f32 for the same values, on every instruction set.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <tuple>
#include <vector>

#include "kernel_testing.h"
#include "kernels/gemm.h"
#include "nn/kv_ring.h"

namespace moshi::kernels {
namespace {

/// The values as elements of a checkpoint, one byte off any alignment; values must be representable.
std::vector<char> stored(Element element, const std::vector<float>& values) {
  std::vector<char> bytes(1);
  const auto append = [&](auto value) {
    const auto* from = reinterpret_cast<const char*>(&value);
    bytes.insert(bytes.end(), from, from + sizeof value);
  };
  for (const float value : values) {
    if (element == Element::kF32) append(value);
    if (element == Element::kBf16) append(f32_to_bf16(value));
    if (element == Element::kInt8) append(static_cast<int8_t>(value));
    if (element == Element::kF16) {
      // Normal results only: the exponent's bias goes from 127 to 15.
      const auto bits = std::bit_cast<uint32_t>(value);
      const uint32_t magnitude = value == 0 ? 0 : ((bits & 0x7fffffffu) >> 13) - (112u << 10);
      append(static_cast<uint16_t>((bits >> 16 & 0x8000u) | magnitude));
    }
  }
  return bytes;
}

/// Whole numbers that int8, bf16 and f16 all hold.
std::vector<float> whole_numbers(size_t count, uint32_t seed) {
  std::vector<float> values = random_floats(count, seed, -128, 127);
  for (float& value : values) value = std::nearbyint(value) + 0.0f;  // no negative zero, which int8 lacks
  return values;
}

std::vector<float> product(const Kernels& kernels, const PackedMatrix& b, int rows, const std::vector<float>& a,
                           const float* bias = nullptr) {
  Pool pool(1);
  std::vector<float> out(static_cast<size_t>(rows) * b.n, NAN);
  std::vector<const float*> in_rows;
  std::vector<float*> out_rows;
  for (int row = 0; row < rows; ++row) {
    in_rows.push_back(&a[static_cast<size_t>(row) * b.k]);
    out_rows.push_back(&out[static_cast<size_t>(row) * b.n]);
  }
  GemmCall call{.rows = rows, .a = in_rows.data(), .b = b, .bias = bias};
  call.out = out_rows.data();
  run_gemm(pool, kernels, call);
  return out;
}

TEST(Half, WideningIsExact) {
  EXPECT_EQ(f16_to_f32(0x3c00), 1.0f);
  EXPECT_EQ(f16_to_f32(0xc500), -5.0f);
  EXPECT_EQ(f16_to_f32(0x7bff), 65504.0f);
  EXPECT_EQ(f16_to_f32(0x0001), 0x1p-24f);
  EXPECT_EQ(f16_to_f32(0x83ff), -0x1.ff8p-15f);
  EXPECT_EQ(f16_to_f32(0xfc00), -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(f16_to_f32(0x7e01)));
  EXPECT_TRUE(std::signbit(f16_to_f32(0x8000)));
  EXPECT_EQ(bf16_to_f32(0xc0a0), -5.0f);
}

TEST(Half, Bf16RoundsToNearestEvenAndKeepsNan) {
  EXPECT_EQ(f32_to_bf16(1.0f), 0x3f80);
  EXPECT_EQ(f32_to_bf16(0x1.01p0f), 0x3f80) << "a tie goes to the even one below";
  EXPECT_EQ(f32_to_bf16(0x1.03p0f), 0x3f82) << "a tie goes to the even one above";
  EXPECT_EQ(f32_to_bf16(0x1.010002p0f), 0x3f81);
  EXPECT_EQ(f32_to_bf16(-std::numeric_limits<float>::max()), 0xff80);
  EXPECT_EQ(f32_to_bf16(std::numeric_limits<float>::infinity()), 0x7f80);
  EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(std::bit_cast<float>(0x7f800001u)))));
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto value = static_cast<uint16_t>(bits);
    if (std::isnan(bf16_to_f32(value))) continue;
    ASSERT_EQ(f32_to_bf16(bf16_to_f32(value)), value);
  }
}

TEST(Half, RowsAtAnyAddressBecomeF32) {
  const std::vector<float> values = whole_numbers(77, 1);
  for (const Element element : {Element::kF32, Element::kBf16, Element::kF16, Element::kInt8}) {
    const std::vector<char> bytes = stored(element, values);
    std::vector<float> out(values.size());
    to_f32(element, bytes.data() + 1, out.data(), out.size());
    EXPECT_TRUE(same_bits(out, values)) << static_cast<int>(element);
  }
}

TEST(PackRows, EveryStorageAndElementHoldsTheSameMatrix) {
  for (const auto& [n, k] : {std::tuple{1, 1}, {16, 64}, {63, 65}, {100, 130}, {200, 7}}) {
    const std::vector<float> values = whole_numbers(static_cast<size_t>(n) * k, 2);
    Arena arena;
    const PackedMatrix expected =
        pack(arena, k, n, [&](int i, int column) { return values[static_cast<size_t>(column) * k + i]; });
    for (const Storage storage : {Storage::kF32, Storage::kBf16, Storage::kInt8}) {
      for (const Element element : {Element::kF32, Element::kBf16, Element::kF16, Element::kInt8}) {
        if (storage == Storage::kInt8 && element != Element::kInt8) continue;
        const std::vector<char> bytes = stored(element, values);
        const PackedMatrix packed = pack_rows(arena, storage, n, k, bytes.data() + 1, element);
        const Element held = storage == Storage::kF32    ? Element::kF32
                             : storage == Storage::kBf16 ? Element::kBf16
                                                         : Element::kInt8;
        std::vector<float> widened(PackedMatrix::elements(k, n));
        to_f32(held, packed.data, widened.data(), widened.size());
        EXPECT_EQ(std::memcmp(widened.data(), expected.data, widened.size() * sizeof(float)), 0)
            << "storage " << static_cast<int>(storage) << " element " << static_cast<int>(element) << " n " << n;
      }
    }
  }
}

TEST(PackRows, RoundsF32ToBf16) {
  const std::vector<float> values = random_floats(100 * 37, 3);
  Arena arena;
  const PackedMatrix packed = pack_rows(arena, Storage::kBf16, 37, 100, values.data(), Element::kF32);
  const auto* data = static_cast<const uint16_t*>(packed.data);
  for (int column = 0; column < 37; ++column) {
    for (int i = 0; i < 100; ++i) ASSERT_EQ(data[i * 48 + column], f32_to_bf16(values[column * 100 + i]));
  }
}

TEST(Storage, Bf16GivesTheBitsOfF32) {
  for (const int n : {1, 16, 63, 64, 130}) {
    for (const int k : {1, 255, 600}) {
      std::vector<float> weights = random_floats(static_cast<size_t>(n) * k, 4);
      for (float& weight : weights) weight = bf16_to_f32(f32_to_bf16(weight));
      const std::vector<float> a = random_floats(size_t{13} * k, 5);
      Arena arena;
      const PackedMatrix wide = pack_rows(arena, Storage::kF32, n, k, weights.data(), Element::kF32);
      const PackedMatrix narrow = pack_rows(arena, Storage::kBf16, n, k, weights.data(), Element::kF32);
      for (const int rows : {1, 2, 3, 4, 7, 13}) {
        const std::vector<float> expected = product(*find_kernels("portable"), wide, rows, a);
        for (const Kernels* kernels : all_paths()) {
          EXPECT_TRUE(same_bits(product(*kernels, narrow, rows, a), expected)) << kernels->name << rows << " n " << n;
          EXPECT_TRUE(same_bits(product(*kernels, wide, rows, a), expected)) << kernels->name << rows << " n " << n;
        }
      }
    }
  }
}

TEST(Storage, Int8IsTheProductTimesTheColumnScaleThenBias) {
  for (const int n : {1, 16, 63, 130}) {
    constexpr int k = 333;
    const std::vector<float> weights = whole_numbers(static_cast<size_t>(n) * k, 6);
    const std::vector<char> bytes = stored(Element::kInt8, weights);
    const std::vector<float> scale = random_floats(n, 7, 1e-3f, 1e-2f);
    const std::vector<float> bias = random_floats(round_up(n, kLanes), 8);
    const std::vector<float> a = random_floats(size_t{7} * k, 9);
    Arena arena;
    const PackedMatrix packed = pack_rows(arena, Storage::kInt8, n, k, bytes.data() + 1, Element::kInt8, scale.data());
    for (const int rows : {1, 2, 3, 7}) {
      const std::vector<float> expected = product(*find_kernels("portable"), packed, rows, a, bias.data());
      for (const Kernels* kernels : all_paths()) {
        EXPECT_TRUE(same_bits(product(*kernels, packed, rows, a, bias.data()), expected)) << kernels->name << rows;
      }
      for (int row = 0; row < rows; ++row) {
        for (int column = 0; column < n; ++column) {
          double sum = 0;
          for (int i = 0; i < k; ++i) sum += static_cast<double>(a[row * k + i]) * weights[column * k + i];
          ASSERT_NEAR(expected[row * n + column], sum * scale[column] + bias[column], 2e-5);
        }
      }
    }
  }
}

TEST(PackRows, Int8InWiderStorageHasItsScaleMultipliedIn) {
  const std::vector<float> weights = whole_numbers(20 * 70, 10);
  const std::vector<char> bytes = stored(Element::kInt8, weights);
  const std::vector<float> scale = random_floats(20, 11);
  Arena arena;
  const PackedMatrix packed = pack_rows(arena, Storage::kF32, 20, 70, bytes.data() + 1, Element::kInt8, scale.data());
  EXPECT_EQ(packed.column_scale, nullptr);
  const auto* data = static_cast<const float*>(packed.data);
  for (int column = 0; column < 20; ++column) {
    for (int i = 0; i < 70; ++i) ASSERT_EQ(data[i * 32 + column], weights[column * 70 + i] * scale[column]);
  }
}

/// A ring filled with random positions up to `last`; everything else is NaN.
struct FilledRing {
  nn::KvRing shape;
  std::vector<float> memory;

  FilledRing(int capacity, int head_dim, Storage storage, int64_t last)
      : shape(capacity, head_dim, storage), memory(shape.floats()) {
    // Every byte 0xff is NaN in both formats.
    std::memset(memory.data(), 0xff, shape.bytes());
    for (int64_t position = std::max<int64_t>(0, last - capacity + 1); position <= last; ++position) {
      std::vector<float> key = random_floats(head_dim, static_cast<uint32_t>(position));
      std::vector<float> value = random_floats(head_dim, static_cast<uint32_t>(position) + 100000);
      for (float& x : key) x = bf16_to_f32(f32_to_bf16(x));
      for (float& x : value) x = bf16_to_f32(f32_to_bf16(x));
      shape.write(memory.data(), position, key.data(), value.data());
    }
  }

  std::vector<float> attend(const Kernels& kernels, int64_t last) const {
    const int64_t oldest = std::max<int64_t>(0, last - shape.capacity() + 1);
    const std::vector<float> query = random_floats(shape.width(), 31);
    std::vector<float> out(shape.width()), scores(2 * round_up(shape.capacity(), kLanes), NAN);
    AttendCall call{.keys = memory.data(), .values = shape.values(memory.data()), .query = query.data()};
    call.out = out.data();
    call.scores = scores.data();
    call.head_dim = shape.width();
    call.capacity = shape.capacity();
    call.first_slot = static_cast<int>(oldest % shape.capacity());
    call.count = static_cast<int>(last - oldest + 1);
    call.scale = 0.4f;
    call.storage = shape.storage();
    kernels.attend(call);
    return out;
  }

  /// Softmax attention in double precision, through read().
  std::vector<double> exact(int64_t last) const {
    const int width = shape.width();
    const std::vector<float> query = random_floats(width, 31);
    std::vector<double> out(width, 0.0);
    std::vector<float> key(width), value(width);
    double total = 0;
    for (int64_t position = std::max<int64_t>(0, last - shape.capacity() + 1); position <= last; ++position) {
      shape.read(memory.data(), position, key.data(), value.data());
      double score = 0;
      for (int d = 0; d < width; ++d) score += static_cast<double>(query[d]) * key[d];
      const double weight = std::exp(score * 0.4f);
      total += weight;
      for (int d = 0; d < width; ++d) out[d] += weight * value[d];
    }
    for (double& x : out) x /= total;
    return out;
  }
};

TEST(Attention, OfNarrowRingsGivesTheBitsOfWideOnes) {
  for (const int capacity : {1, 7, 40, 131, 600}) {
    for (const int head_dim : {16, 64, 80, 128, 208}) {
      for (const int64_t last : {0, 5, 38, 130, 700}) {
        const FilledRing wide(capacity, head_dim, Storage::kF32, last);
        const FilledRing narrow(capacity, head_dim, Storage::kBf16, last);
        const std::vector<double> exact = wide.exact(last);
        const std::vector<float> expected = wide.attend(*find_kernels("portable"), last);
        for (int d = 0; d < head_dim; ++d) ASSERT_NEAR(expected[d], exact[d], 2e-6) << capacity << " " << last;
        for (const Kernels* kernels : all_paths()) {
          EXPECT_TRUE(same_bits(wide.attend(*kernels, last), expected)) << kernels->name << capacity << " " << last;
          EXPECT_TRUE(same_bits(narrow.attend(*kernels, last), expected)) << kernels->name << capacity << " " << last;
        }
      }
    }
  }
}

TEST(Attention, DoesNotDependOnTheCapacityNorOnUnusedSlots) {
  const FilledRing tight(51, 64, Storage::kF32, 50), roomy(3000, 64, Storage::kF32, 50);
  for (const Kernels* kernels : all_paths()) {
    EXPECT_TRUE(same_bits(tight.attend(*kernels, 50), roomy.attend(*kernels, 50))) << kernels->name;
  }
}

TEST(KvRing, ReadsWhatWasWrittenInEitherStorage) {
  const std::vector<float> key = random_floats(20, 41), value = random_floats(20, 42);
  for (const Storage storage : {Storage::kF32, Storage::kBf16}) {
    const nn::KvRing shape(37, 20, storage);
    EXPECT_EQ(shape.bytes(), (48 + 37) * 32 * element_bytes(storage));
    std::vector<float> memory(shape.floats()), got_key(20), got_value(20);
    shape.write(memory.data(), 37 * 5 + 36, key.data(), value.data());
    shape.read(memory.data(), 36, got_key.data(), got_value.data());
    for (int d = 0; d < 20; ++d) {
      const bool rounds = storage == Storage::kBf16;
      EXPECT_EQ(got_key[d], rounds ? bf16_to_f32(f32_to_bf16(key[d])) : key[d]);
      EXPECT_EQ(got_value[d], rounds ? bf16_to_f32(f32_to_bf16(value[d])) : value[d]);
    }
  }
}

}  // namespace
}  // namespace moshi::kernels

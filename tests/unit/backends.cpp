// SPDX-License-Identifier: MIT
// The packed kernels against LibTorch's operators: the same stream within rounding, and rows that can move from one
// backend to the other.
#include <gtest/gtest.h>

#include <cmath>

#include "mimi/packed_codec.h"
#include "mimi/torch_codec.h"
#include "random_source.h"

namespace moshi::mimi {
namespace {

constexpr int kFrames = 20;

struct Encoded {
  std::vector<uint16_t> codes;
  std::vector<float> latents;
};

Encoded encode(Codec& codec, RowState& row, const std::vector<float>& pcm, int begin, int frames) {
  const Config& config = codec.config();
  const int codebooks = config.quantizer.n_q;
  Encoded out{std::vector<uint16_t>(static_cast<size_t>(frames) * codebooks),
              std::vector<float>(static_cast<size_t>(frames) * config.seanet.dimension)};
  for (int frame = 0; frame < frames; ++frame) {
    const EncodeItem item{&row,
                          1,
                          codebooks,
                          &pcm[static_cast<size_t>(begin + frame) * config.frame_samples()],
                          &out.codes[static_cast<size_t>(frame) * codebooks],
                          &out.latents[static_cast<size_t>(frame) * config.seanet.dimension]};
    codec.encode({&item, 1});
  }
  return out;
}

std::vector<float> decode(Codec& codec, RowState& row, const std::vector<uint16_t>& codes) {
  const Config& config = codec.config();
  const int codebooks = config.quantizer.n_q;
  const auto frames = static_cast<int>(codes.size()) / codebooks;
  std::vector<float> pcm(static_cast<size_t>(frames) * config.frame_samples());
  for (int frame = 0; frame < frames; ++frame) {
    const DecodeItem item{&row,
                          1,
                          codebooks,
                          &codes[static_cast<size_t>(frame) * codebooks],
                          &pcm[static_cast<size_t>(frame) * config.frame_samples()],
                          nullptr};
    codec.decode({&item, 1});
  }
  return pcm;
}

void expect_near(const std::vector<float>& a, const std::vector<float>& b, float relative) {
  ASSERT_EQ(a.size(), b.size());
  double power = 0;
  for (const float value : b) power += static_cast<double>(value) * value;
  const auto bound = static_cast<float>(relative * std::sqrt(power / static_cast<double>(b.size())) * 4);
  for (size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], bound) << i;
}

std::vector<Config> configs() {
  Config other = small_config();
  other.frame_rate = 100.0;
  other.seanet.true_skip = false;
  other.transformer.positional = Positional::kSinRope;
  other.transformer.layer_scale = false;
  Config halves = small_config();
  halves.transformer.positional = Positional::kRopeConcat;
  halves.quantizer.n_q = 1;
  return {small_config(), other, halves};
}

TEST(Backends, GiveTheSameLatentsCodesAndAudioWithinRounding) {
  kernels::Pool pool(1);
  for (const Config& config : configs()) {
    const RandomSource source(config);
    const auto packed = make_packed_codec(config, source, true, true, pool, {});
    const auto torch = make_torch_codec(config, source, "cpu", true, true, {});
    const std::vector<float> pcm = noise(config, kFrames, 1);
    const Encoded a = encode(*packed, *packed->make_row(Direction::kEncode), pcm, 0, kFrames);
    const Encoded b = encode(*torch, *torch->make_row(Direction::kEncode), pcm, 0, kFrames);
    expect_near(a.latents, b.latents, 1e-5f);
    EXPECT_EQ(a.codes, b.codes);
    expect_near(decode(*packed, *packed->make_row(Direction::kDecode), b.codes),
                decode(*torch, *torch->make_row(Direction::kDecode), b.codes), 1e-5f);
  }
}

TEST(Backends, ARowSavedByOneGoesOnInTheOther) {
  kernels::Pool pool(1);
  const Config config = small_config();
  const RandomSource source(config);
  const auto packed = make_packed_codec(config, source, true, true, pool, {});
  const auto torch = make_torch_codec(config, source, "cpu", true, true, {});
  const std::vector<float> pcm = noise(config, kFrames, 2);
  const auto whole_row = torch->make_row(Direction::kEncode);
  encode(*torch, *whole_row, pcm, 0, 11);
  std::vector<std::byte> saved(whole_row->saved_bytes());
  whole_row->save(saved.data());
  const Encoded expected = encode(*torch, *whole_row, pcm, 11, 9);
  const auto row = packed->make_row(Direction::kEncode);
  row->load(saved);
  const Encoded moved = encode(*packed, *row, pcm, 11, 9);
  expect_near(moved.latents, expected.latents, 1e-5f);
  EXPECT_EQ(moved.codes, expected.codes);
}

}  // namespace
}  // namespace moshi::mimi

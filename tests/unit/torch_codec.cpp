// SPDX-License-Identifier: MIT
// What the LibTorch backend promises that can be tested without the reference, on a small random model.
#include "mimi/torch_codec.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <set>
#include <stdexcept>

#include "common/error.h"
#include "mimi/row_layout.h"
#include "random_source.h"

namespace moshi::mimi {
namespace {

std::unique_ptr<Codec> make_codec(const Config& config, int max_batch = 0) {
  return make_torch_codec(config, RandomSource(config), "cpu", true, true, {}, max_batch);
}

/// One stream through an encoder: its row and what has come out so far.
struct Encoding {
  Encoding(Codec& codec, std::vector<float> samples, int codebooks)
      : config(codec.config()), row(codec.make_row(Direction::kEncode)), pcm(std::move(samples)), k(codebooks) {
    const size_t total = pcm.size() / static_cast<size_t>(config.frame_samples());
    codes.resize(total * static_cast<size_t>(k));
    latent.resize(total * static_cast<size_t>(config.quantizer.input_dimension));
  }
  EncodeItem next(int frames) {
    EncodeItem item{row.get(),
                    frames,
                    k,
                    pcm.data() + done * config.frame_samples(),
                    codes.data() + done * k,
                    latent.data() + done * config.quantizer.input_dimension};
    done += frames;
    return item;
  }

  const Config& config;
  std::unique_ptr<RowState> row;
  std::vector<float> pcm;
  int k;
  int done = 0;
  std::vector<uint16_t> codes;
  std::vector<float> latent;
};

struct Decoding {
  Decoding(Codec& codec, std::vector<uint16_t> all, int codebooks)
      : config(codec.config()), row(codec.make_row(Direction::kDecode)), codes(std::move(all)), k(codebooks) {
    const size_t total = codes.size() / static_cast<size_t>(k);
    pcm.resize(total * static_cast<size_t>(config.frame_samples()));
    latent.resize(total * static_cast<size_t>(config.quantizer.output_dimension));
  }
  DecodeItem next(int frames) {
    DecodeItem item{row.get(),
                    frames,
                    k,
                    codes.data() + done * k,
                    pcm.data() + done * config.frame_samples(),
                    latent.data() + done * config.quantizer.output_dimension};
    done += frames;
    return item;
  }

  const Config& config;
  std::unique_ptr<RowState> row;
  std::vector<uint16_t> codes;
  int k;
  int done = 0;
  std::vector<float> pcm;
  std::vector<float> latent;
};

template <class Item>
void run(Codec& codec, std::vector<Item> items) {
  if constexpr (std::is_same_v<Item, EncodeItem>) {
    codec.encode(items);
  } else {
    codec.decode(items);
  }
}

std::vector<std::byte> saved(const RowState& row) {
  std::vector<std::byte> bytes(row.saved_bytes());
  row.save(bytes.data());
  return bytes;
}

double relative_error(const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0.0;
  double size = 0.0;
  for (size_t i = 0; i < b.size(); ++i) {
    error = std::max(error, std::fabs(static_cast<double>(a[i]) - b[i]));
    size = std::max(size, std::fabs(static_cast<double>(b[i])));
  }
  return error / size;
}

constexpr int kFrames = 15;  // the ring of small_config() is full after 4 and a half frames

TEST(TorchCodec, CodesAreDiverse) {
  const Config config = small_config();
  ASSERT_EQ(config.steps_per_frame(), 2);
  const auto codec = make_codec(config);
  Encoding stream(*codec, noise(config, 60, 1), 5);
  run<EncodeItem>(*codec, {stream.next(60)});
  for (int level = 0; level < 5; ++level) {
    std::set<uint16_t> seen;
    for (int frame = 0; frame < 60; ++frame) seen.insert(stream.codes[static_cast<size_t>(frame * 5 + level)]);
    EXPECT_GT(seen.size(), 5u) << "level " << level;
    EXPECT_LT(*seen.rbegin(), 60u);
  }
}

TEST(TorchCodec, GroupingAndNeighborsDoNotChangeABit) {
  const Config config = small_config();
  const auto codec = make_codec(config);
  Encoding alone(*codec, noise(config, kFrames, 1), 5);
  for (int i = 0; i < kFrames; ++i) run<EncodeItem>(*codec, {alone.next(1)});
  Encoding a(*codec, noise(config, kFrames, 1), 5);
  Encoding b(*codec, noise(config, kFrames, 2), 1);
  Encoding c(*codec, noise(config, kFrames, 3), 3);
  run<EncodeItem>(*codec, {b.next(3), a.next(8), c.next(0)});
  run<EncodeItem>(*codec, {a.next(2), c.next(9)});
  run<EncodeItem>(*codec, {c.next(2), b.next(6), a.next(5)});
  EXPECT_EQ(a.codes, alone.codes);
  EXPECT_EQ(a.latent, alone.latent);

  Decoding decoded_alone(*codec, alone.codes, 5);
  for (int i = 0; i < kFrames; ++i) run<DecodeItem>(*codec, {decoded_alone.next(1)});
  Decoding d(*codec, alone.codes, 5);
  Decoding e(*codec, b.codes, 1);
  run<DecodeItem>(*codec, {d.next(7), e.next(9)});
  run<DecodeItem>(*codec, {e.next(1), d.next(8)});
  EXPECT_EQ(d.pcm, decoded_alone.pcm);
  EXPECT_EQ(d.latent, decoded_alone.latent);
}

TEST(TorchCodec, BatchedRowsAgreeWithinRounding) {
  const Config config = small_config();
  const auto plain = make_codec(config, 1);
  const auto batched = make_codec(config, 8);
  Encoding a1(*plain, noise(config, kFrames, 1), 5), b1(*plain, noise(config, 9, 2), 2);
  run<EncodeItem>(*plain, {a1.next(kFrames), b1.next(9)});
  Encoding a2(*batched, noise(config, kFrames, 1), 5), b2(*batched, noise(config, 9, 2), 2);
  run<EncodeItem>(*batched, {a2.next(4)});
  run<EncodeItem>(*batched, {b2.next(9), a2.next(11)});
  EXPECT_LT(relative_error(a2.latent, a1.latent), 1e-5);
  EXPECT_LT(relative_error(b2.latent, b1.latent), 1e-5);
  EXPECT_EQ(a2.codes, a1.codes);
  EXPECT_EQ(b2.codes, b1.codes);

  Decoding d1(*plain, a1.codes, 5), e1(*plain, b1.codes, 2);
  run<DecodeItem>(*plain, {d1.next(kFrames), e1.next(9)});
  Decoding d2(*batched, a1.codes, 5), e2(*batched, b1.codes, 2);
  run<DecodeItem>(*batched, {e2.next(2)});
  run<DecodeItem>(*batched, {d2.next(kFrames), e2.next(7)});
  EXPECT_LT(relative_error(d2.pcm, d1.pcm), 1e-5);
  EXPECT_LT(relative_error(e2.pcm, e1.pcm), 1e-5);
  EXPECT_LT(relative_error(e2.latent, e1.latent), 1e-5);
}

TEST(TorchCodec, FewerCodebooksAreAPrefix) {
  const Config config = small_config();
  const auto codec = make_codec(config);
  Encoding all(*codec, noise(config, kFrames, 1), 5), two(*codec, noise(config, kFrames, 1), 2);
  run<EncodeItem>(*codec, {all.next(kFrames), two.next(kFrames)});
  for (size_t frame = 0; frame < kFrames; ++frame) {
    EXPECT_EQ(two.codes[frame * 2], all.codes[frame * 5]);
    EXPECT_EQ(two.codes[frame * 2 + 1], all.codes[frame * 5 + 1]);
  }
}

TEST(TorchCodec, RowsThatAreNotListedStayAsTheyAre) {
  const Config config = small_config();
  const auto codec = make_codec(config, 8);
  Encoding a(*codec, noise(config, kFrames, 1), 5), b(*codec, noise(config, kFrames, 2), 5);
  run<EncodeItem>(*codec, {a.next(6), b.next(6)});
  const std::vector<std::byte> before = saved(*b.row);
  run<EncodeItem>(*codec, {a.next(5)});
  a.row->reset();
  EXPECT_EQ(saved(*b.row), before);
}

TEST(TorchCodec, ResetStartsAnew) {
  const Config config = small_config();
  const auto codec = make_codec(config);
  Encoding first(*codec, noise(config, kFrames, 1), 5), other(*codec, noise(config, kFrames, 2), 5);
  run<EncodeItem>(*codec, {first.next(kFrames), other.next(kFrames)});
  const std::vector<uint16_t> codes = first.codes;
  other.row->reset();
  EXPECT_EQ(saved(*other.row), saved(*codec->make_row(Direction::kEncode)));
  first.row = std::move(other.row);
  first.done = 0;
  run<EncodeItem>(*codec, {first.next(kFrames)});
  EXPECT_EQ(first.codes, codes);

  Decoding decoding(*codec, codes, 5);
  run<DecodeItem>(*codec, {decoding.next(kFrames)});
  const std::vector<float> pcm = decoding.pcm;
  decoding.row->reset();
  decoding.done = 0;
  run<DecodeItem>(*codec, {decoding.next(kFrames)});
  EXPECT_EQ(decoding.pcm, pcm);
}

// Before the ring is full, right at the wrap and long after it.
class TorchRowAt : public testing::TestWithParam<int> {};

TEST_P(TorchRowAt, SaveAndLoadContinueTheStream) {
  const Config config = small_config();
  const auto codec = make_codec(config);
  const int rest = 6;
  Encoding stream(*codec, noise(config, GetParam() + rest, 1), 5);
  run<EncodeItem>(*codec, {stream.next(GetParam())});
  const std::vector<std::byte> state = saved(*stream.row);
  EXPECT_EQ(state.size(), row_layout(config, Direction::kEncode).saved_bytes());
  const auto copy = stream.row->clone();
  run<EncodeItem>(*codec, {stream.next(rest)});
  const std::vector<uint16_t> codes = stream.codes;
  const std::vector<float> latent = stream.latent;
  EXPECT_EQ(saved(*copy), state) << "a clone shares nothing";

  Encoding loaded(*codec, noise(config, 3, 9), 5);
  run<EncodeItem>(*codec, {loaded.next(3)});
  loaded.row->load(state);
  EXPECT_EQ(saved(*loaded.row), state);
  for (auto* row : {&loaded.row, const_cast<std::unique_ptr<RowState>*>(&copy)}) {
    std::fill(stream.latent.begin(), stream.latent.end(), 0.0f);
    stream.row = (*row)->clone();
    stream.done = GetParam();
    run<EncodeItem>(*codec, {stream.next(rest)});
    EXPECT_EQ(stream.codes, codes);
    const auto tail = static_cast<std::ptrdiff_t>(GetParam() * config.quantizer.input_dimension);
    EXPECT_TRUE(std::equal(latent.begin() + tail, latent.end(), stream.latent.begin() + tail));
  }
}

TEST_P(TorchRowAt, DecoderStateRoundTrip) {
  const Config config = small_config();
  const auto codec = make_codec(config);
  std::vector<uint16_t> codes;
  for (int i = 0; i < (GetParam() + 6) * 5; ++i) codes.push_back(static_cast<uint16_t>(i * 37 % 60));
  Decoding stream(*codec, codes, 5);
  run<DecodeItem>(*codec, {stream.next(GetParam())});
  const std::vector<std::byte> state = saved(*stream.row);
  run<DecodeItem>(*codec, {stream.next(6)});
  const std::vector<float> pcm = stream.pcm;
  stream.row = codec->make_row(Direction::kDecode);
  stream.row->load(state);
  stream.done = GetParam();
  run<DecodeItem>(*codec, {stream.next(6)});
  EXPECT_EQ(stream.pcm, pcm);
}

INSTANTIATE_TEST_SUITE_P(Frames, TorchRowAt, testing::Values(0, 1, 4, 5, 23));

TEST(TorchCodec, SavedHistoryIsTimeByChannel) {
  const Config config = small_config();
  const auto codec = make_codec(config);
  Encoding stream(*codec, noise(config, 1, 1), 5);
  run<EncodeItem>(*codec, {stream.next(1)});
  const std::vector<std::byte> state = saved(*stream.row);
  // The first convolution's history is the last six samples.
  float history[6];
  std::memcpy(history, state.data() + kRowHeadBytes, sizeof(history));
  for (int i = 0; i < 6; ++i) EXPECT_EQ(history[i], stream.pcm[stream.pcm.size() - 6 + static_cast<size_t>(i)]);
}

TEST(TorchCodec, StatesOfOtherShapesAreRefused) {
  const Config config = small_config();
  const auto codec = make_codec(config);
  const std::vector<std::byte> state = saved(*codec->make_row(Direction::kDecode));
  try {
    codec->make_row(Direction::kEncode)->load(state);
    FAIL() << "a decoder's state was taken by an encoder's row";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), MOSHI_ERR_FORMAT);
  }
}

// One level, one layer and kernels of one make the reach exact. Steps 0 to 2 hear a change in frame 0. A frame's steps
// see the keys after last - 7, so that frame 3 (last step 7) is the last to see step 2, and the downsampling hands it
// on to frame 4. Were each step's own position the measure, step 8 would still see step 2, and frame 5 would hear it.
TEST(TorchCodec, RingForgetsFromTheFramesLastStep) {
  Config config = small_config();
  config.frame_rate = 500.0;
  config.seanet.ratios = {8};
  config.seanet.kernel_size = config.seanet.last_kernel_size = config.seanet.residual_kernel_size = 1;
  config.transformer.num_layers = 1;
  config.transformer.context = 7;
  ASSERT_EQ(config.steps_per_frame(), 2);
  const auto codec = make_codec(config);
  Encoding a(*codec, noise(config, 8, 1), 5);
  std::vector<float> changed = a.pcm;
  for (int i = 0; i < config.frame_samples(); ++i) changed[static_cast<size_t>(i)] += 0.5f;
  Encoding b(*codec, changed, 5);
  run<EncodeItem>(*codec, {a.next(8), b.next(8)});
  const auto same = [&](int frame) {
    const size_t width = static_cast<size_t>(config.quantizer.input_dimension);
    return std::memcmp(a.latent.data() + frame * width, b.latent.data() + frame * width, width * sizeof(float)) == 0;
  };
  for (int frame = 0; frame <= 4; ++frame) EXPECT_FALSE(same(frame)) << "frame " << frame;
  for (int frame = 5; frame < 8; ++frame) EXPECT_TRUE(same(frame)) << "frame " << frame;
}

class TorchShape : public testing::TestWithParam<Positional> {};

TEST_P(TorchShape, OtherShapesStream) {
  Config config = small_config();
  config.seanet.true_skip = false;
  config.seanet.ratios = {8, 4, 5};
  config.transformer.positional = GetParam();
  config.transformer.layer_scale = false;
  ASSERT_EQ(config.steps_per_frame(), 1);
  const auto codec = make_codec(config);
  Encoding one(*codec, noise(config, kFrames, 1), 5), other(*codec, noise(config, kFrames, 1), 5);
  run<EncodeItem>(*codec, {one.next(kFrames)});
  for (int i = 0; i < kFrames; ++i) run<EncodeItem>(*codec, {other.next(1)});
  EXPECT_EQ(one.latent, other.latent);
  Decoding decoded(*codec, one.codes, 5);
  run<DecodeItem>(*codec, {decoded.next(kFrames)});
  for (const float sample : decoded.pcm) ASSERT_TRUE(std::isfinite(sample));
}

INSTANTIATE_TEST_SUITE_P(Positions, TorchShape,
                         testing::Values(Positional::kNone, Positional::kRope, Positional::kRopeConcat,
                                         Positional::kSin));

template <class Fn>
MoshiStatus status_of(const Fn& fn) {
  try {
    fn();
  } catch (const Error& error) {
    return error.status();
  }
  return MOSHI_OK;
}

TEST(TorchCodec, LoadsOnlyWhatIsWanted) {
  const Config config = small_config();
  const RandomSource source(config);
  const auto encoder = make_torch_codec(config, source, "cpu", true, false, {});
  EXPECT_LT(encoder->weight_bytes(), make_codec(config)->weight_bytes());
  EXPECT_EQ(status_of([&] { encoder->make_row(Direction::kDecode); }), MOSHI_ERR_INVALID_ARGUMENT);
  const auto row = encoder->make_row(Direction::kEncode);
  uint16_t codes[5] = {};
  const DecodeItem item{row.get(), 1, 5, codes, nullptr, nullptr};
  EXPECT_EQ(status_of([&] { encoder->decode({&item, 1}); }), MOSHI_ERR_INVALID_ARGUMENT);
}

TEST(TorchCodec, ProgressGrowsToOneAndCanEndTheLoad) {
  const Config config = small_config();
  const RandomSource source(config);
  std::vector<double> fractions;
  make_torch_codec(config, source, "cpu", true, true, [&](double fraction) { fractions.push_back(fraction); });
  EXPECT_TRUE(std::is_sorted(fractions.begin(), fractions.end()));
  EXPECT_GT(fractions.size(), 20u);
  EXPECT_EQ(fractions.back(), 1.0);
  const auto stop = [](double) { throw Error(MOSHI_ERR_CANCELLED, "enough"); };
  EXPECT_EQ(status_of([&] { make_torch_codec(config, source, "cpu", true, true, stop); }), MOSHI_ERR_CANCELLED);
}

TEST(TorchCodec, ErrorsNameWhatIsWrong) {
  const Config config = small_config();
  RandomSource source(config);
  for (const char* device : {"tpu", "cuda:", "cuda:x", "cuda:999", "CPU", ""}) {
    EXPECT_EQ(status_of([&] { make_torch_codec(config, source, device, true, true, {}); }), MOSHI_ERR_NO_DEVICE)
        << device;
  }
  source.short_tensor = "encoder.model.0.conv.conv.bias";
  try {
    make_torch_codec(config, source, "cpu", true, true, {});
    FAIL() << "a tensor of the wrong size was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), MOSHI_ERR_MISMATCH);
    EXPECT_NE(std::string(error.what()).find(source.short_tensor), std::string::npos);
  }
  Config narrow = config;
  narrow.transformer.context = 1;
  EXPECT_EQ(status_of([&] { make_codec(narrow); }), MOSHI_ERR_MISMATCH);
}

}  // namespace
}  // namespace moshi::mimi

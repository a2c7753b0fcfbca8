// SPDX-License-Identifier: MIT
// What the packed backend promises: a row's bits depend on its own history alone.
#include "mimi/packed_codec.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "random_source.h"

namespace moshi::mimi {
namespace {

constexpr int kFrames = 24;  // far beyond the ring's nine steps

struct Result {
  std::vector<uint16_t> codes;
  std::vector<float> latents;
  bool operator==(const Result&) const = default;
};

/// A stream of the test: its row, its samples and what came out so far.
struct Stream {
  Stream(const Codec& codec, unsigned seed, int codebooks = 5)
      : row(codec.make_row(Direction::kEncode)),
        decoder(codec.make_row(Direction::kDecode)),
        pcm(noise(codec.config(), kFrames, seed)),
        codebooks(codebooks),
        samples(codec.config().frame_samples()),
        width(codec.config().seanet.dimension) {
    result.codes.resize(static_cast<size_t>(kFrames) * codebooks);
    result.latents.resize(static_cast<size_t>(kFrames) * width);
    audio.resize(pcm.size());
  }

  EncodeItem encode(int frames) {
    EncodeItem item{row.get(),
                    frames,
                    codebooks,
                    &pcm[done * samples],
                    &result.codes[done * codebooks],
                    &result.latents[done * width]};
    done += frames;
    return item;
  }
  DecodeItem decode(int frames) {
    DecodeItem item{decoder.get(), frames, codebooks, &result.codes[decoded * codebooks], &audio[decoded * samples],
                    nullptr};
    decoded += frames;
    return item;
  }

  std::unique_ptr<RowState> row, decoder;
  std::vector<float> pcm;
  int codebooks;
  size_t samples, width, done = 0, decoded = 0;
  Result result;
  std::vector<float> audio;
};

struct Alone {
  Result encoded;
  std::vector<float> audio;
};

Alone run_alone(Codec& codec, unsigned seed, int codebooks = 5, int group = 1) {
  Stream stream(codec, seed, codebooks);
  for (int frame = 0; frame < kFrames; frame += group) {
    const int frames = std::min(group, kFrames - frame);
    const EncodeItem item = stream.encode(frames);
    codec.encode({&item, 1});
    const DecodeItem back = stream.decode(frames);
    codec.decode({&back, 1});
  }
  return {stream.result, stream.audio};
}

std::unique_ptr<Codec> packed(const Config& config, kernels::Pool& pool, const char* path = nullptr) {
  return make_packed_codec(config, RandomSource(config), true, true, pool, {},
                           path ? kernels::find_kernels(path) : nullptr);
}

std::vector<Config> configs() {
  Config one_step = small_config();  // no resampling, no projections, a shortcut convolution, sines, no layer scale
  one_step.frame_rate = 100.0;
  one_step.seanet.true_skip = false;
  one_step.seanet.n_residual_layers = 1;
  one_step.transformer.d_model = 24;
  one_step.transformer.num_heads = 3;
  one_step.transformer.positional = Positional::kSin;
  one_step.transformer.layer_scale = false;
  Config wide = small_config();
  wide.seanet.ratios = {4, 5, 4};
  wide.seanet.n_filters = 9;
  wide.seanet.compress = 3;
  wide.transformer.positional = Positional::kRopeConcat;
  wide.quantizer.n_q = 1;
  return {small_config(), one_step, wide};
}

TEST(PackedCodec, CodesAreDiverse) {
  kernels::Pool pool(1);
  const auto codec = packed(small_config(), pool);
  const Alone alone = run_alone(*codec, 1);
  const std::set<uint16_t> codes(alone.encoded.codes.begin(), alone.encoded.codes.end());
  EXPECT_GT(codes.size(), 15u);
}

TEST(PackedCodec, GroupingOfFramesDoesNotChangeABit) {
  kernels::Pool pool(1);
  for (const Config& config : configs()) {
    const auto codec = packed(config, pool);
    const int codebooks = config.quantizer.n_q;
    const Alone expected = run_alone(*codec, 1, codebooks);
    for (const int group : {2, 5, 17, kFrames}) {
      const Alone grouped = run_alone(*codec, 1, codebooks, group);
      EXPECT_EQ(grouped.encoded, expected.encoded) << group;
      EXPECT_EQ(grouped.audio, expected.audio) << group;
    }
  }
}

TEST(PackedCodec, InstructionSetsAndThreadsDoNotChangeABit) {
  kernels::Pool one(1), two(2);
  for (const Config& config : configs()) {
    const int codebooks = config.quantizer.n_q;
    const Alone expected = run_alone(*packed(config, one, "portable"), 1, codebooks);
    for (const char* path : {"portable", "avx2", "avx512"}) {
      if (!kernels::find_kernels(path)) continue;
      for (kernels::Pool* pool : {&one, &two}) {
        const Alone other = run_alone(*packed(config, *pool, path), 1, codebooks);
        EXPECT_EQ(other.encoded, expected.encoded) << path << ' ' << pool->threads();
        EXPECT_EQ(other.audio, expected.audio) << path << ' ' << pool->threads();
      }
    }
  }
}

TEST(PackedCodec, NeighborsThatJoinLeaveAndRaggedCallsDoNotChangeABit) {
  kernels::Pool pool(1);
  const auto codec = packed(small_config(), pool);
  std::vector<Alone> expected;
  for (unsigned seed = 0; seed < 9; ++seed) expected.push_back(run_alone(*codec, seed, 1 + seed % 5));
  std::vector<Stream> streams;
  for (unsigned seed = 0; seed < 9; ++seed) streams.emplace_back(*codec, seed, 1 + seed % 5);
  std::mt19937 random(3);
  const auto pick = [&](auto progress, auto make, auto run) {
    while (true) {
      std::vector<decltype(make(streams[0], 1))> items;
      bool left = false;
      for (Stream& stream : streams) {
        const auto remaining = kFrames - static_cast<int>(progress(stream));
        if (remaining > 0) left = true;
        const int frames = std::min<int>(remaining, static_cast<int>(random() % 4));
        if (frames > 0) items.push_back(make(stream, frames));
      }
      if (!left) return;
      if (!items.empty()) run(items);
    }
  };
  pick([](Stream& s) { return s.done; }, [](Stream& s, int n) { return s.encode(n); },
       [&](auto& items) { codec->encode(items); });
  pick([](Stream& s) { return s.decoded; }, [](Stream& s, int n) { return s.decode(n); },
       [&](auto& items) { codec->decode(items); });
  for (size_t i = 0; i < streams.size(); ++i) {
    EXPECT_EQ(streams[i].result, expected[i].encoded) << i;
    EXPECT_EQ(streams[i].audio, expected[i].audio) << i;
  }
}

TEST(PackedCodec, FewerCodebooksAreAPrefix) {
  kernels::Pool pool(1);
  const auto codec = packed(small_config(), pool);
  const Alone all = run_alone(*codec, 4, 5);
  for (const int codebooks : {1, 2, 4}) {
    const Alone fewer = run_alone(*codec, 4, codebooks);
    for (int frame = 0; frame < kFrames; ++frame) {
      for (int k = 0; k < codebooks; ++k) {
        EXPECT_EQ(fewer.encoded.codes[frame * codebooks + k], all.encoded.codes[frame * 5 + k]);
      }
    }
  }
}

TEST(PackedCodec, ResetGivesANewStreamAndCloneGoesOn) {
  kernels::Pool pool(1);
  const auto codec = packed(small_config(), pool);
  const Alone expected = run_alone(*codec, 6);
  Stream used(*codec, 6);
  EncodeItem item = used.encode(13);
  codec->encode({&item, 1});
  used.row->reset();
  used.done = 0;
  item = used.encode(10);
  codec->encode({&item, 1});
  used.row = used.row->clone();
  item = used.encode(kFrames - 10);
  codec->encode({&item, 1});
  EXPECT_EQ(used.result, expected.encoded);
}

TEST(PackedCodec, SavedRowsGoOnAsIfNothingHadHappened) {
  kernels::Pool pool(1);
  for (const Config& config : configs()) {
    const auto codec = packed(config, pool);
    const int codebooks = config.quantizer.n_q;
    const Alone expected = run_alone(*codec, 8, codebooks);
    for (const int before : {0, 1, 3, 12}) {
      Stream stream(*codec, 8, codebooks);
      if (before) {
        const EncodeItem item = stream.encode(before);
        codec->encode({&item, 1});
      }
      std::vector<std::byte> saved(stream.row->saved_bytes());
      stream.row->save(saved.data());
      stream.row = codec->make_row(Direction::kEncode);
      stream.row->load(saved);
      const EncodeItem item = stream.encode(kFrames - before);
      codec->encode({&item, 1});
      EXPECT_EQ(stream.result, expected.encoded) << before;

      stream.decoded = 0;
      if (before) {
        const DecodeItem back = stream.decode(before);
        codec->decode({&back, 1});
      }
      saved.resize(stream.decoder->saved_bytes());
      stream.decoder->save(saved.data());
      stream.decoder = codec->make_row(Direction::kDecode);
      stream.decoder->load(saved);
      const DecodeItem back = stream.decode(kFrames - before);
      codec->decode({&back, 1});
      EXPECT_EQ(stream.audio, expected.audio) << before;
    }
  }
}

TEST(PackedCodec, OneDirectionAloneIsEnough) {
  kernels::Pool pool(1);
  const Config config = small_config();
  const auto both = packed(config, pool);
  const auto encoder = make_packed_codec(config, RandomSource(config), true, false, pool, {});
  EXPECT_LT(encoder->weight_bytes(), both->weight_bytes());
  Stream a(*both, 2), b(*both, 2);
  b.row = encoder->make_row(Direction::kEncode);
  const EncodeItem item_a = a.encode(kFrames), item_b = b.encode(kFrames);
  both->encode({&item_a, 1});
  encoder->encode({&item_b, 1});
  EXPECT_EQ(a.result, b.result);
}

TEST(PackedCodec, ProgressRisesToOneAndItsExceptionEndsTheLoad) {
  kernels::Pool pool(1);
  const Config config = small_config();
  double last = 0;
  make_packed_codec(config, RandomSource(config), true, true, pool, [&](double fraction) {
    EXPECT_GE(fraction, last);
    last = fraction;
  });
  EXPECT_EQ(last, 1.0);
  EXPECT_THROW(make_packed_codec(config, RandomSource(config), true, true, pool,
                                 [](double fraction) {
                                   if (fraction > 0.3) throw Error(MOSHI_ERR_CANCELLED, "enough");
                                 }),
               Error);
}

}  // namespace
}  // namespace moshi::mimi

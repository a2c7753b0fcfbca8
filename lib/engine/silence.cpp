// SPDX-License-Identifier: MIT
#include "engine/silence.h"

#include <span>

#include "common/error.h"
#include "common/log.h"
#include "engine/environment.h"
#include "engine/memory.h"

namespace moshi::engine {
namespace {

/// Two seconds: longer than the encoder's convolutions reach back.
constexpr int kFrames = 26;

void unknown(const LmFacts& facts, const std::string& why) {
  log(MOSHI_LOG_WARNING, "engine", "the codes of silence are unknown to " + facts.file + ": " + why);
}

std::vector<int32_t> last_codes(Executor& executor, mimi::Codec& codec, int wanted,
                                const std::function<void()>& check) {
  const auto row = codec.make_row(mimi::Direction::kEncode);
  const std::vector<float> pcm(static_cast<size_t>(codec.config().frame_samples()));
  std::vector<uint16_t> codes(static_cast<size_t>(wanted));
  const mimi::EncodeItem item{row.get(), 1, wanted, pcm.data(), codes.data(), nullptr};
  for (int frame = 0; frame < kFrames; ++frame) {
    executor.run([&] { codec.encode(std::span(&item, 1)); });
    check();
  }
  return {codes.begin(), codes.end()};
}

Silence encode(Executor& executor, const LmFacts& facts, const std::function<void()>& check) {
  constexpr mimi::Direction kEncoder[] = {mimi::Direction::kEncode};
  const auto source = environment().open_source({facts.mimi_file, "", facts.mimi_config});
  const mimi::Config& config = source->facts().config;
  const int wanted = facts.config.user_streams();
  Silence silence;
  if (config.quantizer.n_q < wanted || config.quantizer.bins != facts.config.card) {
    unknown(facts, facts.mimi_file + " has " + std::to_string(config.quantizer.n_q) + " codebooks of " +
                       std::to_string(config.quantizer.bins) + " codes, the model listens to " +
                       std::to_string(wanted) + " of " + std::to_string(facts.config.card));
    return silence;
  }
  Reservation memory = reserve_memory(source->weight_bytes(kEncoder), "encoding silence with " + facts.mimi_file);
  silence.sha256 = source->sha256();
  check();
  const std::function<void(double)> progress = [&](double) { check(); };
  const auto codec = environment().make_codec(
      {config, source->tensors(), kEncoder, Backend::kPacked, "cpu", executor.pool(), progress});
  memory.release();
  silence.codes = last_codes(executor, *codec, wanted, check);
  return silence;
}

}  // namespace

Silence encode_silence(Executor& executor, const LmFacts& facts, const std::function<void()>& check) {
  if (facts.mimi_file.empty() || facts.config.user_streams() < 1) return {};
  try {
    return encode(executor, facts, check);
  } catch (const Error& error) {
    if (error.status() == MOSHI_ERR_CANCELLED) throw;
    unknown(facts, error.what());
  } catch (const std::bad_alloc&) {
    unknown(facts, "there is not enough memory to load " + facts.mimi_file);
  }
  return {};
}

}  // namespace moshi::engine

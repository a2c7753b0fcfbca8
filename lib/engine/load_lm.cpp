// SPDX-License-Identifier: MIT
#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <string>
#include <utility>

#include "common/error.h"
#include "engine/environment.h"
#include "engine/load_model.h"
#include "engine/memory.h"
#include "engine/silence.h"
#include "engine/warm_up.h"

namespace moshi::engine {
namespace {

/// Of the weights' size: what packing and the first steps take beside them.
constexpr uint64_t kScratchPart = 64;

Lane make_lane(lm::LanguageModel* language_model) {
  Lane lane;
  lane.work = Work::kStep;
  lane.language_model = language_model;
  lane.frames_to_fill = std::max(language_model->config().temporal.context, 1);
  return lane;
}

/// The digest of a weight file, made on a thread of its own while the weights are packed: both read all of it.
class Hashing {
 public:
  explicit Hashing(const lm::Weights& weights)
      : digest_(std::async(std::launch::async, [this, &weights] {
          return weights.sha256([this] {
            if (stop_) throw Error(MOSHI_ERR_CANCELLED, "loading was cancelled");
          });
        })) {}
  /// Ends the thread, if it has not ended.
  ~Hashing() {
    stop_ = true;
    if (digest_.valid()) digest_.wait();
  }
  /// Waits for it; what `check` throws ends the wait.
  std::string result(const std::function<void()>& check) {
    while (digest_.wait_for(std::chrono::milliseconds(100)) != std::future_status::ready) check();
    return digest_.get();
  }

 private:
  std::atomic<bool> stop_{false};
  std::future<std::string> digest_;
};

}  // namespace

Loaded load_language_model(const LoadContext& context, const LmSource& source) {
  const Model& model = context.model;
  const LmFacts& facts = *model.facts().lm;
  const bool bf16 = model.precision() == MOSHI_PRECISION_BF16;
  context.report(0.0, "reading");
  const uint64_t packed = environment().lm_packed_bytes(facts.config, source.weights(), bf16, facts.lora_separate);
  Reservation memory = reserve_memory(packed + packed / kScratchPart, "loading " + facts.file);

  Loaded loaded;
  Hashing hashing(source.weights());
  const std::function<void(double)> progress = [&](double fraction) {
    context.report(kPacked * std::clamp(fraction, 0.0, 1.0), "packing");
  };
  loaded.language_model = environment().make_language_model(
      {facts.config, source.weights(), bf16, facts.lora_separate, model.executor().pool(), progress});
  memory.release();
  loaded.sha256 = hashing.result([&] { context.report(kPacked, "reading"); });

  const auto check = [&] { context.report(kPacked, "warming up"); };
  check();
  Lane& lane = loaded.lanes[index_of(Work::kStep)];
  lane = make_lane(loaded.language_model.get());
  warm_up(model.executor(), lane, check);
  Silence silence = encode_silence(model.executor(), facts, check);
  loaded.silence = std::move(silence.codes);
  loaded.mimi_sha256 = std::move(silence.sha256);
  return loaded;
}

}  // namespace moshi::engine

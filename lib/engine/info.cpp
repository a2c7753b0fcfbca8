// SPDX-License-Identifier: MIT
#include "engine/info.h"

#include <cmath>

#include "engine/errors.h"
#include "engine/memory.h"
#include "engine/session.h"

namespace moshi::engine {
namespace {

/// The fraction with the smallest denominator that is the rate: 12.5 is 25/2.
void set_frame_rate(double rate, MoshiEngineInfo& info) {
  constexpr int kMostDenominator = 1001;
  for (int denominator = 1; denominator <= kMostDenominator; ++denominator) {
    const double numerator = rate * denominator;
    if (std::abs(numerator - std::round(numerator)) > 1e-9 * numerator) continue;
    info.frame_rate_numerator = static_cast<int32_t>(std::lround(numerator));
    info.frame_rate_denominator = denominator;
    return;
  }
  info.frame_rate_numerator = static_cast<int32_t>(std::lround(rate * kMostDenominator));
  info.frame_rate_denominator = kMostDenominator;
}

int64_t processing_ns(const Model& model, mimi::Direction direction) {
  const Lane* lane = model.lane(direction);
  return lane ? lane->processing_ns : 0;
}

}  // namespace

MoshiEngineInfo describe(const Engine& engine) {
  const Model& model = *engine.model;
  const ModelFacts& facts = engine.facts;
  MoshiEngineInfo info = MOSHI_INIT(MoshiEngineInfo);
  info.model_path = facts.model_path.c_str();
  info.mimi_file = facts.mimi_file.c_str();
  info.mimi_sha256 = model.sha256().c_str();
  info.mimi_bytes = facts.mimi_bytes;
  info.sample_rate = facts.config.sample_rate;
  info.frame_samples = facts.config.frame_samples();
  set_frame_rate(facts.config.frame_rate, info);
  info.codebooks = facts.config.quantizer.n_q;
  info.cardinality = facts.config.quantizer.bins;
  info.latent_width = facts.config.seanet.dimension;
  info.device = model.device().c_str();
  info.kernels = model.kernels();
  info.precision = model.precision();
  info.threads = model.executor().threads();
  info.processing_ns_encode = processing_ns(model, mimi::Direction::kEncode);
  info.processing_ns_decode = processing_ns(model, mimi::Direction::kDecode);
  return info;
}

MoshiEngineLimits describe_limits(const Engine& engine, uint32_t roles) {
  if (roles & ~engine.roles) invalid("engine_limits(): the engine was not opened for all of these roles");
  MoshiEngineLimits limits = MOSHI_INIT(MoshiEngineLimits);
  limits.bytes_weights = engine.model->weight_bytes();
  limits.bytes_session = row_bytes(*engine.model, roles);
  limits.bytes_free = unreserved_memory();
  limits.sessions_open = engine.model->sessions();
  return limits;
}

MoshiEngineStats describe_stats(const Engine& engine) {
  MoshiEngineStats sum = MOSHI_INIT(MoshiEngineStats);
  for (const mimi::Direction direction : {mimi::Direction::kEncode, mimi::Direction::kDecode}) {
    const Lane* lane = engine.model->lane(direction);
    if (!lane) continue;
    const LaneStats stats = engine.model->executor().stats(*lane);
    sum.calls += stats.calls;
    sum.frames += stats.frames;
    sum.batched_rows += stats.batched_rows;
    sum.deadline_miss += stats.deadline_miss;
    sum.busy_ns += stats.busy_ns;
  }
  return sum;
}

}  // namespace moshi::engine

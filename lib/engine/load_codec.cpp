// SPDX-License-Identifier: MIT
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "engine/environment.h"
#include "engine/load_model.h"
#include "engine/memory.h"
#include "engine/warm_up.h"

namespace moshi::engine {
namespace {

Lane make_lane(const mimi::Config& config, mimi::Codec* codec, Work work) {
  Lane lane;
  lane.work = work;
  lane.codec = codec;
  lane.codebooks = config.quantizer.n_q;
  lane.cardinality = config.quantizer.bins;
  lane.frame_samples = config.frame_samples();
  lane.latent_width = config.seanet.dimension;
  const int steps = std::max(config.steps_per_frame(), 1);
  lane.frames_to_fill = (config.transformer.context + steps - 1) / steps;
  return lane;
}

}  // namespace

Loaded load_codec(const LoadContext& context, const ModelSource& source, std::span<const Work> works) {
  const Model& model = context.model;
  const ModelFacts& facts = model.facts();
  context.report(0.0, "reading");
  std::vector<mimi::Direction> directions;
  for (const Work work : works) directions.push_back(direction_of(work));
  const uint64_t needed = source.weight_bytes(directions) + ring_bytes(facts.config);
  Reservation memory = reserve_memory(needed, "loading " + facts.mimi_file);

  Loaded loaded;
  loaded.sha256 = model.sha256();
  if (loaded.sha256.empty()) loaded.sha256 = source.sha256();
  context.report(kHashed, "packing");
  const std::function<void(double)> progress = [&](double fraction) {
    context.report(kHashed + (kPacked - kHashed) * std::clamp(fraction, 0.0, 1.0), "packing");
  };
  loaded.codec = environment().make_codec(
      {facts.config, source.tensors(), directions, model.backend(), model.device(), model.executor().pool(), progress});
  memory.release();

  double fraction = kPacked;
  for (const Work work : works) {
    context.report(fraction, "warming up");
    fraction += (1.0 - kPacked) / 2;
    Lane& lane = loaded.lanes[index_of(work)];
    lane = make_lane(facts.config, loaded.codec.get(), work);
    warm_up(model.executor(), lane, [&] { context.report(fraction, "warming up"); });
  }
  return loaded;
}

}  // namespace moshi::engine

// SPDX-License-Identifier: MIT
#include "engine/info.h"

#include <cmath>
#include <string>
#include <vector>

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

int64_t processing_ns(const Model& model, Work work) {
  const Lane* lane = model.lane(work);
  return lane ? lane->processing_ns : 0;
}

const LmFacts& lm_facts(const Engine& engine, const char* function) {
  if (!engine.facts.lm) invalid(std::string(function) + ": the engine was opened without MOSHI_ROLE_LM");
  return *engine.facts.lm;
}

void set_generation(const lm::GenerationDefaults& from, MoshiLmInfo& info) {
  info.temperature = from.temperature;
  info.text_temperature = from.text_temperature;
  info.top_k = from.top_k;
  info.text_top_k = from.text_top_k;
  info.sampling = from.sampling;
  info.cfg_coef = from.cfg_coef;
  info.audio_delay_seconds = from.audio_delay_seconds;
  info.audio_silence_prefix_seconds = from.audio_silence_prefix_seconds;
}

}  // namespace

MoshiEngineInfo describe(const Engine& engine) {
  const Model& model = *engine.model;
  const ModelFacts& facts = engine.facts;
  MoshiEngineInfo info = MOSHI_INIT(MoshiEngineInfo);
  info.model_path = facts.model_path.c_str();
  info.mimi_file = facts.mimi_file.c_str();
  info.mimi_sha256 = facts.lm ? "" : model.sha256().c_str();
  set_frame_rate(facts.config.frame_rate, info);
  if (!facts.lm) {
    info.mimi_bytes = facts.mimi_bytes;
    info.sample_rate = facts.config.sample_rate;
    info.frame_samples = facts.config.frame_samples();
    info.codebooks = facts.config.quantizer.n_q;
    info.cardinality = facts.config.quantizer.bins;
    info.latent_width = facts.config.seanet.dimension;
  }
  info.embedded = engine.embedded;
  info.device = model.device().c_str();
  info.kernels = model.kernels();
  info.precision = model.precision();
  info.threads = model.executor().threads();
  info.processing_ns_encode = processing_ns(model, Work::kEncode);
  info.processing_ns_decode = processing_ns(model, Work::kDecode);
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
  for (const Work work : kWorks) {
    const Lane* lane = engine.model->lane(work);
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

MoshiLmInfo describe_lm(const Engine& engine) {
  const LmFacts& facts = lm_facts(engine, "lm_info()");
  const lm::Config& config = facts.config;
  const Model& model = *engine.model;
  MoshiLmInfo info = MOSHI_INIT(MoshiLmInfo);
  info.lm_file = facts.file.c_str();
  info.lm_sha256 = model.sha256().c_str();
  info.lm_bytes = facts.bytes;
  info.tokenizer_file = facts.tokenizer_file.c_str();
  info.text_eos = facts.tokenizer ? facts.tokenizer->eos_id() : -1;
  info.lora_file = facts.lora_file.c_str();
  info.model_type = config.model_type.c_str();
  info.own_streams = config.dep_q;
  info.user_streams = config.user_streams();
  info.cardinality = config.card;
  info.text_cardinality = config.text_card;
  info.text_logits = config.text_card_out;
  info.text_padding = config.text_padding;
  info.text_end_padding = config.text_end_padding;
  info.delays = config.delays.data();
  info.max_delay = config.max_delay();
  info.context = config.temporal.context;
  info.extra_heads = config.extra_heads;
  info.extra_head_width = config.extra_heads_dim;
  info.silence = model.silence().empty() ? nullptr : model.silence().data();
  info.processing_ns_step = processing_ns(model, Work::kStep);
  set_generation(config.generation, info);
  info.mimi_sha256 = model.mimi_sha256().c_str();
  return info;
}

MoshiPiece describe_piece(const Engine& engine, int32_t token) {
  const LmFacts& facts = lm_facts(engine, "lm_piece()");
  if (!facts.tokenizer) {
    throw Error(MOSHI_ERR_NOT_SUPPORTED, "the model of " + facts.file +
                                             " has no tokenizer, which says what its tokens mean: name one when "
                                             "opening it");
  }
  MoshiPiece result = MOSHI_INIT(MoshiPiece);
  const std::vector<text::Piece>& pieces = facts.tokenizer->pieces();
  const bool silent = token == facts.config.text_padding || token == facts.config.text_end_padding;
  if (silent || token < 0 || static_cast<size_t>(token) >= pieces.size()) return result;
  const text::Piece& piece = pieces[static_cast<size_t>(token)];
  switch (piece.kind) {
    case text::Piece::Kind::kNone:
      return result;
    case text::Piece::Kind::kText:
      result.kind = MOSHI_PIECE_TEXT;
      break;
    case text::Piece::Kind::kByte:
      result.kind = MOSHI_PIECE_BYTE;
      break;
  }
  result.bytes = piece.bytes.data();
  result.count = piece.bytes.size();
  return result;
}

}  // namespace moshi::engine

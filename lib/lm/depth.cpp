// SPDX-License-Identifier: MIT
#include "lm/depth.h"

#include <algorithm>

namespace moshi::lm {

DepthTransformer::DepthTransformer(const Config& config, bool bf16_rings, LayerLoader& loader) : config_(config) {
  const int inputs = 1 + *std::max_element(config.depth_input_schedule.begin(), config.depth_input_schedule.end());
  for (int i = 0; i < inputs; ++i) inputs_.emplace_back().load(loader, "depformer_in." + std::to_string(i));
  EmbeddingShape embedding{.norm = config.norm_emb, .low_rank = config.depth_low_rank.has_value()};
  for (int i = 0; i + 1 < config.dep_q; ++i) {
    embeddings_.emplace_back().load(loader, "depformer_emb." + std::to_string(i), embedding, config.depth.dim);
  }
  embedding.demux = config.demux_second_text_stream;
  text_embedding_.load(loader, "depformer_text_emb", embedding, config.depth.dim);
  transformer_.emplace(config.depth, "depformer", config.depth_weights(), bf16_rings, loader);
  for (int i = 0; i < config.dep_q; ++i) {
    if (config.depth_norm) {
      norms_.emplace_back().load(loader, "depformer_norms." + std::to_string(i), *config.depth_norm, config.depth.dim);
    }
    heads_.emplace_back().load(loader, "linears." + std::to_string(i));
  }
}

int32_t DepthTransformer::forced(const Turn& turn, int codebook) const {
  if (!turn.item->forced_audio) return MOSHI_TOKEN_GENERATE;
  return turn.item->forced_audio[static_cast<size_t>(turn.frame) * config_.dep_q + codebook];
}

/// Not where only text is wanted, nor where every code is forced and nobody looks at the logits.
bool DepthTransformer::wanted(const Turn& turn) const {
  if (turn.failed() || turn.item->text_only) return false;
  if (turn.item->audio_logits) return true;
  for (int codebook = 0; codebook < config_.dep_q; ++codebook) {
    if (forced(turn, codebook) == MOSHI_TOKEN_GENERATE) return true;
  }
  return false;
}

void DepthTransformer::gather(std::span<Turn> turns, const float* hidden) {
  active_.clear();
  branches_.clear();
  previous_.clear();
  const size_t width = config_.temporal.dim;
  for (Turn& turn : turns) {
    if (!wanted(turn)) continue;
    active_.push_back(&turn);
    const size_t halves = turn.guided() ? 2 : 1;
    nn::grow(hidden_, (branches_.size() + halves) * width);
    std::copy_n(hidden + turn.branch * width, halves * width, &hidden_[branches_.size() * width]);
    branches_.resize(branches_.size() + halves);
    previous_.insert(previous_.end(), halves, turn.text);
  }
  rings_.resize(std::max(rings_.size(), branches_.size() * transformer_->ring_bytes()));
  for (size_t i = 0; i < branches_.size(); ++i) branches_[i] = {&rings_[i * transformer_->ring_bytes()], 0, nullptr};
  nn::grow(x_, branches_.size() * config_.depth.dim);
  nn::grow(normed_, branches_.size() * config_.depth.dim);
  nn::grow(logits_, branches_.size() * config_.card);
}

void DepthTransformer::run_codebook(Workspace& work, int codebook) {
  const auto rows = static_cast<int>(branches_.size());
  const RowBlock x{x_.data(), config_.depth.dim};
  inputs_[config_.depth_input_schedule[codebook]].apply(work, rows, {hidden_.data(), config_.temporal.dim}, x);
  Embedding& embedding = codebook == 0 ? text_embedding_ : embeddings_[codebook - 1];
  embedding.add(work, previous_, x);
  for (Branch& branch : branches_) branch.position = codebook;
  transformer_->step(work, branches_, config_.depth_schedule[codebook], x_.data());
  RowBlock out = x;
  if (!norms_.empty()) {
    out = {normed_.data(), config_.depth.dim};
    for (int row = 0; row < rows; ++row) norms_[codebook].apply(work.context.kernels, x.row(row), out.row(row));
  }
  heads_[codebook].apply(work, rows, out, {logits_.data(), config_.card});
}

void DepthTransformer::choose(Workspace& work, Sampler& sampler, int codebook, const Turn& turn, int first,
                              int32_t* code) {
  const int card = config_.card;
  float* logits = &logits_[static_cast<size_t>(first) * card];
  if (turn.guided()) guide(turn, logits, logits + card, card);
  if (turn.item->audio_logits) {
    const size_t at = static_cast<size_t>(turn.frame) * config_.dep_q + codebook;
    std::copy_n(logits, card, turn.item->audio_logits + at * card);
  }
  const int32_t wanted = forced(turn, codebook);
  if (!work.context.kernels.finite(logits, card)) {
    turn.item->problem = "the audio logits are not finite numbers: the weights are damaged or overflow";
    *code = 0;
  } else {
    *code = wanted != MOSHI_TOKEN_GENERATE ? wanted : choose_token(sampler, turn, 1 + codebook, logits, card);
  }
  std::fill_n(&previous_[first], turn.guided() ? 2 : 1, *code);
}

void DepthTransformer::run(Workspace& work, Sampler& sampler, std::span<Turn> turns, const float* hidden,
                           int32_t* codes) {
  for (size_t i = 0; i < turns.size(); ++i) {
    for (int codebook = 0; codebook < config_.dep_q; ++codebook) {
      const int32_t wanted = forced(turns[i], codebook);
      codes[i * config_.dep_q + codebook] = wanted == MOSHI_TOKEN_GENERATE ? MOSHI_TOKEN_ZERO : wanted;
    }
  }
  gather(turns, hidden);
  if (active_.empty()) return;
  for (int codebook = 0; codebook < config_.dep_q; ++codebook) {
    run_codebook(work, codebook);
    int first = 0;
    for (Turn* turn : active_) {
      int32_t* code = &codes[(turn - turns.data()) * static_cast<ptrdiff_t>(config_.dep_q) + codebook];
      choose(work, sampler, codebook, *turn, first, code);
      first += turn->guided() ? 2 : 1;
    }
  }
}

}  // namespace moshi::lm

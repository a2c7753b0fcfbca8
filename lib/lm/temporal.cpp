// SPDX-License-Identifier: MIT
#include "lm/temporal.h"

#include <algorithm>

namespace moshi::lm {
namespace {

std::vector<Embedding> load_embeddings(const Config& config, LayerLoader& loader) {
  std::vector<Embedding> embeddings(config.n_q);
  for (int i = 0; i < config.n_q; ++i) {
    embeddings[i].load(loader, "emb." + std::to_string(i), {.norm = config.norm_emb}, config.temporal.dim);
  }
  return embeddings;
}

Embedding load_text_embedding(const Config& config, LayerLoader& loader) {
  constexpr int32_t kEndOfStream = 2;
  constexpr int32_t kPadding = 3;
  Embedding embedding;
  embedding.load(loader, "text_emb", {.norm = config.norm_emb, .demux = config.demux_second_text_stream},
                 config.temporal.dim);
  // Hibiki may end its text before its input does: it shall not notice, and go on as after padding.
  if (config.model_type == "hibiki") embedding.alias(kEndOfStream, kPadding);
  return embedding;
}

}  // namespace

TemporalTransformer::TemporalTransformer(const Config& config, bool bf16_rings, LayerLoader& loader)
    : config_(config),
      embeddings_(load_embeddings(config, loader)),
      text_embedding_(load_text_embedding(config, loader)),
      transformer_(config.temporal, "transformer", 0, bf16_rings, loader),
      tokens_(config.streams()),
      frame_(config.streams()) {
  out_norm_.load(loader, "out_norm", config.temporal.norm, config.temporal.dim);
  text_head_.load(loader, "text_linear");
  for (int i = 0; i < config.extra_heads; ++i) {
    extra_heads_.emplace_back().load(loader, "extra_heads." + std::to_string(i));
  }
}

void TemporalTransformer::add_branch(const Turn& turn, int half, const int32_t* tokens) {
  branches_.push_back(turn.row->branch(half));
  conditions_.push_back(turn.row->sum_condition(half));
  const TokenRing& ring = turn.row->tokens();
  const Guidance& guidance = turn.row->guidance();
  for (int stream = 0; stream < config_.streams(); ++stream) {
    int32_t token = tokens[stream];
    if (half == 1 && !ring.is_initial(stream)) {
      const bool masked =
          guidance.masked_until >= 0 && ring.step() <= int64_t{ring.delay(stream)} + guidance.masked_until;
      if (masked || (stream == 0 && !guidance.text)) token = MOSHI_TOKEN_ZERO;
    }
    tokens_[stream].push_back(token);
  }
}

void TemporalTransformer::gather(std::span<Turn> turns) {
  branches_.clear();
  conditions_.clear();
  for (std::vector<int32_t>& stream : tokens_) stream.clear();
  for (Turn& turn : turns) {
    turn.branch = static_cast<int>(branches_.size());
    turn.row->tokens().read_input(frame_.data());
    for (int half = 0; half < turn.row->halves(); ++half) add_branch(turn, half, frame_.data());
  }
}

void TemporalTransformer::embed(Workspace& work) {
  const int dim = config_.temporal.dim;
  const RowBlock x{x_.data(), dim};
  std::fill_n(x_.data(), branches_.size() * dim, 0.0f);
  for (int i = 0; i < config_.n_q; ++i) embeddings_[i].add(work, tokens_[1 + i], x);
  text_embedding_.add(work, tokens_[0], x);
  for (size_t i = 0; i < branches_.size(); ++i) {
    if (conditions_[i]) work.context.kernels.add(x.row(static_cast<int>(i)), conditions_[i], dim);
  }
}

void TemporalTransformer::compute_text_logits(Workspace& work, std::span<const Turn> turns) {
  const int count = config_.text_card_out;
  const auto rows = static_cast<int>(branches_.size());
  text_head_.apply(work, rows, {normed_.data(), config_.temporal.dim}, {logits_.data(), count});
  for (size_t i = 0; i < turns.size(); ++i) {
    float* logits = &logits_[static_cast<size_t>(turns[i].branch) * count];
    if (turns[i].guided() && turns[i].row->guidance().text) guide(turns[i], logits, logits + count, count);
    std::copy_n(logits, count, &turn_logits_[i * count]);
  }
}

void TemporalTransformer::run(Workspace& work, std::span<Turn> turns) {
  gather(turns);
  const int dim = config_.temporal.dim;
  nn::grow(x_, branches_.size() * dim);
  nn::grow(normed_, branches_.size() * dim);
  nn::grow(logits_, branches_.size() * config_.text_card_out);
  nn::grow(turn_logits_, turns.size() * config_.text_card_out);
  embed(work);
  transformer_.step(work, branches_, 0, x_.data());
  for (size_t i = 0; i < branches_.size(); ++i) {
    out_norm_.apply(work.context.kernels, &x_[i * dim], &normed_[i * dim]);
  }
  compute_text_logits(work, turns);
}

void TemporalTransformer::extra_heads(Workspace& work, const Turn& turn, float* out) {
  const int dim = config_.temporal.dim;
  const int width = config_.extra_heads_dim;
  for (size_t i = 0; i < extra_heads_.size(); ++i) {
    float* probabilities = out + i * width;
    extra_heads_[i].apply(work, 1, {&normed_[static_cast<size_t>(turn.branch) * dim], dim}, {probabilities, width});
    work.context.kernels.softmax(probabilities, probabilities, width);
  }
}

}  // namespace moshi::lm

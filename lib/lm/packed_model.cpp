// SPDX-License-Identifier: MIT
#include "lm/packed_model.h"

#include <algorithm>
#include <limits>
#include <new>

#include "lm/layer_loader.h"

namespace moshi::lm {
namespace {

constexpr const char* kBadHook = "a hook left a token that the model cannot be given";

bool in_range(std::span<const int32_t> tokens, int32_t highest) {
  return std::all_of(tokens.begin(), tokens.end(),
                     [&](int32_t token) { return token >= MOSHI_TOKEN_ZERO && token <= highest; });
}

/// Whether a token can be chosen: -infinity rules one out.
bool can_choose(const float* logits, int count) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  return std::all_of(logits, logits + count, [](float value) { return value < kInfinity; }) &&
         std::any_of(logits, logits + count, [](float value) { return value > -kInfinity; });
}

}  // namespace

PackedModel::PackedModel(const ModelRequest& request)
    : config_(request.config),
      bf16_(request.bf16),
      context_{request.pool, kernels::select_kernels(), {}},
      work_{context_, {}, {}, {}, {}},
      sampler_(context_.kernels) {
  load(request);
}

void PackedModel::load(const ModelRequest& request) {
  // In the order of use, so that a step reads memory forwards. Conditioners are always exact.
  LayerLoader exact(request.weights, arena_, false, request.lora_separate, request.progress);
  LayerLoader loader(request.weights, arena_, bf16_, request.lora_separate, request.progress);
  conditioning_.load(config_, exact);
  temporal_.emplace(config_, bf16_, loader);
  if (config_.dep_q > 0) depth_.emplace(config_, false, loader);
}

size_t PackedModel::condition_bytes(std::span<const Condition> conditions) const {
  conditioning_.check(conditions);
  return StepTransformer::cross_bytes(config_.temporal, conditioning_.cross_rows(conditions));
}

std::unique_ptr<Row> PackedModel::make_row() const {
  return std::make_unique<Conversation>(Conversation::Shape{config_, temporal_->transformer(), conditioning_});
}

void PackedModel::step(std::span<StepItem> items, StepHooks* hooks) {
  int frames = 0;
  for (StepItem& item : items) {
    item.done = 0;
    item.problem = nullptr;
    frames = std::max(frames, item.frames);
    try {
      static_cast<Conversation*>(item.row)->prepare(work_);
    } catch (const std::bad_alloc&) {
      // One row's conditions must not end the others' step.
      item.problem = "there is not enough memory for its conditions";
    }
  }
  for (int frame = 0; frame < frames; ++frame) step_frame(frame, items, hooks);
}

void PackedModel::step_frame(int frame, std::span<StepItem> items, StepHooks* hooks) {
  turns_.clear();
  for (StepItem& item : items) {
    if (frame >= item.frames || item.problem) continue;
    auto* row = static_cast<Conversation*>(item.row);
    row->tokens().write_user(item.user ? item.user + static_cast<ptrdiff_t>(frame) * config_.user_streams() : nullptr);
    turns_.push_back({&item, row, frame, 0, 0});
  }
  if (turns_.empty()) return;
  temporal_->run(work_, turns_);
  choose_text(hooks);
  choose_audio(hooks);
  finish();
}

void PackedModel::list_hooked() {
  hooked_.clear();
  for (const Turn& turn : turns_) hooked_.push_back(turn.item);
}

/// Hands out what the model says of a turn's text, and biases it.
void PackedModel::take_text_logits(const Turn& turn, float* logits) {
  const int count = config_.text_card_out;
  StepItem& item = *turn.item;
  if (!context_.kernels.finite(logits, count)) {
    item.problem = "the text logits are not finite numbers: the weights are damaged or overflow";
    return;
  }
  if (item.text_logits) std::copy_n(logits, count, item.text_logits + static_cast<size_t>(turn.frame) * count);
  if (item.logit_bias) context_.kernels.add(logits, item.logit_bias, count);
  if (item.extra_heads) {
    const size_t width = static_cast<size_t>(config_.extra_heads) * config_.extra_heads_dim;
    temporal_->extra_heads(work_, turn, item.extra_heads + turn.frame * width);
  }
}

void PackedModel::choose_text(StepHooks* hooks) {
  const int count = config_.text_card_out;
  float* logits = temporal_->text_logits();
  for (size_t i = 0; i < turns_.size(); ++i) take_text_logits(turns_[i], logits + i * count);
  if (hooks) {
    list_hooked();
    hooks->text_logits(hooked_, logits, count);
  }
  text_.assign(turns_.size(), 0);
  for (size_t i = 0; i < turns_.size(); ++i) {
    const Turn& turn = turns_[i];
    if (turn.failed()) continue;
    const float* own = logits + i * count;
    if ((hooks || turn.item->logit_bias) && !can_choose(own, count)) {
      turn.item->problem = "a bias or a hook left text logits with NaN or infinity, or ruled every token out";
      continue;
    }
    const int32_t forced = turn.item->forced_text ? turn.item->forced_text[turn.frame] : MOSHI_TOKEN_GENERATE;
    text_[i] = forced != MOSHI_TOKEN_GENERATE ? forced : choose_token(sampler_, turn, 0, own, count);
  }
  if (hooks) hooks->text(hooked_, text_.data());
  for (size_t i = 0; i < turns_.size(); ++i) {
    turns_[i].text = text_[i];
    const bool fits = !hooks || in_range(std::span(&text_[i], 1), config_.highest_text());
    if (!fits && !turns_[i].failed()) turns_[i].item->problem = kBadHook;
  }
}

void PackedModel::choose_audio(StepHooks* hooks) {
  const auto own = static_cast<size_t>(config_.dep_q);
  codes_.resize(turns_.size() * own);
  if (!depth_) return;
  depth_->run(work_, sampler_, turns_, temporal_->hidden(), codes_.data());
  if (!hooks) return;
  hooks->audio(hooked_, codes_.data(), config_.dep_q);
  for (size_t i = 0; i < turns_.size(); ++i) {
    const bool fits = in_range(std::span(codes_).subspan(i * own, own), config_.card);
    if (!fits && !turns_[i].failed()) turns_[i].item->problem = kBadHook;
  }
}

void PackedModel::finish() {
  const size_t width = 1 + static_cast<size_t>(config_.dep_q);
  made_.resize(width);
  for (size_t i = 0; i < turns_.size(); ++i) {
    const Turn& turn = turns_[i];
    if (turn.failed()) continue;
    made_[0] = turn.text;
    std::copy_n(codes_.data() + i * config_.dep_q, config_.dep_q, made_.data() + 1);
    turn.row->tokens().commit(made_.data());
    StepItem& item = *turn.item;
    turn.row->tokens().read_frame(item.tokens + turn.frame * width);
    if (item.sampled) std::copy(made_.begin(), made_.end(), item.sampled + turn.frame * width);
    ++item.done;
  }
}

}  // namespace moshi::lm

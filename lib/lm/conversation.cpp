// SPDX-License-Identifier: MIT
#include "lm/conversation.h"

#include <algorithm>
#include <cstring>

#include "common/error.h"

namespace moshi::lm {
namespace {

constexpr uint32_t kMagic = 0x314d4c4d;  // "MLM1"
/// Far more steps than can be taken, and far from where adding to them would overflow.
constexpr int64_t kMostSteps = int64_t{1} << 48;

[[noreturn]] void refuse_state(const std::string& why) {
  throw Error(MOSHI_ERR_FORMAT, "the saved state is not one of this model: " + why);
}

}  // namespace

/// What a saved state begins with; tokens follow, then keys and values of every half, ring and position as f32.
struct Conversation::Header {
  uint32_t magic = kMagic;
  int32_t layers, kv_heads, head_dim, context, tokens, halves, reserved;
  int64_t steps;
};

Conversation::Conversation(const Shape& shape) : shape_(shape), tokens_(shape.config) {
  const GenerationDefaults& defaults = shape.config.generation;
  sampling_ = {.sampling = defaults.sampling,
               .temperature = defaults.temperature,
               .text_temperature = defaults.text_temperature,
               .top_k = defaults.top_k,
               .text_top_k = defaults.text_top_k};
  halves_[0].rings = kernels::LazyFloats(shape_.temporal.ring_bytes() / sizeof(float));
}

void Conversation::set_guidance(const Guidance& guidance) {
  if (guidance.active() != guidance_.active() && steps() > 0) {
    throw Error(MOSHI_ERR_CONFLICT, "guidance can only be turned on or off before the first step: reset the session");
  }
  const bool differs = !guidance.text || guidance.masked_until >= 0;
  if (guidance.active() && !differs && shape_.config.conditioners.empty()) {
    throw Error(MOSHI_ERR_INVALID_ARGUMENT,
                "guidance needs something to lead away from: this model takes no conditions, so set cfg-text to 0 or "
                "cfg-masked-until to a number of steps");
  }
  if (guidance.active() && !halves_[1].rings.data()) {
    halves_[1].rings = kernels::LazyFloats(shape_.temporal.ring_bytes() / sizeof(float));
  }
  if (!guidance.active()) halves_[1].rings = kernels::LazyFloats();
  fused_ = fused_ && guidance.active() == guidance_.active();
  guidance_ = guidance;
}

void Conversation::set_conditions(std::span<const Condition> conditions) {
  if (steps() > 0) {
    throw Error(MOSHI_ERR_CONFLICT, "conditions can only be set before the first step: reset the session");
  }
  shape_.conditioning.check(conditions);
  conditions_.assign(conditions.begin(), conditions.end());
  fused_ = false;
}

void Conversation::prepare(Workspace& work) {
  if (fused_) return;
  for (int half = 0; half < halves(); ++half) {
    Half& one = halves_[half];
    one.conditions = shape_.conditioning.fuse(work, conditions_, half == 1);
    one.cross = {};
    if (shape_.config.temporal.cross_attention && one.conditions.cross_count > 0) {
      one.cross = shape_.temporal.project_cross(work, one.conditions.cross.data(), one.conditions.cross_count);
      one.conditions.cross = {};
    }
  }
  fused_ = true;
}

Branch Conversation::branch(int half) {
  Half& one = halves_[half];
  return {reinterpret_cast<std::byte*>(one.rings.data()), steps(), &one.cross};
}

int Conversation::positions() const {
  return static_cast<int>(std::min<int64_t>(steps(), shape_.temporal.ring().capacity()));
}

/// fn(ring memory, position) for all rings, and in each from the oldest position to the newest.
template <class Fn>
void Conversation::for_each_ring_position(int half, const Fn& fn) const {
  auto* memory = reinterpret_cast<std::byte*>(halves_[half].rings.data());
  for (int ring = 0; ring < shape_.temporal.rings(); ++ring) {
    for (int64_t position = steps() - positions(); position < steps(); ++position) {
      fn(memory + static_cast<size_t>(ring) * shape_.temporal.ring().bytes(), position);
    }
  }
}

std::unique_ptr<Row> Conversation::clone() const {
  auto copy = std::make_unique<Conversation>(shape_);
  copy->tokens_ = tokens_;
  copy->sampling_ = sampling_;
  copy->guidance_ = guidance_;
  copy->conditions_ = conditions_;
  copy->fused_ = fused_;
  const nn::KvRing& ring = shape_.temporal.ring();
  std::vector<float> key(ring.head_dim()), value(ring.head_dim());
  for (int half = 0; half < halves(); ++half) {
    Half& to = copy->halves_[half];
    to.conditions = halves_[half].conditions;
    to.cross = halves_[half].cross;
    if (!to.rings.data()) to.rings = kernels::LazyFloats(halves_[half].rings.size());
    const auto* from_memory = reinterpret_cast<const std::byte*>(halves_[half].rings.data());
    auto* to_memory = reinterpret_cast<std::byte*>(to.rings.data());
    for_each_ring_position(half, [&](const std::byte* from, int64_t position) {
      ring.read(from, position, key.data(), value.data());
      ring.write(to_memory + (from - from_memory), position, key.data(), value.data());
    });
  }
  return copy;
}

Conversation::Header Conversation::header() const {
  const TransformerShape& temporal = shape_.config.temporal;
  Header header{};
  header.magic = kMagic;
  header.layers = temporal.layers;
  header.kv_heads = temporal.kv_heads();
  header.head_dim = temporal.head_dim();
  header.context = temporal.context;
  header.tokens = static_cast<int32_t>(tokens_.tokens().size());
  header.halves = halves();
  header.steps = steps();
  return header;
}

size_t Conversation::saved_bytes() const {
  const size_t pair = 2 * sizeof(float) * shape_.temporal.ring().head_dim();
  return sizeof(Header) + tokens_.tokens().size_bytes() +
         pair * positions() * static_cast<size_t>(shape_.temporal.rings()) * halves();
}

void Conversation::save(std::byte* out) const {
  const Header head = header();
  std::memcpy(out, &head, sizeof head);
  out += sizeof head;
  std::memcpy(out, tokens_.tokens().data(), tokens_.tokens().size_bytes());
  out += tokens_.tokens().size_bytes();
  const nn::KvRing& ring = shape_.temporal.ring();
  const size_t width = ring.head_dim();
  std::vector<float> pair(2 * width);
  for (int half = 0; half < halves(); ++half) {
    for_each_ring_position(half, [&](const std::byte* memory, int64_t position) {
      ring.read(memory, position, pair.data(), pair.data() + width);
      std::memcpy(out, pair.data(), pair.size() * sizeof(float));
      out += pair.size() * sizeof(float);
    });
  }
}

void Conversation::load(std::span<const std::byte> in) {
  Header saved;
  if (in.size() < sizeof saved) refuse_state("it is too short");
  std::memcpy(&saved, in.data(), sizeof saved);
  Header expected = header();
  expected.steps = saved.steps;
  if (saved.halves != expected.halves) {
    refuse_state("one was made with guidance and the other without: set cfg-coef before loading");
  }
  if (std::memcmp(&saved, &expected, sizeof saved) != 0) refuse_state("its shape differs");
  if (saved.steps < 0 || saved.steps > kMostSteps) {
    refuse_state("it would be at step " + std::to_string(saved.steps));
  }
  std::vector<int32_t> tokens(tokens_.tokens().size());
  if (in.size() < sizeof saved + tokens.size() * sizeof(int32_t)) refuse_state("it is too short");
  std::memcpy(tokens.data(), in.data() + sizeof saved, tokens.size() * sizeof(int32_t));
  if (!tokens_.could_hold(tokens)) refuse_state("it holds a token that this model does not have");
  const std::vector<int32_t> before(tokens_.tokens().begin(), tokens_.tokens().end());
  const int64_t steps_before = steps();
  tokens_.restore(saved.steps, tokens);
  if (in.size() != saved_bytes()) {
    tokens_.restore(steps_before, before);
    refuse_state("it is " + std::to_string(in.size()) + " bytes long, which does not fit its number of steps");
  }
  const std::byte* from = in.data() + sizeof saved + tokens.size() * sizeof(int32_t);
  const nn::KvRing& ring = shape_.temporal.ring();
  const size_t width = ring.head_dim();
  std::vector<float> pair(2 * width);
  for (int half = 0; half < halves(); ++half) {
    for_each_ring_position(half, [&](std::byte* memory, int64_t position) {
      std::memcpy(pair.data(), from, pair.size() * sizeof(float));
      from += pair.size() * sizeof(float);
      ring.write(memory, position, pair.data(), pair.data() + width);
    });
  }
}

}  // namespace moshi::lm

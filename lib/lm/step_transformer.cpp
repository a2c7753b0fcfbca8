// SPDX-License-Identifier: MIT
#include "lm/step_transformer.h"

#include <algorithm>
#include <cmath>

#include "common/error.h"

namespace moshi::lm {
namespace {

constexpr int kMaxHeadDim = 512;

kernels::Storage ring_storage(bool bf16) { return bf16 ? kernels::Storage::kBf16 : kernels::Storage::kF32; }

int round_to_lanes(int count) { return kernels::round_up(count, kernels::kLanes); }

/// One query against a ring, through copies that are padded to whole vectors.
void attend_one(const kernels::Kernels& kernels, const nn::KvRing& ring, const void* memory, int first_slot, int count,
                const float* query, float* scores, float* out) {
  alignas(64) float padded[kMaxHeadDim] = {};
  alignas(64) float result[kMaxHeadDim];
  std::copy_n(query, ring.head_dim(), padded);
  kernels::AttendCall call;
  call.keys = memory;
  call.values = ring.values(memory);
  call.query = padded;
  call.out = result;
  call.scores = scores;
  call.head_dim = ring.width();
  call.capacity = ring.capacity();
  call.first_slot = first_slot;
  call.count = count;
  call.scale = 1.0f / std::sqrt(static_cast<float>(ring.head_dim()));
  call.storage = ring.storage();
  kernels.attend(call);
  std::copy_n(result, ring.head_dim(), out);
}

/// Calls `fn(task, scores)` for every task on the pool. Each of a few lanes has scratch for the scores of one query.
template <class Fn>
void run_heads(Workspace& work, int tasks, int positions, const Fn& fn) {
  const int lanes = std::min(tasks, 4 * work.context.pool.threads());
  const size_t scratch = 2 * static_cast<size_t>(round_to_lanes(positions));
  nn::grow(work.scores, lanes * scratch);
  work.context.pool.run(lanes, [&](int lane) {
    for (int task = lane; task < tasks; task += lanes) fn(task, &work.scores[lane * scratch]);
  });
}

}  // namespace

StepTransformer::StepTransformer(const TransformerShape& shape, const std::string& name, int sets, bool bf16_rings,
                                 LayerLoader& loader)
    : shape_(shape),
      rope_(shape.head_dim(), shape.max_period, shape.positional != nn::Positional::kRopeConcat),
      ring_(shape.context, shape.head_dim(), ring_storage(bf16_rings)) {
  if (ring_.width() > kMaxHeadDim) {
    throw Error(MOSHI_ERR_NOT_SUPPORTED, "attention heads of " + std::to_string(shape.head_dim()) +
                                             " dimensions; the packed kernels take at most " +
                                             std::to_string(kMaxHeadDim));
  }
  for (int i = 0; i < shape.layers; ++i) {
    layers_.push_back(load_layer(loader, name + ".layers." + std::to_string(i), sets));
  }
}

size_t StepTransformer::ring_bytes(const TransformerShape& shape, bool bf16_rings) {
  return nn::KvRing(shape.context, shape.head_dim(), ring_storage(bf16_rings)).bytes() *
         static_cast<size_t>(shape.layers) * shape.kv_heads();
}

size_t StepTransformer::cross_bytes(const TransformerShape& shape, int count) {
  if (!shape.cross_attention) return 0;
  return nn::KvRing(count, shape.head_dim()).bytes() * static_cast<size_t>(shape.layers) * shape.heads;
}

StepTransformer::Layer StepTransformer::load_layer(LayerLoader& loader, const std::string& name, int sets) const {
  Layer layer;
  layer.norm1.load(loader, name + ".norm1", shape_.norm, shape_.dim);
  for (int set = 0; set < std::max(sets, 1); ++set) {
    WeightSet& weights = layer.sets.emplace_back();
    weights.qkv.load(loader, name + ".self_attn.in_projs." + std::to_string(set));
    weights.out.load(loader, name + ".self_attn.out_projs." + std::to_string(set));
  }
  if (shape_.cross_attention) load_cross(loader, name, layer);
  layer.norm2.load(loader, name + ".norm2", shape_.norm, shape_.dim);
  for (int set = 0; set < std::max(sets, 1); ++set) {
    const int hidden = shape_.hidden[std::min<size_t>(set, shape_.hidden.size() - 1)];
    layer.sets[set].feed_forward.load(loader, name, shape_.gating, hidden, sets == 0 ? -1 : set);
  }
  if (shape_.layer_scale) {
    layer.scale1 = loader.vector(name + ".layer_scale_1.scale");
    layer.scale2 = loader.vector(name + ".layer_scale_2.scale");
  }
  return layer;
}

void StepTransformer::load_cross(LayerLoader& loader, const std::string& name, Layer& layer) const {
  const std::string attention = name + ".cross_attention";
  layer.cross_norm.load(loader, name + ".norm_cross", Norm::kLayerNorm, shape_.dim);
  layer.cross_query = loader.linear_part(attention + ".in_projs.0", 0, shape_.dim);
  layer.cross_key_value = loader.linear_part(attention + ".in_projs.0", shape_.dim, 2 * shape_.dim);
  layer.cross_out.load(loader, attention + ".out_projs.0");
  if (shape_.layer_scale) layer.cross_scale = loader.vector(name + ".layer_scale_cross.scale");
}

void StepTransformer::place(std::span<const Branch> branches, float* x) {
  const size_t angles = 2 * static_cast<size_t>(rope_.half());
  nn::grow(cos_sin_, branches.size() * angles);
  for (size_t i = 0; i < branches.size(); ++i) {
    if (nn::adds_sine(shape_.positional)) {
      nn::add_sin_embedding(branches[i].position, shape_.max_period, shape_.dim, x + i * shape_.dim);
    }
    if (nn::uses_rope(shape_.positional)) rope_.angles(branches[i].position, &cos_sin_[i * angles]);
  }
}

void StepTransformer::normalize(Workspace& work, int rows, const NormLayer& norm, const float* x) {
  for (int row = 0; row < rows; ++row) {
    const size_t at = static_cast<size_t>(row) * shape_.dim;
    norm.apply(work.context.kernels, x + at, &normed_[at]);
  }
}

void StepTransformer::attend_head(const kernels::Kernels& kernels, const Branch& branch, int row, int layer,
                                  int kv_head, float* scores) {
  const int head_dim = shape_.head_dim();
  const int kv_width = head_dim * shape_.kv_heads();
  float* projected = &qkv_[static_cast<size_t>(row) * (shape_.dim + 2 * kv_width)];
  float* key = projected + shape_.dim + kv_head * head_dim;
  const float* cos_sin =
      nn::uses_rope(shape_.positional) ? &cos_sin_[static_cast<size_t>(row) * 2 * rope_.half()] : nullptr;
  if (cos_sin) rope_.rotate(cos_sin, key);
  std::byte* ring = branch.rings + (static_cast<size_t>(layer) * shape_.kv_heads() + kv_head) * ring_.bytes();
  ring_.write(ring, branch.position, key, key + kv_width);
  const int64_t oldest = std::max<int64_t>(0, branch.position - ring_.capacity() + 1);
  const auto first_slot = static_cast<int>(oldest % ring_.capacity());
  const auto count = static_cast<int>(branch.position - oldest + 1);
  for (int i = 0; i < shape_.kv_repeat; ++i) {
    const int head = kv_head * shape_.kv_repeat + i;
    float* query = projected + head * head_dim;
    if (cos_sin) rope_.rotate(cos_sin, query);
    attend_one(kernels, ring_, ring, first_slot, count, query, scores, attended(row, head));
  }
}

void StepTransformer::attend(Workspace& work, std::span<const Branch> branches, int layer) {
  const int heads = shape_.kv_heads();
  run_heads(work, static_cast<int>(branches.size()) * heads, ring_.capacity(), [&](int task, float* scores) {
    const int row = task / heads;
    attend_head(work.context.kernels, branches[row], row, layer, task % heads, scores);
  });
}

void StepTransformer::attend_cross_head(const kernels::Kernels& kernels, const CrossMemory& memory, int row, int layer,
                                        int head, float* scores) {
  const nn::KvRing ring(memory.count, shape_.head_dim());
  const float* at = &memory.rings[(static_cast<size_t>(layer) * shape_.heads + head) * ring.floats()];
  const float* query = &qkv_[static_cast<size_t>(row) * shape_.dim + head * shape_.head_dim()];
  attend_one(kernels, ring, at, 0, memory.count, query, scores, attended(row, head));
}

void StepTransformer::attend_cross(Workspace& work, std::span<const Branch> branches, int layer, float* x) {
  const Layer& weights = layers_[layer];
  const auto rows = static_cast<int>(branches.size());
  normalize(work, rows, weights.cross_norm, x);
  multiply(work, rows, {normed_.data(), shape_.dim}, {.b = weights.cross_query}, {qkv_.data(), shape_.dim}, nullptr);
  int positions = 1;
  for (const Branch& branch : branches) positions = std::max(positions, branch.cross ? branch.cross->count : 0);
  run_heads(work, rows * shape_.heads, positions, [&](int task, float* scores) {
    const int row = task / shape_.heads;
    const int head = task % shape_.heads;
    const CrossMemory* memory = branches[row].cross;
    if (memory && memory->count > 0) {
      attend_cross_head(work.context.kernels, *memory, row, layer, head, scores);
    } else {
      std::fill_n(attended(row, head), shape_.head_dim(), 0.0f);
    }
  });
  weights.cross_out.apply(work, rows, {attended_.data(), shape_.dim}, {x, shape_.dim},
                          {.scale = weights.cross_scale, .add = true});
}

void StepTransformer::step(Workspace& work, std::span<const Branch> branches, int set, float* x) {
  const auto rows = static_cast<int>(branches.size());
  const int dim = shape_.dim;
  const int projected = dim + 2 * shape_.head_dim() * shape_.kv_heads();
  nn::grow(normed_, branches.size() * dim);
  nn::grow(qkv_, branches.size() * projected);
  nn::grow(attended_, branches.size() * dim);
  place(branches, x);
  for (int index = 0; index < shape_.layers; ++index) {
    const Layer& layer = layers_[index];
    const WeightSet& weights = layer.sets[set];
    normalize(work, rows, layer.norm1, x);
    weights.qkv.apply(work, rows, {normed_.data(), dim}, {qkv_.data(), projected});
    attend(work, branches, index);
    weights.out.apply(work, rows, {attended_.data(), dim}, {x, dim}, {.scale = layer.scale1, .add = true});
    if (shape_.cross_attention) attend_cross(work, branches, index, x);
    normalize(work, rows, layer.norm2, x);
    nn::grow(hidden_, branches.size() * 2 * weights.feed_forward.hidden());
    weights.feed_forward.apply(work, rows, {normed_.data(), dim}, {x, dim}, layer.scale2, hidden_.data());
  }
}

CrossMemory StepTransformer::project_cross(Workspace& work, const float* source, int count) const {
  const nn::KvRing ring(count, shape_.head_dim());
  CrossMemory memory;
  memory.count = count;
  memory.rings.resize(ring.floats() * shape_.layers * shape_.heads);
  const int width = 2 * shape_.dim;
  std::vector<float> projected(static_cast<size_t>(count) * width);
  // Rows are only read by the product.
  const RowBlock in{const_cast<float*>(source), shape_.dim};
  for (int layer = 0; layer < shape_.layers; ++layer) {
    multiply(work, count, in, {.b = layers_[layer].cross_key_value}, {projected.data(), width}, nullptr);
    for (int head = 0; head < shape_.heads; ++head) {
      float* at = &memory.rings[(static_cast<size_t>(layer) * shape_.heads + head) * ring.floats()];
      for (int position = 0; position < count; ++position) {
        const float* key = &projected[static_cast<size_t>(position) * width + head * shape_.head_dim()];
        ring.write(at, position, key, key + shape_.dim);
      }
    }
  }
  return memory;
}

}  // namespace moshi::lm

// SPDX-License-Identifier: MIT
// One query against a ring of keys and values. Scores are computed slot by slot; softmax and the weighted sum go from
// the oldest position to the newest, so that the result does not depend on where the ring begins.

/// From so many slots on, keys come at the speed of memory.
constexpr int kManySlots = 512;

/// Scores of NB blocks of sixteen slots; `Ahead` asks for the blocks after these.
template <int NB, bool Ahead, class T>
inline void score_blocks(const AttendCall& c, int block) {
  Vec acc[NB];
  for (int j = 0; j < NB; ++j) acc[j] = vzero();
  const size_t stride = static_cast<size_t>(c.head_dim) * 16;
  const T* keys = static_cast<const T*>(c.keys) + block * stride;
  for (int d = 0; d < c.head_dim; ++d) {
    const Vec q = vset(c.query[d]);
    const T* at = keys + static_cast<size_t>(d) * 16;
    for (int j = 0; j < NB; ++j) {
      if constexpr (Ahead) __builtin_prefetch(at + (j + NB) * stride, 0, 2);
      acc[j] = vfma(q, vload(at + j * stride), acc[j]);
    }
  }
  for (int j = 0; j < NB; ++j) vstore(c.scores + (block + j) * 16, vmul(acc[j], vset(c.scale)));
}

template <bool Ahead, class T>
inline void score_range(const AttendCall& c, int block, int blocks) {
  for (; block + 4 <= blocks; block += 4) score_blocks<4, Ahead, T>(c, block);
  for (; block + 2 <= blocks; block += 2) score_blocks<2, Ahead, T>(c, block);
  for (; block < blocks; ++block) score_blocks<1, Ahead, T>(c, block);
}

/// Scores of the slots [begin, end) and of those that share a block with them.
template <class T>
inline void score_slots(const AttendCall& c, int begin, int end) {
  if (end - begin >= kManySlots) {
    score_range<true, T>(c, begin / 16, (end + 15) / 16);
  } else {
    score_range<false, T>(c, begin / 16, (end + 15) / 16);
  }
}

/// Scores of all slots that the query sees.
template <class T>
inline void score_all(const AttendCall& c) {
  const int end = c.first_slot + c.count;
  const int wrapped = end - c.capacity;
  if (wrapped <= 0) {
    score_slots<T>(c, c.first_slot, end);
  } else if (wrapped + 15 >= c.first_slot) {
    score_slots<T>(c, 0, c.capacity);
  } else {
    score_slots<T>(c, 0, wrapped);
    score_slots<T>(c, c.first_slot, c.capacity);
  }
}

/// Scores by age in `ordered`, padded to whole vectors with -inf.
inline void order_scores(const AttendCall& c, float* ordered) {
  int slot = c.first_slot;
  for (int i = 0; i < c.count; ++i) {
    ordered[i] = c.scores[slot];
    if (++slot == c.capacity) slot = 0;
  }
  for (int i = c.count; i < (c.count + 15) / 16 * 16; ++i) ordered[i] = -__builtin_inff();
}

/// Replaces scores by their exponentials; returns the sum. Padding becomes zero.
inline float exponentials(float* ordered, int count) {
  const Vec highest = vset(highest_of(ordered, count));
  Vec total = vzero();
  for (int i = 0; i < count; i += 16) {
    const Vec e = vexp(vsub(vload(ordered + i), highest));
    if (count - i >= 16) {
      vstore(ordered + i, e);
      total = vadd(total, e);
    } else {
      float part[16];
      vstore(part, e);
      vstore(ordered + i, vload_part(part, count - i));
      total = vadd(total, vload(ordered + i));
    }
  }
  return vsum(total);
}

template <int NV, class T>
inline void weighted_sum(const AttendCall& c, const float* weights, int d, float inverse) {
  Vec acc[NV];
  for (int j = 0; j < NV; ++j) acc[j] = vzero();
  const T* values = static_cast<const T*>(c.values) + d;
  int slot = c.first_slot;
  for (int i = 0; i < c.count; ++i) {
    const T* value = values + static_cast<size_t>(slot) * c.head_dim;
    const Vec w = vset(weights[i]);
    for (int j = 0; j < NV; ++j) acc[j] = vfma(w, vload(value + j * 16), acc[j]);
    if (++slot == c.capacity) slot = 0;
  }
  for (int j = 0; j < NV; ++j) vstore(c.out + d + j * 16, vmul(acc[j], vset(inverse)));
}

template <class T>
inline void attend_as(const AttendCall& c) {
  score_all<T>(c);
  float* ordered = c.scores + (c.capacity + 15) / 16 * 16;
  order_scores(c, ordered);
  const float inverse = 1.0f / exponentials(ordered, c.count);
  int d = 0;
  for (; d + kValueVectors * 16 <= c.head_dim; d += kValueVectors * 16) {
    weighted_sum<kValueVectors, T>(c, ordered, d, inverse);
  }
  if constexpr (kValueVectors > 4) {
    for (; d + 64 <= c.head_dim; d += 64) weighted_sum<4, T>(c, ordered, d, inverse);
  }
  for (; d < c.head_dim; d += 16) weighted_sum<1, T>(c, ordered, d, inverse);
}

void attend(const AttendCall& c) {
  if (c.storage == Storage::kBf16) {
    attend_as<uint16_t>(c);
  } else {
    attend_as<float>(c);
  }
}

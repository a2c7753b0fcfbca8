// SPDX-License-Identifier: MIT
// One query against a ring of keys and values. Scores are computed slot by slot; softmax and the weighted sum go from
// the oldest position to the newest, so that the result does not depend on where the ring begins.

/// Scores of NB blocks of sixteen slots.
template <int NB>
inline void score_blocks(const AttendCall& c, int block) {
  Vec acc[NB];
  for (int j = 0; j < NB; ++j) acc[j] = vzero();
  const float* keys = c.keys + static_cast<size_t>(block) * c.head_dim * 16;
  const size_t stride = static_cast<size_t>(c.head_dim) * 16;
  for (int d = 0; d < c.head_dim; ++d) {
    const Vec q = vset(c.query[d]);
    for (int j = 0; j < NB; ++j) acc[j] = vfma(q, vload(keys + j * stride + static_cast<size_t>(d) * 16), acc[j]);
  }
  for (int j = 0; j < NB; ++j) vstore(c.scores + (block + j) * 16, vmul(acc[j], vset(c.scale)));
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
  Vec top = vset(-__builtin_inff());
  for (int i = 0; i < count; i += 16) top = vmax(top, vload(ordered + i));
  float lanes[16];
  vstore(lanes, top);
  float highest = lanes[0];
  for (int i = 1; i < 16; ++i) highest = lanes[i] > highest ? lanes[i] : highest;
  Vec total = vzero();
  for (int i = 0; i < count; i += 16) {
    const Vec e = vexp(vsub(vload(ordered + i), vset(highest)));
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

template <int NV>
inline void weighted_sum(const AttendCall& c, const float* weights, int d, float inverse) {
  Vec acc[NV];
  for (int j = 0; j < NV; ++j) acc[j] = vzero();
  int slot = c.first_slot;
  for (int i = 0; i < c.count; ++i) {
    const float* value = c.values + static_cast<size_t>(slot) * c.head_dim + d;
    const Vec w = vset(weights[i]);
    for (int j = 0; j < NV; ++j) acc[j] = vfma(w, vload(value + j * 16), acc[j]);
    if (++slot == c.capacity) slot = 0;
  }
  for (int j = 0; j < NV; ++j) vstore(c.out + d + j * 16, vmul(acc[j], vset(inverse)));
}

void attend(const AttendCall& c) {
  const int blocks = (c.capacity + 15) / 16;
  int block = 0;
  for (; block + 4 <= blocks; block += 4) score_blocks<4>(c, block);
  for (; block < blocks; ++block) score_blocks<1>(c, block);
  float* ordered = c.scores + blocks * 16;
  order_scores(c, ordered);
  const float inverse = 1.0f / exponentials(ordered, c.count);
  int d = 0;
  for (; d + 64 <= c.head_dim; d += 64) weighted_sum<4>(c, ordered, d, inverse);
  for (; d < c.head_dim; d += 16) weighted_sum<1>(c, ordered, d, inverse);
}

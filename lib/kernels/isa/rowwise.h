// SPDX-License-Identifier: MIT
// Kernels over single rows: normalization, activation, search, upsampling, probabilities.

inline Vec load_up_to(const float* p, int left) { return left >= 16 ? vload(p) : vload_part(p, left); }
inline void store_up_to(float* p, Vec v, int left) {
  if (left >= 16) {
    vstore(p, v);
  } else {
    vstore_part(p, v, left);
  }
}

void layer_norm(const float* x, const float* weight, const float* bias, float* y, int d, float eps) {
  Vec total = vzero();
  for (int i = 0; i < d; i += 16) total = vadd(total, load_up_to(x + i, d - i));
  const float mean = vsum(total) / static_cast<float>(d);
  Vec squares = vzero();
  for (int i = 0; i < d; i += 16) {
    const Vec c = vsub(load_up_to(x + i, d - i), vset(mean));
    if (d - i >= 16) {
      squares = vfma(c, c, squares);
    } else {
      float part[16];
      vstore(part, c);
      squares = vfma(vload_part(part, d - i), vload_part(part, d - i), squares);
    }
  }
  const float variance = vsum(squares) / static_cast<float>(d);
  const Vec inverse = vset(1.0f / __builtin_sqrtf(variance + eps));
  for (int i = 0; i < d; i += 16) {
    const Vec c = vmul(vsub(load_up_to(x + i, d - i), vset(mean)), inverse);
    store_up_to(y + i, vfma(c, load_up_to(weight + i, d - i), load_up_to(bias + i, d - i)), d - i);
  }
}

void elu(const float* x, float* y, size_t count) {
  for (size_t i = 0; i < count; i += 16) {
    const int left = count - i < 16 ? static_cast<int>(count - i) : 16;
    store_up_to(y + i, velu(load_up_to(x + i, left)), left);
  }
}

/// The largest of count values.
inline float highest_of(const float* x, int count) {
  Vec best = vset(-__builtin_inff());
  int i = 0;
  for (; i + 16 <= count; i += 16) best = vmax(best, vload(x + i));
  float lanes[16];
  vstore(lanes, best);
  float top = lanes[0];
  for (int lane = 1; lane < 16; ++lane) top = lanes[lane] > top ? lanes[lane] : top;
  for (; i < count; ++i) top = x[i] > top ? x[i] : top;
  return top;
}

int argmax(const float* x, int count) {
  const float top = highest_of(x, count);
  for (int j = 0; j < count; ++j) {
    if (x[j] == top) return j;
  }
  return 0;
}

void blend(const float* a, const float* x, const float* b, const float* w, float* y, int count) {
  for (int i = 0; i < count; i += 16) {
    const int left = count - i;
    const Vec previous = vmul(load_up_to(b + i, left), load_up_to(w + i, left));
    store_up_to(y + i, vfma(load_up_to(a + i, left), load_up_to(x + i, left), previous), left);
  }
}

void rms_norm(const float* x, const float* weight, float* y, int d, float eps) {
  Vec squares = vzero();
  for (int i = 0; i < d; i += 16) {
    const Vec v = load_up_to(x + i, d - i);
    squares = vfma(v, v, squares);
  }
  const Vec inverse = vset(1.0f / __builtin_sqrtf(eps + vsum(squares) / static_cast<float>(d)));
  for (int i = 0; i < d; i += 16) {
    const Vec scale = vmul(load_up_to(weight + i, d - i), inverse);
    store_up_to(y + i, vmul(load_up_to(x + i, d - i), scale), d - i);
  }
}

void add(float* y, const float* x, int count) {
  for (int i = 0; i < count; i += 16) {
    const int left = count - i;
    store_up_to(y + i, vadd(load_up_to(y + i, left), load_up_to(x + i, left)), left);
  }
}

void softmax(const float* x, float* y, int count) {
  const Vec top = vset(highest_of(x, count));
  // vexp never gives zero: whatever lies so far below the top must.
  const Vec underflow = vset(87.0f);
  Vec total = vzero();
  for (int i = 0; i < count; i += 16) {
    const int left = count - i;
    const Vec below = vsub(load_up_to(x + i, left), top);
    store_up_to(y + i, vpositive(vadd(below, underflow), vexp(below), vzero()), left);
    total = vadd(total, load_up_to(y + i, left));
  }
  const Vec sum = vset(vsum(total));
  for (int i = 0; i < count; i += 16) {
    const int left = count - i;
    store_up_to(y + i, vdiv(load_up_to(y + i, left), sum), left);
  }
}

bool finite(const float* x, int count) {
  Vec total = vzero();
  for (int i = 0; i < count; i += 16) total = vfma(load_up_to(x + i, count - i), vzero(), total);
  return vsum(total) == 0.0f;
}

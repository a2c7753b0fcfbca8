// SPDX-License-Identifier: MIT
// The sixteen-lane vector in plain C++: the same results on any processor. Included by one translation unit, inside
// its namespace.
struct Vec {
  float v[16];
};

template <class Fn>
inline Vec each(const Fn& fn) {
  Vec r;
  for (int i = 0; i < 16; ++i) r.v[i] = fn(i);
  return r;
}

inline Vec vzero() { return Vec{}; }
inline Vec vset(float x) {
  return each([&](int) { return x; });
}
inline Vec vload(const float* p) {
  return each([&](int i) { return p[i]; });
}
/// Sixteen bf16.
inline Vec vload(const uint16_t* p) {
  return each([&](int i) {
    const uint32_t bits = static_cast<uint32_t>(p[i]) << 16;
    float r;
    __builtin_memcpy(&r, &bits, sizeof r);
    return r;
  });
}
inline Vec vload(const int8_t* p) {
  return each([&](int i) { return static_cast<float>(p[i]); });
}
inline void vstore(float* p, const Vec& a) {
  for (int i = 0; i < 16; ++i) p[i] = a.v[i];
}
inline Vec vload_part(const float* p, int n) {
  return each([&](int i) { return i < n ? p[i] : 0.0f; });
}
inline void vstore_part(float* p, const Vec& a, int n) {
  for (int i = 0; i < n; ++i) p[i] = a.v[i];
}
inline Vec vadd(const Vec& a, const Vec& b) {
  return each([&](int i) { return a.v[i] + b.v[i]; });
}
inline Vec vsub(const Vec& a, const Vec& b) {
  return each([&](int i) { return a.v[i] - b.v[i]; });
}
inline Vec vmul(const Vec& a, const Vec& b) {
  return each([&](int i) { return a.v[i] * b.v[i]; });
}
inline Vec vdiv(const Vec& a, const Vec& b) {
  return each([&](int i) { return a.v[i] / b.v[i]; });
}
/// The second operand where either is NaN, likewise vmin.
inline Vec vmax(const Vec& a, const Vec& b) {
  return each([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
}
inline Vec vmin(const Vec& a, const Vec& b) {
  return each([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
}
inline Vec vfma(const Vec& a, const Vec& b, const Vec& c) {
  return each([&](int i) { return __builtin_fmaf(a.v[i], b.v[i], c.v[i]); });
}
/// a where x > 0, else b
inline Vec vpositive(const Vec& x, const Vec& a, const Vec& b) {
  return each([&](int i) { return x.v[i] > 0.0f ? a.v[i] : b.v[i]; });
}
inline Vec vabs(const Vec& a) {
  return each([&](int i) { return __builtin_fabsf(a.v[i]); });
}
/// 2^n for whole n in [-126, 127]
inline Vec vpow2(const Vec& n) {
  return each([&](int i) {
    const unsigned bits = static_cast<unsigned>(static_cast<int>(n.v[i]) + 127) << 23;
    float r;
    __builtin_memcpy(&r, &bits, sizeof r);
    return r;
  });
}
inline float vsum(const Vec& a) {
  float b[8], c[4];
  for (int i = 0; i < 8; ++i) b[i] = a.v[i] + a.v[i + 8];
  for (int i = 0; i < 4; ++i) c[i] = b[i] + b[i + 4];
  return (c[0] + c[2]) + (c[1] + c[3]);
}

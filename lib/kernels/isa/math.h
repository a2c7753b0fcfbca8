// SPDX-License-Identifier: MIT
// Elementary functions on the sixteen-lane vector: the same operations in the same order on every path.
// Coefficients are Chebyshev fits made for these ranges.

/// expm1(x) split as p = expm1(r), s = 2^n with x = n ln 2 + r: exp(x) = s p + s, expm1(x) = s p + (s - 1).
inline void exp_parts(Vec x, Vec* p, Vec* s) {
  x = vmin(vmax(x, vset(-87.0f)), vset(88.0f));
  const Vec magic = vset(12582912.0f);  // 1.5 * 2^23: adding it rounds to the nearest whole number
  const Vec n = vsub(vfma(x, vset(1.44269504f), magic), magic);
  Vec r = vfma(n, vset(-0.693145752f), x);
  r = vfma(n, vset(-1.42860677e-6f), r);
  Vec q = vset(0.00019891017f);
  q = vfma(q, r, vset(0.0013933674f));
  q = vfma(q, r, vset(0.0083333105f));
  q = vfma(q, r, vset(0.041666463f));
  q = vfma(q, r, vset(0.16666667f));
  q = vfma(q, r, vset(0.5f));
  *p = vfma(vmul(r, r), q, r);
  *s = vpow2(n);
}

inline Vec vexp(Vec x) {
  Vec p, s;
  exp_parts(x, &p, &s);
  return vfma(s, p, s);
}

inline Vec velu(Vec x) {
  Vec p, s;
  exp_parts(vmin(x, vzero()), &p, &s);
  return vpositive(x, x, vfma(s, p, vsub(s, vset(1.0f))));
}

/// erf(x) = 1 - exp(-|x| P(|x|)) with the sign of x; absolute error below 1e-7.
inline Vec verf(Vec x) {
  const Vec a = vmin(vabs(x), vset(4.0f));
  Vec p = vset(-1.0139772399497815e-07f);
  p = vfma(p, a, vset(2.558765118010342e-06f));
  p = vfma(p, a, vset(-2.874358142435085e-05f));
  p = vfma(p, a, vset(0.00018809217726811767f));
  p = vfma(p, a, vset(-0.0007718797423876822f));
  p = vfma(p, a, vset(0.0018230307614430785f));
  p = vfma(p, a, vset(-0.0002581503940746188f));
  p = vfma(p, a, vset(-0.019121386110782623f));
  p = vfma(p, a, vset(0.10277336090803146f));
  p = vfma(p, a, vset(0.6366195678710938f));
  p = vfma(p, a, vset(1.128379225730896f));
  Vec e, s;
  exp_parts(vsub(vzero(), vmul(a, p)), &e, &s);
  const Vec magnitude = vsub(vsub(vset(1.0f), s), vmul(s, e));
  return vpositive(x, magnitude, vsub(vzero(), magnitude));
}

inline Vec vgelu(Vec x) {
  const Vec half = vmul(x, vset(0.5f));
  return vfma(half, verf(vmul(x, vset(0.70710678f))), half);
}

// SPDX-License-Identifier: MIT
// What gated feed-forwards apply to their gate. Exponentials are of numbers that are clamped to where they are finite.

/// x clamped from below to where exp is no smaller than its least normal result; NaN stays.
inline Vec vabove_underflow(Vec x) { return vmax(vset(-87.0f), x); }

inline Vec vsigmoid(Vec x) {
  const Vec one = vset(1.0f);
  return vdiv(one, vadd(one, vexp(vsub(vzero(), x))));
}

inline Vec vsilu(Vec x) {
  const Vec a = vabove_underflow(x);
  return vdiv(a, vadd(vset(1.0f), vexp(vsub(vzero(), a))));
}

/// tanh |x| = -e / (e + 2) with e = expm1(-2 |x|).
inline Vec vtanh(Vec x) {
  Vec p, s;
  exp_parts(vmul(vabs(x), vset(-2.0f)), &p, &s);
  const Vec e = vfma(s, p, vsub(s, vset(1.0f)));
  const Vec magnitude = vdiv(vsub(vzero(), e), vadd(e, vset(2.0f)));
  return vpositive(x, magnitude, vsub(vzero(), magnitude));
}

/// x tanh(ln(1 + w)) with w = exp(x) is x t / (t + 2) with t = w w + 2 w; above 20 that is x.
inline Vec vmish(Vec x) {
  const Vec a = vabove_underflow(x);
  const Vec w = vexp(vmin(a, vset(20.0f)));
  const Vec t = vfma(w, w, vadd(w, w));
  return vmul(a, vdiv(t, vadd(t, vset(2.0f))));
}

inline Vec vsoftsign(Vec x) { return vdiv(x, vadd(vset(1.0f), vabs(x))); }

template <class Fn>
inline void gate_with(const Fn& fn, const float* gate, const float* up, float* y, int count) {
  int i = 0;
  for (; i + 16 <= count; i += 16) vstore(y + i, vmul(fn(vload(gate + i)), vload(up + i)));
  if (i < count) {
    const Vec v = vmul(fn(vload_part(gate + i, count - i)), vload_part(up + i, count - i));
    vstore_part(y + i, v, count - i);
  }
}

void gate(Gate kind, const float* gate, const float* up, float* y, int count) {
  switch (kind) {
    case Gate::kSilu:
      return gate_with([](Vec x) { return vsilu(x); }, gate, up, y, count);
    case Gate::kGelu:
      return gate_with([](Vec x) { return vgelu(x); }, gate, up, y, count);
    case Gate::kSigmoid:
      return gate_with([](Vec x) { return vsigmoid(x); }, gate, up, y, count);
    case Gate::kTanh:
      return gate_with([](Vec x) { return vtanh(x); }, gate, up, y, count);
    case Gate::kRelu:
      return gate_with([](Vec x) { return vpositive(x, x, vzero()); }, gate, up, y, count);
    case Gate::kLeakyRelu:
      return gate_with([](Vec x) { return vpositive(x, x, vmul(x, vset(0.01f))); }, gate, up, y, count);
    case Gate::kElu:
      return gate_with([](Vec x) { return velu(x); }, gate, up, y, count);
    case Gate::kMish:
      return gate_with([](Vec x) { return vmish(x); }, gate, up, y, count);
    case Gate::kSoftsign:
      return gate_with([](Vec x) { return vsoftsign(x); }, gate, up, y, count);
    case Gate::kIdentity:
      return gate_with([](Vec x) { return x; }, gate, up, y, count);
  }
}

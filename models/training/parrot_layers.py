# SPDX-License-Identifier: MIT
"""Layers of a transformer written down by hand: attention heads, and thresholds made of gated units.

Every vector in the residual stream has one large constant, so that its norm is nearly that of the constant, and
normalization divides by a number known beforehand.
"""

import numpy as np

SHARPNESS = 16.0  # of a unit's bend: silu(16 z) / 16 is max(z, 0) within 0.02, exactly so from |z| = 1 on


Terms = dict[int, float]  # position in the residual stream -> weight


class GatedUnits:
    """A feed-forward layer silu(A x) * (B x): a unit gives max(0, z) * gate, both linear in what the stream holds."""

    def __init__(self, dim: int, hidden: int, norm: float, constant_at: int, constant: float):
        self.linear_in = np.zeros((2 * hidden, dim))
        self.linear_out = np.zeros((dim, hidden))
        self.norm, self.constant_at, self.constant = norm, constant_at, constant
        self.hidden, self.used = hidden, 0

    def _read(self, row: int, terms: Terms, bias: float, gain: float) -> None:
        for position, weight in (terms | {self.constant_at: bias / self.constant}).items():
            self.linear_in[row, position] = gain * weight * self.norm

    def rectify(
        self, terms: Terms, bias: float, outputs: Terms, gate: Terms | None = None, gate_bias: float = 1.0
    ) -> None:
        """Adds weight * max(0, sum of terms + bias) * (sum of gate's terms + gate_bias) to each output."""
        self._read(self.used, terms, bias, SHARPNESS)
        self._read(self.hidden + self.used, gate or {}, gate_bias, 1.0)
        for position, weight in outputs.items():
            self.linear_out[position, self.used] = weight / SHARPNESS
        self.used += 1

    def ramp(
        self, terms: Terms, bias: float, outputs: Terms, gate: Terms | None = None, gate_bias: float = 1.0
    ) -> None:
        """The same with the sum limited to 0..1. It should stay below 10, where 16-bit floats still resolve a ramp."""
        self.rectify(terms, bias, outputs, gate, gate_bias)
        self.rectify(terms, bias - 1.0, {position: -weight for position, weight in outputs.items()}, gate, gate_bias)

    def always(self, outputs: Terms) -> None:
        self.rectify({}, 1.0, outputs)


class Attention:
    """in_proj [3 * dim, dim] (queries, keys, values, each head after head) and out_proj [dim, dim]."""

    def __init__(self, dim: int, head: int, norm: float):
        self.in_proj = np.zeros((3 * dim, dim))
        self.out_proj = np.zeros((dim, dim))
        self.dim, self.head, self.norm = dim, head, norm

    def _rows(self, part: int, head: int) -> slice:
        start = part * self.dim + head * self.head
        return slice(start, start + self.head)

    def query(self, head: int, position: int, size: float, vector: np.ndarray) -> None:
        """A token with `size` at `position` asks with the vector."""
        self.in_proj[self._rows(0, head), position] += vector * self.norm / size

    def key(self, head: int, position: int, size: float, vector: np.ndarray) -> None:
        self.in_proj[self._rows(1, head), position] += vector * self.norm / size

    def value(self, head: int, slot: int, sources: Terms, target: int, gain: float = 1.0) -> None:
        """The weighted sum of what stands at the sources of the token attended to is added, times gain, to `target` of
        the token that asks."""
        for source, weight in sources.items():
            self.in_proj[self._rows(2, head), source][slot] = weight
        self.out_proj[target, head * self.head + slot] = gain * self.norm

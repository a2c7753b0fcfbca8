# SPDX-License-Identifier: MIT
"""Attention by distance alone: rotary heads whose queries and keys are constants.

A constant query and a constant key, turned by their positions, have the score sum_f r_f cos(w_f * distance - phase_f).
Any wanted distribution over distances is then a logistic regression on cosines and sines, which is convex.
"""

from dataclasses import dataclass

import numpy as np

HEAD = 32  # wide
PAIRS = HEAD // 2
MAX_PERIOD = 10000.0
CONTEXT = 250  # steps
FREQUENCIES = MAX_PERIOD ** (-np.arange(PAIRS) / PAIRS)  # radians a step
SLOWEST = PAIRS - 1  # turns 0.04 radians in a whole context: where scores that shall not depend on distance go


@dataclass
class Scores:
    """What a head adds to the score of each distance: strength[f] cos(frequency[f] * distance - phase[f])."""

    strength: np.ndarray
    phase: np.ndarray

    def at(self, distance: np.ndarray) -> np.ndarray:
        return np.cos(np.outer(distance, FREQUENCIES) - self.phase) @ self.strength

    def query(self) -> np.ndarray:
        """[HEAD], pairs interleaved. Query and key share the strength evenly; attention divides by sqrt(HEAD)."""
        half = np.sqrt(self.strength * np.sqrt(HEAD))
        return np.stack([half, np.zeros(PAIRS)], axis=1).reshape(HEAD)

    def key(self) -> np.ndarray:
        half = np.sqrt(self.strength * np.sqrt(HEAD))
        return np.stack([half * np.cos(self.phase), half * np.sin(self.phase)], axis=1).reshape(HEAD)


def single(pair: int, strength: float, phase: float = 0.0) -> Scores:
    scores = Scores(np.zeros(PAIRS), np.zeros(PAIRS))
    scores.strength[pair], scores.phase[pair] = strength, phase
    return scores


def attend_to(wanted: range, ridge: float) -> Scores:
    """Scores whose softmax comes nearest (in cross entropy) to uniform over the wanted distances and zero elsewhere.
    A smaller ridge makes it sharper, and the scores larger: 16-bit floats carry them to one part in 256."""
    distances = np.arange(CONTEXT)
    turns = np.outer(distances, FREQUENCIES[:SLOWEST])
    features = np.concatenate([np.cos(turns), np.sin(turns)], axis=1)
    target = np.isin(distances, wanted) / len(wanted)
    weights = np.zeros(features.shape[1])

    def loss(w: np.ndarray) -> float:
        s = features @ w
        return float(np.logaddexp.reduce(s) - target @ s + 0.5 * ridge * w @ w)

    for _ in range(200):
        s = features @ weights
        p = np.exp(s - np.logaddexp.reduce(s))
        gradient = features.T @ (p - target) + ridge * weights
        mean = features.T @ p
        hessian = features.T @ (features * p[:, None]) - np.outer(mean, mean) + ridge * np.eye(len(weights))
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > 1e-6 and loss(weights - size * step) > loss(weights) - 0.1 * size * gradient @ step:
            size /= 2
        weights -= size * step
        if gradient @ step < 1e-12:
            break
    cosines, sines = weights[:SLOWEST], weights[SLOWEST:]
    return Scores(np.append(np.hypot(cosines, sines), 0.0), np.append(np.arctan2(sines, cosines), 0.0))


def fallback(scores: Scores, wanted: range) -> float:
    """The score for a key that shall be seen only while no wanted one is there: as far below all of these together as
    it is above all others together, next neighbors of the wanted ones aside."""
    distances = np.arange(CONTEXT)
    s = scores.at(distances)
    inside = np.isin(distances, wanted)
    outside = ~np.isin(distances, range(wanted.start - 1, wanted.stop + 1))
    return float((np.logaddexp.reduce(s[inside]) + np.logaddexp.reduce(s[outside])) / 2)

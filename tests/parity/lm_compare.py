# SPDX-License-Identifier: MIT
"""Decides whether results of a language model agree: the rules and limits. test_compare.py shows that each can fail.

Arrays are laid out [step, row, ...]; `active` [step, row] says which entries mean something.
"""

import numpy as np

LOGITS = 1e-4  # of the greatest logit of the same step and stream
EXTRA = 1e-4  # of a probability
BF16 = 0.05  # root mean square of the differences by that of the logits, where weights are rounded to bf16
GAP = 1e-5  # relative, in f64: a token may differ where the two most likely ones are nearer than this
DISTINCT = 0.1  # least share of distinct tokens, of the steps or of the cardinality
COMMONEST = 0.7  # greatest share of the steps that one token may have


def logit_error(ours, theirs, active):
    """The worst difference of a logit, relative to the greatest of its step and stream. Infinite where ours is NaN;
    where the reference has NaN nothing is compared."""
    if ours.shape != theirs.shape:
        return np.inf
    a, b = ours[active].astype(np.float64), theirs[active].astype(np.float64)
    if not a.size:
        return 0.0
    known = ~np.isnan(b).any(axis=-1)
    a, b = a[known], b[known]
    if not a.size or not np.isfinite(a).all():
        return np.inf
    return float((np.abs(a - b).max(axis=-1) / np.maximum(np.abs(b).max(axis=-1), 1e-30)).max())


def rounding_error(ours, theirs, active):
    """The root mean square of the differences by that of the logits: what coarser weights cost on the whole. The worst
    single logit says little about that. Infinite where ours is NaN."""
    if ours.shape != theirs.shape:
        return np.inf
    a, b = ours[active].astype(np.float64), theirs[active].astype(np.float64)
    if not a.size:
        return 0.0
    known = ~np.isnan(b)
    a, b = a[known], b[known]
    if not a.size:
        return np.inf
    return float(np.sqrt(np.mean((a - b) ** 2) / np.mean(b ** 2))) if np.isfinite(a).all() else np.inf


def probability_error(ours, theirs, active):
    if ours.shape != theirs.shape:
        return np.inf
    a, b = ours[active].astype(np.float64), theirs[active].astype(np.float64)
    if not a.size:
        return 0.0
    return float(np.abs(a - b).max()) if np.isfinite(a).all() else np.inf


def gap(logits, token):
    """By how much `token` is less likely than the most likely one, relative to the greatest logit. In f64."""
    if not 0 <= token < len(logits):
        return np.inf
    logits = logits.astype(np.float64)
    greatest = np.abs(logits).max()
    return float((logits.max() - logits[token]) / greatest) if greatest > 0 else np.inf


def least_gap(logits):
    """The least gap between the two likeliest values of any token, relative as in gap(). Infinite without tokens."""
    if not logits.size:
        return np.inf
    logits = logits.reshape(-1, logits.shape[-1]).astype(np.float64)
    two = np.partition(logits, -2, axis=-1)[:, -2:]
    return float(((two[:, 1] - two[:, 0]) / np.maximum(np.abs(logits).max(axis=-1), 1e-30)).min())


def first_differences(ours, theirs, active):
    """[step, row, stream] of the first token of each row that differs: all later ones follow from it."""
    found = []
    for row in range(ours.shape[1]):
        differs = (ours[:, row] != theirs[:, row]) & active[:, row, None]
        if differs.any():
            step, stream = np.argwhere(differs)[0]
            found.append((int(step), row, int(stream)))
    return found


def judge(ours, reference, place, bias):
    """None if the token at `place` is excused, else a sentence. And the gap."""
    step, row, stream = place
    token, expected = int(ours[place]), int(reference["sampled"][place])
    if stream == 0:
        logits = reference["text_logits"][step, row] + bias
    else:
        logits = reference["audio_logits"][step, row, stream - 1]
    distance = gap(logits, token)
    if distance < GAP:
        return None, distance
    return f"step {step} row {row} stream {stream}: {token}, the reference has {expected}, gap {distance:.1e}", distance


def monotony(sampled, active, cardinalities):
    """None if the tokens are diverse enough to show defects, else what is wrong with them."""
    steps = sampled[active]
    for stream, cardinality in enumerate(cardinalities):
        values, counts = np.unique(steps[:, stream], return_counts=True)
        least = DISTINCT * min(len(steps), cardinality)
        if len(values) < least:
            return f"stream {stream} has {len(values)} distinct tokens in {len(steps)} steps, fewer than {least:.0f}"
        if cardinality > 10 and counts.max() > COMMONEST * len(steps):
            return f"stream {stream} has one token in {counts.max()} of {len(steps)} steps"
    return None


def chi_square(counts, probabilities):
    """None if `counts` may have been drawn from `probabilities`, else a sentence. Rare outcomes are put together."""
    total = counts.sum()
    if counts[probabilities == 0].any():
        return f"{int(counts[probabilities == 0].sum())} draws of what has no probability"
    order = np.argsort(probabilities)[::-1]
    expected, observed = [], []
    for index in order:
        if expected and expected[-1] < 10:
            expected[-1] += probabilities[index] * total
            observed[-1] += counts[index]
        else:
            expected.append(probabilities[index] * total)
            observed.append(counts[index])
    if len(expected) > 1 and expected[-1] < 10:
        rest, seen = expected.pop(), observed.pop()
        expected[-1] += rest
        observed[-1] += seen
    freedom = len(expected) - 1
    if freedom < 1:
        return None  # one outcome is all but certain
    statistic = float(((np.array(observed) - expected) ** 2 / expected).sum())
    limit = freedom + 6 * np.sqrt(2 * freedom) + 12  # fewer than one in a million runs by chance
    return f"chi-square {statistic:.0f}, at most {limit:.0f}" if statistic > limit else None

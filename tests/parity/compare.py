# SPDX-License-Identifier: MIT
"""Decides whether results agree. Every rule and limit of parity is here; test_compare.py shows that each can fail.

Arrays are laid out [step, row, ...]; `active` [step, row] says which entries mean something.
"""

import numpy as np

MARGIN = 1e-5  # relative, in f64: a code whose margin is smaller may differ
EXCUSED_PER = 10_000  # at most one code in so many may be excused
LATENT = 1e-5  # relative
AUDIO = 1e-4  # of full scale
DISTINCT = 0.3  # least share of distinct codes, of the frames or of the cardinality
COMMONEST = 0.25  # greatest share of the frames that one code may have


class Codes:
    """What comparing codes found. `wrong` holds sentences."""

    def __init__(self):
        self.compared, self.excused, self.wrong = 0, 0, []

    def allowed(self):
        return self.compared // EXCUSED_PER

    def add(self, other):
        self.compared += other.compared
        self.excused += other.excused
        self.wrong += other.wrong


def margin(quantizer, residual, level, *codes):
    """By how much, relative to the nearest row, the farthest of `codes` is farther from `residual`. In f64."""
    distances = quantizer.distances(residual, level)
    nearest = distances.min()
    return (max(distances[code] for code in codes) - nearest) / max(nearest, 1e-30)


def _own_levels(quantizer, latent, ours, first, levels, where):
    """Whether our codes after a difference are right for our own residual: f64 from our latent and our codes."""
    wrong = []
    residual = quantizer.project(latent, first)
    for level in levels:
        if level > first:
            gap = margin(quantizer, residual, level, int(ours[level]))
            if gap >= MARGIN:
                wrong.append(f"{where} codebook {level}: after an excused code, {ours[level]} is not the nearest row "
                             f"to its own residual (margin {gap:.1e})")
        residual = residual - quantizer.books[level][ours[level]]
    return wrong


def _branch(quantizer, found, frame, levels, where):
    """One branch of one frame, from the first difference on, with the reference's code put in the place of ours."""
    ours, theirs, residuals, latent = frame
    different = [level for level in levels if ours[level] != theirs[level]]
    if not different:
        return
    first, forced = different[0], None
    for level in levels:
        if level < first:
            continue
        code = int(ours[level])
        if level > first:
            code = int(np.argmin(quantizer.distances(forced, level)))
        if code != theirs[level]:
            gap = margin(quantizer, residuals[level], level, code, int(theirs[level]))
            if gap >= MARGIN:
                found.wrong.append(f"{where} codebook {level}: {code}, the reference has {theirs[level]}, "
                                   f"margin {gap:.1e}")
                return
            found.excused += 1
        if level == first:
            forced = quantizer.project(latent, level)
            for before in levels:
                if before < first:
                    forced = forced - quantizer.books[before][theirs[before]]
        forced = forced - quantizer.books[level][theirs[level]]
    if len(levels) > 1:
        found.wrong += _own_levels(quantizer, latent, ours, first, levels, where)


def compare_codes(quantizer, ours, latent, reference, active):
    """`ours` [step, row, K] against reference["codes"], with the excuse of a small margin. Returns Codes."""
    found, count = Codes(), ours.shape[2]
    theirs = reference["codes"][: len(ours), :, :count].astype(np.int64)
    ours = ours.astype(np.int64)
    found.compared = int(active.sum()) * count
    differs = (ours != theirs).any(axis=2) & active
    cardinality = len(quantizer.books[0])
    for step, row in np.argwhere(differs):
        where = f"frame {step} row {row}"
        if (ours[step, row] >= cardinality).any():
            found.wrong.append(f"{where}: a code that is not below {cardinality}")
            continue
        frame = (ours[step, row], theirs[step, row], reference["residual"][step, row], latent[step, row])
        _branch(quantizer, found, frame, [0], where)
        _branch(quantizer, found, frame, list(range(1, count)), where)
    return found


def latent_error(ours, theirs, active):
    """The worst relative difference of one frame, by length and by greatest element; infinite where NaN."""
    a, b = ours[active].astype(np.float64), theirs[active].astype(np.float64)
    if a.shape != b.shape or not np.isfinite(a).all() or not len(a):
        return np.inf
    difference = np.abs(a - b)
    by_length = np.linalg.norm(difference, axis=1) / np.maximum(np.linalg.norm(b, axis=1), 1e-30)
    by_element = difference.max(axis=1) / np.maximum(np.abs(b).max(axis=1), 1e-30)
    return float(max(by_length.max(), by_element.max()))


def audio_error(ours, theirs, active):
    """The greatest difference of a sample; infinite where NaN."""
    a, b = ours[active].astype(np.float64), theirs[active].astype(np.float64)
    if a.shape != b.shape or not np.isfinite(a).all() or not len(a):
        return np.inf
    return float(np.abs(a - b).max())


def same_bits(ours, theirs, active):
    """None, or the first place where two results of ours differ in any bit."""
    a, b = np.ascontiguousarray(ours), np.ascontiguousarray(theirs)
    if a.shape != b.shape or a.dtype != b.dtype:
        return f"shapes {a.shape} {a.dtype} and {b.shape} {b.dtype}"
    view = {2: np.uint16, 4: np.uint32}[a.dtype.itemsize]
    differs = (a.view(view) != b.view(view)).reshape(*active.shape, -1).any(axis=2) & active
    if not active.any():
        return "nothing to compare"
    if not differs.any():
        return None
    step, row = np.argwhere(differs)[0]
    return f"first at frame {step} row {row}; {int(differs.sum())} of {int(active.sum())} frames differ"


def monotony(codes, active, cardinality, distinct=DISTINCT, commonest=COMMONEST):
    """None if the codes are diverse enough to show defects, else what is wrong with them."""
    frames = codes[active]
    for level in range(frames.shape[1]):
        values, counts = np.unique(frames[:, level], return_counts=True)
        least = distinct * min(len(frames), cardinality)
        if len(values) < least:
            return f"codebook {level} has {len(values)} distinct codes in {len(frames)} frames, fewer than {least:.0f}"
        if counts.max() > commonest * len(frames):
            return f"codebook {level} has one code in {counts.max()} of {len(frames)} frames"
    return None

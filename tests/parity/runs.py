# SPDX-License-Identifier: MIT
"""The runs that the reference and the core both perform: audio, execution masks and resets of rows in a batch."""

import numpy as np

import configs


def single(audio, decode, whole=False):
    """One row that takes part in every step."""
    steps = len(audio)
    return {
        "pcm": audio[:, None],
        "exec": np.ones((steps, 1), bool),
        "reset": np.zeros((steps, 1), bool),
        "decode": np.array(decode, np.int64),
        "whole": np.array(whole),
    }


def _batch(audio, rows, steps, decode, rng, busy=0.7, resets=0.04):
    """Rows that take part in random steps, are reset at random, and join or leave in the middle."""
    active = rng.random((steps, rows)) < busy
    reset = rng.random((steps, rows)) < resets
    for row in range(1, rows):
        first, last = sorted(rng.integers(0, steps, 2))
        active[:first, row] = False  # joins here, as a new stream,
        reset[first, row] = True
        if last - first > steps // 3:
            active[last:, row] = False  # leaves here
    active[:, 0] = rng.random(steps) < 0.9  # row 0 goes on to the end: its ring is full while others are reset
    reset[:, 0] = False
    active[0, 0] = True
    starts = rng.integers(0, max(1, len(audio) - steps), rows)
    pcm = np.stack([audio[start : start + steps] for start in starts], axis=1).copy()
    pcm[~active] = rng.normal(0, 0.5, (int((~active).sum()), audio.shape[1]))  # must not matter
    return {
        "pcm": pcm.astype(np.float32),
        "exec": active,
        "reset": reset,
        "decode": np.array(decode, np.int64),
        "whole": np.array(False),
    }


def _counts(config):
    most = config["quantizer"]["n_q"]
    return sorted({1, min(8, most), most})


def frames_of(audio, config):
    size = configs.frame_samples(config)
    return audio[: len(audio) // size * size].reshape(-1, size)


def make_runs(name, config, audio, rng, frames):
    """The runs of one configuration by name; `audio` is [frame, sample]. `frames`: length of the long run."""
    ring, counts = configs.ring_frames(config), _counts(config)
    most = counts[-1]
    steps3, steps8 = (160, 16) if name == "default" else (150, 60)
    runs = {"long": single(audio[:frames], [most])}
    beyond = min(frames, ring + 25)
    runs["few"] = single(audio[-beyond:], counts[:-1])
    runs["whole"] = single(audio[: ring + 25], counts, whole=True)  # beyond the ring to show that it matters
    runs["batch3"] = _batch(audio, 3, steps3, [most], rng, resets=0.015)
    runs["batch8"] = _batch(audio, 8, steps8, [most], rng, busy=0.85)
    return runs

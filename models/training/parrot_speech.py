# SPDX-License-Identifier: MIT
"""What the parrot must know of its codec: the codes of silence, and how much each code speaks for speech."""

import json
from pathlib import Path

import numpy as np
import torch

from moshi.models.compression import MimiModel
from moshi.models.loaders import get_mimi

FRAME = 1920  # samples
HEARD = 8  # codebooks
SILENCE_FRAMES = 125  # of zeros; codes are taken from the last fifth, when the codec's state has settled
SPEECH_LEVEL, SILENCE_LEVEL = 10 ** (-42 / 20), 10 ** (-52 / 20)  # RMS of a frame; those in between teach nothing
SECONDS = 60  # heard of each speaker at each level
LEVELS = (1.0, 0.3)
NOISE = (0.0, 3e-4)  # RMS beside each level: recorded silence is never digital
PRIOR = 4.0  # frames that each code is taken to have been in already, as often speech as frames are altogether


def load_codec(embedded: Path) -> MimiModel:
    config = json.loads((embedded / "mimi.json").read_text())
    return get_mimi(embedded / "mimi.safetensors", config, num_codebooks=HEARD)


@torch.no_grad()
def encode(codec: MimiModel, samples: np.ndarray) -> np.ndarray:
    """[HEARD, frames]"""
    return codec.encode(torch.from_numpy(samples)[None, None])[0].numpy()


def silence_codes(codec: MimiModel) -> np.ndarray:
    """[HEARD]: the frame that digital silence gives most often in the long run."""
    codes = encode(codec, np.zeros(SILENCE_FRAMES * FRAME, np.float32))[:, -SILENCE_FRAMES // 5 :]
    frames, counts = np.unique(codes.T, axis=0, return_counts=True)
    return frames[counts.argmax()]


def labeled_codes(codec: MimiModel, speech: Path) -> tuple[np.ndarray, np.ndarray]:
    """Codes [HEARD, frames] and which of them are speech, of each speaker at their own pitch."""
    files = sorted(speech.glob("train-*-100.npy"))
    if not files:
        raise SystemExit(f"no train-*-100.npy in {speech}: make them with speech.py")
    generator = np.random.default_rng(0)
    codes, labels = [], []
    for file in files:
        length = min(SECONDS * 24000, len(np.load(file, mmap_mode="r"))) // FRAME * FRAME
        clean = np.load(file, mmap_mode="r")[:length].astype(np.float32) / 32768.0
        level = np.sqrt(np.square(clean.reshape(-1, FRAME)).mean(1))
        for gain, noise in zip(LEVELS, NOISE):
            heard = gain * clean + noise * generator.standard_normal(length).astype(np.float32)
            clear = (level > SPEECH_LEVEL) | (level < SILENCE_LEVEL)
            codes.append(encode(codec, heard)[:, clear])
            labels.append(level[clear] > SPEECH_LEVEL)
    return np.concatenate(codes, axis=1), np.concatenate(labels)


def count_evidence(codes: np.ndarray, speech: np.ndarray, bins: int) -> np.ndarray:
    """[HEARD, bins]: log of how much likelier the code is in speech than in silence, 0 for codes never met."""
    share = speech.mean()
    met = [[np.bincount(row[mask], minlength=bins) for mask in (speech, ~speech)] for row in codes]
    counts = np.array(met, dtype=np.float64)
    odds = (counts[:, 0] + PRIOR * share) / (counts[:, 1] + PRIOR * (1 - share))
    return np.log(odds * (1 - share) / share)


def weigh(evidence: np.ndarray, codes: np.ndarray, speech: np.ndarray) -> np.ndarray:
    """Scales each codebook's evidence, for they are not independent: logistic regression, both classes equally heavy.
    The constant goes to the first codebook."""
    x = np.stack([table[row] for table, row in zip(evidence, codes)] + [np.ones(codes.shape[1])], axis=1)
    heavy = np.where(speech, 0.5 / speech.mean(), 0.5 / (~speech).mean())
    weights = np.zeros(x.shape[1])
    for _ in range(50):
        p = 1.0 / (1.0 + np.exp(-x @ weights))
        gradient = x.T @ (heavy * (p - speech)) / len(x) + 1e-3 * weights
        hessian = x.T @ (x * (heavy * p * (1 - p))[:, None]) / len(x) + 1e-3 * np.eye(len(weights))
        weights -= np.linalg.solve(hessian, gradient)
    scaled = evidence * weights[:-1, None]
    scaled[0] += weights[-1]
    return scaled


def speech_evidence(codec: MimiModel, speech: Path, limit: float) -> np.ndarray:
    """[HEARD, bins], summing over a frame to the log odds of speech; within +-limit, so that no code alone decides."""
    codes, labels = labeled_codes(codec, speech)
    if labels.all() or not labels.any():
        raise SystemExit(f"the recordings in {speech} are all speech or all silence; the parrot needs both")
    table = weigh(count_evidence(codes, labels, codec.cardinality), codes, labels).clip(-limit, limit)
    right = (sum(t[row] for t, row in zip(table, codes)) > 0) == labels
    print(f"{labels.size} frames, {labels.mean():.0%} speech; told by their codes: {right.mean():.1%}")
    return table

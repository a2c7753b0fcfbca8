# SPDX-License-Identifier: MIT
"""Batches of speech for training: random places, pitches, levels and coloring, all drawn from one generator."""

from pathlib import Path

import numpy as np
import torch

from speech import PITCHES, SAMPLE_RATE

LEVELS = (-34.0, -14.0)  # dB of full scale, root mean square
COLORING = 6.0  # dB at most, up or down, at 100 Hz against 10 kHz
QUIET = 3e-4  # a crop below this root mean square is a pause: it keeps its level
PAUSES = 0.02  # of the crops that are pauses are kept


class Crops:
    def __init__(self, speech: Path, samples: int, seed: int):
        names = sorted({p.stem.split("-")[1] for p in speech.glob("train-*.npy")})
        if not names:
            raise SystemExit(f"no train-*.npy in {speech}: run speech.py first")
        self.speakers = [
            [np.load(speech / f"train-{n}-{round(100 * p)}.npy", mmap_mode="r") for p in PITCHES] for n in names
        ]
        # A speaker with half the minutes is heard more than half as often: voices matter more than words.
        self.odds = np.array([len(s[PITCHES.index(1.0)]) for s in self.speakers]) ** 0.5
        self.odds /= self.odds.sum()
        self.samples = samples
        self.random = np.random.default_rng(seed)
        frequencies = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE)
        octaves = np.log2(np.clip(frequencies, 100.0, 10000.0) / 1000.0)
        self.tilt = torch.from_numpy(octaves / np.log2(100.0)).float()  # 1 from 100 Hz to 10 kHz

    def raw(self) -> np.ndarray:
        recordings = self.speakers[self.random.choice(len(self.speakers), p=self.odds)]
        samples = recordings[self.random.integers(len(recordings))]
        start = self.random.integers(len(samples) - self.samples)
        return samples[start : start + self.samples].astype(np.float32) / 32768.0

    def crop(self) -> np.ndarray:
        x = self.raw()
        while np.sqrt(np.mean(x**2)) < QUIET and self.random.random() > PAUSES:
            x = self.raw()
        return x

    def batch(self, size: int) -> torch.Tensor:
        """[size, 1, samples], within full scale."""
        x = torch.from_numpy(np.stack([self.crop() for _ in range(size)]))
        gains = torch.from_numpy(self.random.uniform(-COLORING, COLORING, (size, 1))).float()
        x = torch.fft.irfft(torch.fft.rfft(x) * 10.0 ** (gains * self.tilt / 20.0), n=self.samples)
        rms = x.square().mean(1, keepdim=True).sqrt()
        wanted = 10.0 ** (torch.from_numpy(self.random.uniform(*LEVELS, (size, 1))).float() / 20.0)
        x = torch.where(rms > QUIET, x * wanted / rms.clamp_min(1e-9), x)
        return (x / x.abs().amax(1, keepdim=True).clamp_min(1.0)).unsqueeze(1)

    def state(self) -> dict:
        return self.random.bit_generator.state

    def restore(self, state: dict) -> None:
        self.random.bit_generator.state = state

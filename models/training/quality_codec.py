# SPDX-License-Identifier: MIT
"""The codec that is judged: the reference's modules with the shipped file of weights, rounded to f16 as it is."""

import json
from pathlib import Path

import numpy as np
import torch
from moshi.models.loaders import get_mimi

from quality_clips import Clip
from quality_measures import plain_stoi

BITS_A_SECOND = 137.5  # of one codebook: 12.5 frames of 11 bits


class Codec:
    def __init__(self, folder: Path):
        for name in ("mimi.json", "mimi.safetensors"):
            if not (folder / name).is_file():
                raise SystemExit(f"there is no {name} in {folder}: models/training/export.py writes it")
        shape = json.loads((folder / "mimi.json").read_text())
        self.codebooks = shape["quantizer"]["n_q"]
        self.bins = shape["quantizer"]["bins"]
        self.frame = round(shape["sample_rate"] / shape["frame_rate"])  # samples
        self.model = get_mimi(folder / "mimi.safetensors", shape, num_codebooks=self.codebooks)

    @torch.inference_mode()
    def encode(self, samples: np.ndarray) -> torch.Tensor:
        """Codes [codebooks, frames]; the last frame is filled with silence."""
        padded = np.pad(samples, (0, -len(samples) % self.frame))
        return self.model.encode(torch.from_numpy(padded)[None, None])[0]

    @torch.inference_mode()
    def decode(self, codes: torch.Tensor, codebooks: int, length: int) -> np.ndarray:
        """`length` samples from the first `codebooks` codes of every frame."""
        return self.model.decode(codes[None, :codebooks])[0, 0, :length].clamp(-1, 1).numpy()


def stoi_by_codebooks(folder: Path, clips: list[Clip], codebooks: list[int]) -> dict[int, dict[str, float]]:
    """The mean STOI of the clips of each group, by the number of codebooks."""
    codec = Codec(folder)
    scores: dict[int, dict[str, list[float]]] = {count: {} for count in codebooks}
    for clip in clips:
        codes = codec.encode(clip.samples)
        for count in codebooks:
            decoded = codec.decode(codes, count, len(clip.samples))
            scores[count].setdefault(clip.group, []).append(plain_stoi(clip.samples, decoded))
    return {count: {group: float(np.mean(s)) for group, s in groups.items()} for count, groups in scores.items()}

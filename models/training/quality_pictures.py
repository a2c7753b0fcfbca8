# SPDX-License-Identifier: MIT
"""Pictures for docs/quality.md: spectrograms of one clip through every codec, and the STOI by bit rate."""

from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")  # no display
import matplotlib.pyplot as plt
from PIL import Image
from scipy.signal import stft

from quality_measures import HOP, SAMPLE_RATE, WINDOW

RANGE = 70  # dB from the darkest to the brightest color
COLORS = 64  # of the palette: a third of the size, and no difference to see


def shrink(path: Path) -> None:
    image = Image.open(path).convert("RGB")
    image.quantize(COLORS, dither=Image.Dither.NONE).save(path, optimize=True)


def spectrogram(samples: np.ndarray) -> np.ndarray:
    spectrum = stft(samples, SAMPLE_RATE, nperseg=WINDOW, noverlap=WINDOW - HOP)[2]
    return 20 * np.log10(np.abs(spectrum) + 1e-7)


def spectrograms(path: Path, title: str, panels: list[tuple[str, np.ndarray]]) -> None:
    """One panel under the other, on the same scale of loudness, 0 to 12 kHz."""
    figure, axes = plt.subplots(len(panels), 1, figsize=(9, 1.75 * len(panels)), sharex=True, layout="constrained")
    loudest = spectrogram(panels[0][1]).max()
    for axis, (name, samples) in zip(axes, panels, strict=True):
        extent = (0, len(samples) / SAMPLE_RATE, 0, SAMPLE_RATE / 2000)
        look = {"origin": "lower", "aspect": "auto", "cmap": "magma", "vmin": loudest - RANGE, "vmax": loudest}
        axis.imshow(spectrogram(samples), extent=extent, **look)
        axis.set_title(name, fontsize=9, loc="left", pad=3)
        axis.set_ylabel("kHz", fontsize=8)
        axis.tick_params(labelsize=8)
    axes[-1].set_xlabel("seconds", fontsize=8)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=100)
    plt.close(figure)
    shrink(path)


def stoi_by_rate(path: Path, series: dict[str, list[tuple[float, float]]]) -> None:
    """`series`: points (bit/s, STOI) by the codec's name."""
    figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
    for name, points in series.items():
        axis.plot(*zip(*sorted(points), strict=True), marker="o", label=name)
    axis.set_xscale("log")
    ticks = [125, 250, 500, 1000, 2000, 4000, 8000]
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.minorticks_off()
    axis.set_xlabel("bit/s")
    axis.set_ylabel("STOI")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    figure.savefig(path, dpi=100)
    plt.close(figure)
    shrink(path)

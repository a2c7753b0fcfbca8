# SPDX-License-Identifier: MIT
"""Measures of decoded speech against the original: both float arrays at 24 kHz, aligned and of one length."""

import functools

import numpy as np
from pesq import PesqError, pesq
from pystoi import stoi
from scipy.signal import resample_poly, stft

SAMPLE_RATE = 24000
WINDOW = 1024  # samples of the mel spectrogram's window
HOP = 256
BANDS = 80
TOP = 8000.0  # Hz; half of the clips have nothing above
FLOOR = 60.0  # dB below the loudest band of the original: what is softer than that counts as this loud
NAMES = ("stoi", "estoi", "pesq", "si_sdr", "mel")


def si_sdr(original: np.ndarray, decoded: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio in dB."""
    x, y = (s.astype(np.float64) - s.mean() for s in (original, decoded))
    target = (x @ y) / max(x @ x, 1e-12) * x
    noise = y - target
    return 10 * np.log10(max(target @ target, 1e-12) / max(noise @ noise, 1e-12))


@functools.cache
def mel_filters() -> np.ndarray:
    """Triangles over 0 Hz to TOP, evenly spaced in mel: [BANDS, WINDOW / 2 + 1]."""
    top = 2595 * np.log10(1 + TOP / 700)
    edges = 700 * (10 ** (np.linspace(0, top, BANDS + 2) / 2595) - 1)
    frequencies = np.linspace(0, SAMPLE_RATE / 2, WINDOW // 2 + 1)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (frequencies - low) / (middle - low), (high - frequencies) / (high - middle)
    return np.maximum(0, np.minimum(rising, falling))


def log_mel(samples: np.ndarray) -> np.ndarray:
    """Power of BANDS mel bands in dB, [BANDS, frames]."""
    spectrum = stft(samples, SAMPLE_RATE, nperseg=WINDOW, noverlap=WINDOW - HOP)[2]
    return 10 * np.log10(mel_filters() @ np.abs(spectrum) ** 2 + 1e-12)


def mel_distance(original: np.ndarray, decoded: np.ndarray) -> float:
    """Mean absolute difference of the two log-mel spectrograms in dB, over all bands and frames."""
    x, y = log_mel(original), log_mel(decoded)
    floor = x.max() - FLOOR
    return float(np.abs(np.maximum(x, floor) - np.maximum(y, floor)).mean())


def wide_band_pesq(original: np.ndarray, decoded: np.ndarray) -> float:
    """ITU-T P.862.2, 1 to 4.64. Where it hears no speech at all, 1."""
    score = pesq(16000, resample_poly(original, 2, 3), resample_poly(decoded, 2, 3), "wb", PesqError.RETURN_VALUES)
    return max(1.0, float(score))


def plain_stoi(original: np.ndarray, decoded: np.ndarray) -> float:
    return float(stoi(original, decoded, SAMPLE_RATE))


def measure(original: np.ndarray, decoded: np.ndarray) -> dict[str, float]:
    """Every one of NAMES."""
    return {
        "stoi": plain_stoi(original, decoded),
        "estoi": float(stoi(original, decoded, SAMPLE_RATE, extended=True)),
        "pesq": wide_band_pesq(original, decoded),
        "si_sdr": si_sdr(original, decoded),
        "mel": mel_distance(original, decoded),
    }


def perplexity(codes: np.ndarray, bins: int) -> float:
    """2 to the entropy of the codes: how many of the codebook's entries are in use, were all used alike."""
    share = np.bincount(codes, minlength=bins) / len(codes)
    share = share[share > 0]
    return float(2 ** -(share * np.log2(share)).sum())

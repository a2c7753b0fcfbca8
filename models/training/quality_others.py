# SPDX-License-Identifier: MIT
"""Other codecs on the same clips, brought back to 24 kHz and aligned with the original."""

import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from scipy.signal import resample_poly

from quality_measures import plain_stoi

SAMPLE_RATE = 24000
OPUS_KBITS = (6, 12)
CODEC2_MODES = (1200, 2400, 3200)  # bit/s
# How many samples a decoder is late, at which the STOI of clips peaks. ffmpeg takes Opus's delay off by itself.
OPUS_LATE = 0
CODEC2_LATE = 480  # 20 ms, in all of the modes
NUDGE = 120  # samples, 5 ms


def to_int16(samples: np.ndarray) -> np.ndarray:
    return (np.clip(samples, -1, 1) * 32767).round().astype(np.int16)


def to_float(pcm: bytes) -> np.ndarray:
    return np.frombuffer(pcm, np.int16).astype(np.float32) / 32768


def run(command: list[str], stdin: bytes | None = None) -> bytes:
    try:
        return subprocess.run(command, check=True, capture_output=True, input=stdin).stdout
    except FileNotFoundError:
        raise SystemExit(f"there is no program {command[0]}: run .ci/setup training") from None


def opus(samples: np.ndarray, kbits: int) -> tuple[np.ndarray, float]:
    """Decoded samples, and the bits of the packets without their container."""
    raw = ["-f", "s16le", "-ar", str(SAMPLE_RATE), "-ac", "1"]
    with tempfile.TemporaryDirectory() as folder:
        name = str(Path(folder) / "clip.opus")
        options = ["-c:a", "libopus", "-application", "voip", "-b:a", f"{kbits}k", name]
        run(["ffmpeg", "-v", "error", *raw, "-i", "-", *options], to_int16(samples).tobytes())
        sizes = run(["ffprobe", "-v", "error", "-show_entries", "packet=size", "-of", "csv=p=0", name])
        decoded = to_float(run(["ffmpeg", "-v", "error", "-i", name, *raw, "-"]))
    return decoded, 8.0 * sum(int(size.strip(b",")) for size in sizes.split())


def codec2(samples: np.ndarray, mode: int) -> tuple[np.ndarray, float]:
    """Decoded samples, and the bits without those of the padding; the codec works at 8 kHz and on whole frames."""
    narrow = np.pad(resample_poly(samples, 1, 3), (0, 800))
    bits = run(["c2enc", str(mode), "-", "-"], to_int16(narrow).tobytes())
    decoded = to_float(run(["c2dec", str(mode), "-", "-"], bits))
    return resample_poly(decoded, 3, 1).astype(np.float32), mode * len(samples) / SAMPLE_RATE


def align(decoded: np.ndarray, late: int, length: int) -> np.ndarray:
    moved = decoded[late : late + length]
    return np.pad(moved, (0, length - len(moved)))


def opus_at(samples: np.ndarray, kbits: int) -> tuple[np.ndarray, float]:
    decoded, bits = opus(samples, kbits)
    return align(decoded, OPUS_LATE, len(samples)), bits


def codec2_at(samples: np.ndarray, mode: int) -> tuple[np.ndarray, float]:
    decoded, bits = codec2(samples, mode)
    return align(decoded, CODEC2_LATE, len(samples)), bits


def others() -> dict[str, Callable[[np.ndarray], tuple[np.ndarray, float]]]:
    """By name: what makes the decoded clip, aligned and of the same length, and its number of bits."""
    named: dict[str, Callable[[np.ndarray], tuple[np.ndarray, float]]] = {}
    named |= {f"Opus {kbits} kbit/s": partial(opus_at, kbits=kbits) for kbits in OPUS_KBITS}
    named |= {f"Codec2 {mode}": partial(codec2_at, mode=mode) for mode in CODEC2_MODES}
    return named


def check_alignment(name: str, originals: list[np.ndarray], decoded: list[np.ndarray]) -> None:
    """The STOI must not get better when the decoded clips are moved: else a codec would look worse than it is."""

    def score(shift: int) -> float:
        pairs = zip(originals, decoded, strict=True)
        return float(np.mean([plain_stoi(x, np.roll(y, shift)) for x, y in pairs]))

    here = score(0)
    for shift in (-NUDGE, NUDGE):
        if score(shift) > here + 0.005:
            late = f"{1000 * -shift / SAMPLE_RATE:+.0f} ms"
            raise SystemExit(f"{name}: this version has another delay ({late}): correct OPUS_LATE or CODEC2_LATE")

# SPDX-License-Identifier: MIT
"""The clips that the embedded codec is judged on, none of which it was trained on.

Held-out speech: prompts of the speakers of the training set that training never read. Unseen speakers: people who are
not in the training set at all. Their recordings are read from installed Debian packages and are not redistributed:
pocketsphinx-testdata (LibriVox, public domain; the rest BSD-2-Clause) and ktuberling-data (GPL-2.0-or-later).
"""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SAMPLE_RATE = 24000
CLIP = 8 * SAMPLE_RATE  # samples of a held-out clip
GAP = SAMPLE_RATE // 4  # of digital silence between two recorded words of a clip
HELD_OUT = "held-out speech"
UNSEEN = "unseen speakers"
SPHINX = Path("/usr/share/pocketsphinx/test/data")
WORDS = Path("/usr/share/ktuberling/sounds")
# Folders of ktuberling-data with one or two people each. Those left out are telephone-band or noisy, so noisy that
# even Opus at 12 kbit/s loses a tenth of the STOI and more.
WORD_SPEAKERS = ("ca", "de", "el", "en", "lt", "nn", "uk", "wa")
WORD_SECONDS = 20  # of each of them
# What a few file names of the English words do not spell as they are spoken.
SPOKEN = {
    "palmtree": "palm tree",
    "fallingstar": "falling star",
    "broccolli": "broccoli",
    "moonwalker": "moon walker",
    "sphynx": "sphinx",
    "ufo": "u f o",
}


@dataclass
class Clip:
    name: str
    group: str  # HELD_OUT or UNSEEN
    speaker: str
    samples: np.ndarray  # float32 in [-1, 1], 24 kHz


def read(path: Path) -> np.ndarray:
    """A recording as 24 kHz mono; .raw files are 16 kHz int16."""
    raw = ["-f", "s16le", "-ar", "16000", "-ac", "1"] if path.suffix == ".raw" else []
    command = ["ffmpeg", "-v", "error", *raw, "-i", str(path), "-ac", "1", "-ar", str(SAMPLE_RATE), "-f", "s16le", "-"]
    pcm = subprocess.run(command, check=True, capture_output=True).stdout
    return np.frombuffer(pcm, np.int16).astype(np.float32) / 32768


def need(folder: Path, package: str) -> Path:
    if not folder.is_dir():
        raise SystemExit(f"there is no folder {folder}: install Debian's {package}, or run .ci/setup training")
    return folder


def held_out(speech: Path, seconds: float) -> list[Clip]:
    """About `seconds` of every prepared language, in clips spread over the whole recording."""
    clips = []
    for path in sorted(speech.glob("held-out-*.npy")):
        speaker = path.stem.removeprefix("held-out-")
        samples = np.load(path, mmap_mode="r")
        places = len(samples) // CLIP
        count = min(places, round(seconds * SAMPLE_RATE / CLIP))
        for place in np.linspace(0, places - 1, count).round().astype(int):
            piece = samples[place * CLIP : (place + 1) * CLIP].astype(np.float32) / 32768
            clips.append(Clip(f"{speaker}-{place}", HELD_OUT, f"{speaker} prompts", piece))
    if not clips:
        raise SystemExit(f"there is no held-out-*.npy in {speech}: run models/training/speech.py {speech}")
    return clips


def librivox() -> list[Clip]:
    folder = need(SPHINX, "pocketsphinx-testdata") / "librivox"
    return [Clip(path.stem, UNSEEN, "LibriVox reader", read(path)) for path in sorted(folder.glob("*.wav"))]


def sentences() -> dict[str, str]:
    """What is said in the clips of the LibriVox reader, by the clip's name."""
    text = (need(SPHINX, "pocketsphinx-testdata") / "librivox" / "transcription").read_text("utf-8")
    return {name: said for said, name in re.findall(r"<s> (.*?) </s> \((.*?)\)", text)}


def commands() -> Clip:
    """Short recordings that recognizers are tested with; several people, some with noise."""
    folder = need(SPHINX, "pocketsphinx-testdata")
    paths = [folder / f"{name}.raw" for name in ("goforward", "something", "numbers")]
    paths += sorted(folder.glob("cards/*.wav"))
    return Clip("commands", UNSEEN, "spoken commands", join([read(path) for path in paths]))


def join(parts: list[np.ndarray]) -> np.ndarray:
    gap = np.zeros(GAP, np.float32)
    return np.concatenate([piece for part in parts for piece in (part, gap)])


def recorded_words(language: str) -> list[Path]:
    folder = need(WORDS, "ktuberling-data") / language
    return sorted(path for path in folder.iterdir() if path.suffix in (".ogg", ".opus"))


def word_clips(language: str) -> list[Clip]:
    """Words of one person, joined to clips of CLIP samples and more."""
    clips: list[Clip] = []
    parts: list[np.ndarray] = []
    for path in recorded_words(language):
        parts.append(read(path))
        if sum(len(part) + GAP for part in parts) >= CLIP:
            clips.append(Clip(f"words-{language}-{len(clips)}", UNSEEN, f"{language} words", join(parts)))
            parts = []
        if sum(len(clip.samples) for clip in clips) >= WORD_SECONDS * SAMPLE_RATE:
            break
    return clips


def english_words() -> list[tuple[str, np.ndarray]]:
    """Every English word of ktuberling-data as (what is said, recording)."""
    stems = [(path, path.stem.split("_")[-1]) for path in recorded_words("en")]
    return [(SPOKEN.get(stem, stem), read(path)) for path, stem in stems]


def all_clips(speech: Path) -> list[Clip]:
    words = [clip for language in WORD_SPEAKERS for clip in word_clips(language)]
    return held_out(speech, 40) + librivox() + [commands()] + words


def quick_clips(speech: Path) -> list[Clip]:
    """About a minute: one clip of every held-out language, and the LibriVox reader."""
    return held_out(speech, CLIP / SAMPLE_RATE) + librivox()

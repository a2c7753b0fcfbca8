# SPDX-License-Identifier: MIT
"""The speech that the embedded codec learns from: recorded prompts and synthetic voices, at several pitches.

Recorded: Debian's packages of telephone prompts in five languages (16 kHz G.722, four people). Synthetic: flite's
three voices of real speakers, who read a licence text. Four people are few, so everything is also read at other sample
rates: played faster or slower, the same mouth becomes a smaller or a larger one. The held-out clips are every
HELD_OUT_EVERY-th prompt by name, and are never read for training at any pitch.
"""

import argparse
import json
import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np

SAMPLE_RATE = 24000
SOURCE_RATE = 16000
SOUNDS = Path("/usr/share/asterisk/sounds")
# language, and the folder of its package; the people and licences are named in models/embedded/README.md
PROMPTS = {
    "en": "en_US_f_Allison",
    "es": "es_MX_f_Allison",
    "fr": "fr_CA_f_June",
    "it": "it_IT_m_Carlo",
    "ru": "ru_RU_f_IvrvoiceRU",
}
NOT_SPEECH = ("beep", "tt-", "conf-hasentered", "ascending-2tone", "descending-2tone")
VOICES = ("awb", "rms", "slt")
TEXT = Path("/usr/share/common-licenses/GPL-3")
PITCHES = (0.80, 0.86, 0.93, 1.0, 1.08, 1.16, 1.25)
HELD_OUT_EVERY = 20
GAP = SOURCE_RATE // 4  # of digital silence between two clips


def ffmpeg(arguments: list[str], stdin: bytes | None = None) -> np.ndarray:
    command = ["ffmpeg", "-v", "error", *arguments, "-ac", "1", "-f", "s16le", "-"]
    return np.frombuffer(subprocess.run(command, check=True, capture_output=True, input=stdin).stdout, np.int16)


def decode_prompt(path: Path) -> np.ndarray:
    return ffmpeg(["-f", "g722", "-i", str(path)])


def resample(samples: np.ndarray, pitch: float) -> np.ndarray:
    """16 kHz samples at 24 kHz, played `pitch` times as fast."""
    source = ["-f", "s16le", "-ar", str(SOURCE_RATE), "-i", "-"]
    filters = f"asetrate={round(SOURCE_RATE * pitch)},aresample={SAMPLE_RATE}:filter_size=64"
    return ffmpeg([*source, "-af", filters], samples.tobytes())


def join(parts: list[np.ndarray]) -> np.ndarray:
    gap = np.zeros(GAP, np.int16)
    return np.concatenate([piece for part in parts for piece in (part, gap)])


def is_held_out(index: int) -> bool:
    return index % HELD_OUT_EVERY == HELD_OUT_EVERY // 2


def prompts(sounds: Path, language: str) -> list[Path]:
    folder = sounds / PROMPTS[language]
    found = sorted(p for p in folder.rglob("*.g722") if not p.stem.startswith(NOT_SPEECH) and "silence" not in p.parts)
    if not found:
        raise SystemExit(f"no recordings in {folder}: install asterisk-core-sounds-{language}-g722")
    return found


def recite(voice: str, sentences: list[str]) -> np.ndarray:
    with tempfile.NamedTemporaryFile(suffix=".wav") as wav, tempfile.NamedTemporaryFile(suffix=".txt") as text:
        text.write("\n\n".join(sentences).encode())
        text.flush()
        subprocess.run(["flite", "-voice", voice, "-f", text.name, "-o", wav.name], check=True)
        return ffmpeg(["-i", wav.name, "-ar", str(SOURCE_RATE)])


def sentences_of(text: str) -> list[str]:
    return [" ".join(s.split()) for s in re.split(r"(?<=[.;:])\s+", text) if len(s.split()) > 4]


def save(out: Path, name: str, samples: np.ndarray) -> float:
    """Writes one speaker at all pitches; returns its minutes."""
    for pitch in PITCHES:
        np.save(out / f"train-{name}-{round(100 * pitch)}.npy", resample(samples, pitch))
    return round(len(samples) / SOURCE_RATE / 60, 1)


def prepare(sounds: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    minutes = {}
    for language in PROMPTS:
        found = prompts(sounds, language)
        learned = join([decode_prompt(p) for i, p in enumerate(found) if not is_held_out(i)])
        minutes[language] = save(out, language, learned)
        held_out = join([decode_prompt(p) for i, p in enumerate(found) if is_held_out(i)])
        np.save(out / f"held-out-{language}.npy", resample(held_out, 1.0))
        print(f"{language}: {minutes[language]} minutes for training", flush=True)
    text = sentences_of(TEXT.read_text("utf-8"))
    for i, voice in enumerate(VOICES):
        minutes[voice] = save(out, voice, recite(voice, text[i :: len(VOICES)]))
        print(f"{voice}: {minutes[voice]} minutes for training", flush=True)
    (out / "prepared.json").write_text(json.dumps({"minutes": minutes, "pitches": PITCHES}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sounds", type=Path, default=SOUNDS, help="where the packages keep their recordings")
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    if not (options.out / "prepared.json").exists():
        prepare(options.sounds, options.out)


if __name__ == "__main__":
    main()

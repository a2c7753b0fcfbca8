# SPDX-License-Identifier: MIT
"""Speech for the parity tests, from Debian packages: recorded prompts (asterisk-core-sounds-en-g722) and espeak-ng."""

import glob
import os
import subprocess

import numpy as np

PROMPTS = "/usr/share/asterisk/sounds/en_US_f_Allison"
SENTENCES = (
    "The harbor was quiet, and only the gulls talked about the weather.",
    "Seven boxes of green apples fell from the back of a very old truck.",
    "Please check the third number again; I think that it was forty two.",
    "Le chat dort sur la chaise pendant que la pluie tombe sur le toit.",
    "Why would anyone measure a mountain with such a short piece of string?",
)
VOICES = ("en-us", "en-gb", "fr-fr", "de", "it")


class SpeechError(RuntimeError):
    pass


def _decode(arguments, data, rate):
    command = ["ffmpeg", "-v", "error", "-nostdin" if data is None else "-hide_banner"]
    command += arguments + ["-ac", "1", "-ar", str(rate), "-f", "f32le", "-"]
    done = subprocess.run(command, input=data, capture_output=True, timeout=120, check=False)
    if done.returncode != 0:
        raise SpeechError("ffmpeg cannot decode speech: " + done.stderr.decode(errors="replace").strip())
    return np.frombuffer(done.stdout, dtype="<f4").copy()


def recorded(seconds, rate, rng):
    """Recorded prompts in random order, at least `seconds` long."""
    names = sorted(glob.glob(os.path.join(PROMPTS, "*.g722")))
    names = [name for name in names if os.path.getsize(name) > 24000]
    if not names:
        raise SpeechError("no recorded speech: install the Debian package asterisk-core-sounds-en-g722")
    data, wanted = b"", seconds * 8000  # G.722 is 8000 bytes a second
    while len(data) < wanted:
        with open(names[rng.integers(len(names))], "rb") as file:
            data += file.read()
    return _decode(["-f", "g722", "-i", "-"], data, rate)


def synthetic(seconds, rate, rng):
    """Synthesized speech in several voices, at least `seconds` long."""
    parts, total = [], 0
    while total < seconds * rate:
        text = SENTENCES[rng.integers(len(SENTENCES))]
        voice = VOICES[rng.integers(len(VOICES))]
        command = ["espeak-ng", "-v", voice, "-s", str(rng.integers(120, 220)), "--stdout", text]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False)
        if done.returncode != 0 or len(done.stdout) < 1000:
            raise SpeechError("espeak-ng gives no speech: install the Debian package espeak-ng")
        parts.append(_decode(["-i", "-"], done.stdout, rate))
        total += len(parts[-1])
    return np.concatenate(parts)


def speech(seconds, rate, rng, kind="mixed"):
    """`seconds` of speech as f32 in [-1, 1], with a changing level and some noise under it as from a microphone."""
    if kind == "mixed":
        half = seconds / 2
        clips = [recorded(half, rate, rng)[: int(half * rate)], synthetic(seconds - half, rate, rng)]
        audio = np.concatenate(clips)
    else:
        audio = {"recorded": recorded, "synthetic": synthetic}[kind](seconds, rate, rng)
    count = int(round(seconds * rate))
    audio = audio[:count]
    if len(audio) < count:
        audio = np.concatenate([audio, np.zeros(count - len(audio), np.float32)])
    knots = rng.uniform(0.2, 1.2, size=int(seconds) + 2)
    level = np.interp(np.arange(count) / rate, np.arange(len(knots)), knots)
    audio = audio * level + rng.normal(0, 2e-3, count)
    return np.clip(audio, -1, 1).astype(np.float32)

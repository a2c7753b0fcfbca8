# SPDX-License-Identifier: MIT
"""How a conformance vector describes its input and its results; see README.md. The other side is vector.cpp."""

import hashlib
import os

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
LEVELS = 10  # rounding steps per unit of full scale in the hash of the audio
SPOTS = 16  # samples of each frame that are kept as they are
CHANNELS = 4  # channels of each frame's latent that are kept as they are
AUDIO = 1e-4  # of full scale
LATENT = 1e-5  # of the greatest channel of the frame


def sha256_file(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def mulaw(data):
    """G.711 mu-law bytes as int16 samples."""
    code = ~np.frombuffer(data, np.uint8) & 0xFF
    magnitude = (((code & 0x0F).astype(np.int32) << 3) + 0x84) << ((code >> 4) & 7)
    return np.where(code & 0x80, 0x84 - magnitude, magnitude - 0x84).astype(np.int16)


def speech_frames(speech, frame_samples, frames):
    """The input: the clip once for each gain, one after another, in whole frames. Exact in f32."""
    with open(os.path.join(HERE, speech["file"]), "rb") as file:
        clip = mulaw(file.read()).astype(np.float32) / np.float32(32768)
    audio = np.concatenate([clip * np.float32(gain) for gain in speech["gains"]])
    return audio[: frames * frame_samples].reshape(frames, frame_samples)


def spot_positions(frame, frame_samples):
    """Which samples of a frame are kept: spread, and another set in every frame."""
    return [(index * frame_samples // SPOTS + 37 * frame) % frame_samples for index in range(SPOTS)]


def channel_positions(frame, width):
    return [(index * width // CHANNELS + 7 * frame) % width for index in range(CHANNELS)]


def offsets_of(audio):
    """For each frame an offset in [0, 1) that keeps every sample as far as possible from where rounding changes.

    Returns the offsets and the least distance, in units of full scale.
    """
    offsets, least = [], np.inf
    for frame in audio.astype(np.float64):
        parts = np.sort((frame * LEVELS) % 1)
        gaps = np.append(parts[1:], parts[0] + 1) - parts
        widest = int(np.argmax(gaps))
        middle = (parts[widest] + gaps[widest] / 2) % 1
        offset = round((1 - middle) % 1, 6) % 1
        distance = np.abs(((frame * LEVELS + offset) + 0.5) % 1 - 0.5).min() / LEVELS
        offsets.append(offset)
        least = min(least, distance)
    return offsets, float(least)


def rounded_hash(audio, offsets):
    """SHA-256 of floor(LEVELS * sample + offset) of every sample, as little-endian int16."""
    rounded = np.floor(audio.astype(np.float64) * LEVELS + np.array(offsets)[:, None])
    return hashlib.sha256(rounded.astype("<i2").tobytes()).hexdigest()

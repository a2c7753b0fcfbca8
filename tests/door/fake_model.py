# SPDX-License-Identifier: MIT
"""What the fake core answers (tests/fake/model.h and lm.h), so that tests of the server know every sample's origin."""

import struct

FRAME_BYTES = 3840
CODEBOOKS, CARDINALITY = 8, 2048
PADDING, FIRST_WORD, TEXT_CARDINALITY = 3, 260, 1000
WORD = 0xFFFFFFFFFFFFFFFF


def mix(value, more):
    x = value ^ (more + 0x9E3779B97F4A7C15 + (value << 6) + (value >> 2)) & WORD
    x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & WORD
    x = ((x ^ x >> 27) * 0x94D049BB133111EB) & WORD
    return x ^ x >> 31


def encode(frames):
    """Codes of frames of PCM."""
    state = 0x6D6F736869
    for frame in frames:
        samples = [sample / 32768 for (sample,) in struct.iter_unpack("<h", frame)]
        for bits in struct.unpack(f"<{len(samples)}I", struct.pack(f"<{len(samples)}f", *samples)):
            state = mix(state, bits)
        yield [mix(state, k) % CARDINALITY for k in range(CODEBOOKS)]


def answer(frames, seed=0):
    """(text, codes) for each frame that is heard; seed 0 is greedy decoding."""
    state = mix(0x6C6D, seed)
    for step, user in enumerate([[-1] * CODEBOOKS, *encode(frames)]):
        for token in user:
            state = mix(state, token & 0xFFFFFFFF)
        state = mix(state, step)
        draw = mix(state, 1000)
        text = FIRST_WORD + draw // 3 % (TEXT_CARDINALITY - FIRST_WORD) if draw % 3 == 0 else PADDING
        if step > 0:
            yield piece(text), [mix(state, k) % CARDINALITY for k in range(CODEBOOKS)]


def piece(token):
    if token < FIRST_WORD:
        return ""
    return (" w" if token % 2 == 0 else "x") + str(token)


def said(sound):
    """(index since the beginning, codes) of each frame of decoded PCM."""
    for start in range(0, len(sound), FRAME_BYTES):
        header = struct.unpack_from("<10h", sound, start)
        assert header[1] == CODEBOOKS * 512, header
        yield header[0] // 8, [code // 16 for code in header[2:]]

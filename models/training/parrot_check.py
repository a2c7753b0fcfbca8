# SPDX-License-Identifier: MIT
"""Plays held-out speech to the embedded model on the reference package: are its codes those it heard 25 frames before,
in either precision, greedy and sampled, and do its words come in turn, where its speech begins and ends?

    python parrot_check.py --speech DIR --embedded DIR [--seconds 60]
"""

import argparse
from pathlib import Path

import numpy as np
import torch

import words
from moshi.models import LMGen
from moshi.models.loaders import CheckpointInfo
from parrot_speech import FRAME, HEARD, SILENCE_LEVEL, SPEECH_LEVEL, encode, silence_codes

SAMPLE_RATE = 24000
FRAME_TIME = FRAME / SAMPLE_RATE
DELAY = 25  # frames
TURN, PAUSES = 4 * SAMPLE_RATE, (SAMPLE_RATE // 3, 2 * SAMPLE_RATE)  # samples
PAUSE = 7  # frames (0.56 s) of silence that are still part of speech
TRUE = 0.95  # of the time that the last word must be true of what is said


def checkpoint(embedded: Path) -> CheckpointInfo:
    """As CheckpointInfo.from_hf_repo reads a repository, which can only be one of the hub."""
    config = embedded / "config.json"
    return CheckpointInfo.from_hf_repo(
        "",
        moshi_weights=embedded / "parrot.safetensors",
        mimi_weights=embedded / "mimi.safetensors",
        tokenizer=embedded / "tokenizer.model",
        config_path=config,
        mimi_config_path=embedded / "mimi.json",
    )


def held_out(speech: Path, seconds: int) -> np.ndarray:
    """All speakers' held-out recordings in turns, with pauses between, some too short to be worth a word."""
    files = sorted(speech.glob("held-out-*.npy"))
    if not files:
        raise SystemExit(f"no held-out-*.npy in {speech}: make them with speech.py")
    parts = []
    for turn in range(-(-seconds * SAMPLE_RATE // (TURN + sum(PAUSES) // len(PAUSES)))):
        samples, start = np.load(files[turn % len(files)], mmap_mode="r"), turn // len(files) * TURN
        parts += [samples[start : start + TURN], np.zeros(PAUSES[turn % len(PAUSES)], np.int16)]
    parts.append(np.zeros(DELAY * FRAME, np.int16))
    whole = np.concatenate(parts)
    return whole[: len(whole) // FRAME * FRAME].astype(np.float32) / 32768.0


@torch.no_grad()
def converse(info: CheckpointInfo, codes: np.ndarray, dtype: torch.dtype, **generation) -> np.ndarray:
    """[frames, 1 + HEARD] tokens; the first frame is heard twice, as in the reference's own tool."""
    generator = LMGen(info.get_moshi("cpu", dtype), **info.lm_gen_config, **generation)
    said = []
    with generator.streaming(1):
        for i in range(-1, codes.shape[1]):
            tokens = generator.step(torch.from_numpy(codes[:, max(i, 0)].copy())[None, :, None])
            if i >= 0:
                said.append(tokens[0, :, 0].numpy())
    return np.stack(said)


def announced(tokens: np.ndarray) -> list[tuple[int, bool]]:
    """Frames in which words were said, and whether the word was speech."""
    return [(i, t == words.SPEECH) for i, t in enumerate(tokens) if t in (words.SPEECH, words.SILENCE)]


def agreement(marks: list[tuple[int, bool]], level: np.ndarray) -> float:
    """How much of the time the last word is true of the level (RMS) of what is said, pauses being part of speech, and
    frames that are neither loud nor silent left aside."""
    state = np.zeros(len(level), bool)
    for frame, speech in marks:
        state[frame:] = speech
    loud = np.flatnonzero(level > SPEECH_LEVEL)
    speech = np.zeros(len(level), bool)
    speech[loud] = True
    for before, after in zip(loud, loud[1:]):
        if after - before <= PAUSE + 1:
            speech[before:after] = True
    clear = speech | (level < SILENCE_LEVEL)
    return float((state == speech)[clear].mean())


def judge(name: str, tokens: np.ndarray, codes: np.ndarray, silence: np.ndarray, level: np.ndarray) -> bool:
    """Prints how a conversation went; true if every frame was repeated, and the words are Moshi's way and true."""
    wanted = np.concatenate([np.tile(silence[:, None], DELAY), codes[:, :-DELAY]], axis=1).T
    equal = (tokens[:, 1:] == wanted).all(1)
    said = np.concatenate([np.zeros(DELAY), level[:-DELAY]])
    text = tokens[:, 0]
    marks = announced(text)
    print(f"{name}: {equal.mean():.2%} of {len(equal)} frames repeated", end="; ")
    true = agreement(marks, said)
    print(f"{len(marks)} words, true {true:.1%} of the time:")
    print(" ", *(f"{FRAME_TIME * frame:.2f} {'speech' if speech else 'silence'}," for frame, speech in marks))
    expected = [i % 2 == 0 for i in range(len(marks))]  # speech, silence, speech ...
    in_turn = bool(marks) and [speech for _, speech in marks] == expected
    is_word = np.isin(text, (words.SPEECH, words.SILENCE))
    padded = np.array_equal(text[:-1] == words.END_OF_PADDING, is_word[1:]) and not is_word[0]
    known = np.isin(text[~is_word], (words.END_OF_PADDING, words.PADDING)).all()
    return bool(equal.all() and in_turn and padded and known and true > TRUE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speech", type=Path, required=True, help="what speech.py prepared")
    parser.add_argument("--embedded", type=Path, required=True)
    parser.add_argument("--seconds", type=int, default=60)
    options = parser.parse_args()
    info = checkpoint(options.embedded)
    samples = held_out(options.speech, options.seconds)
    codec = info.get_mimi()
    codes = encode(codec, samples)[:HEARD]
    silence = silence_codes(codec)
    level = np.sqrt(np.square(samples.reshape(-1, FRAME)).mean(1))
    torch.manual_seed(0)
    good = [
        judge(f"{str(dtype)[6:]} {name}", converse(info, codes, dtype, use_sampling=sampling), codes, silence, level)
        for dtype in (torch.float32, torch.bfloat16)
        for name, sampling in (("greedy", False), ("sampled", True))
    ]
    if not all(good):
        raise SystemExit("frames that were not repeated, or words that are out of turn or not true")


if __name__ == "__main__":
    main()

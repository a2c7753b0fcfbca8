# SPDX-License-Identifier: MIT
"""Rules and limits of the conversations through servers. A rule returns what is wrong, in words, or None."""

import struct

import numpy as np

import server_talk as talk

AUDIO_ERROR = 1e-3  # of f32 samples: 16 bits are 1.5e-5, and what a tie leaves in later frames fades
# A code may be a tie, which the two round differently; it is heard in its frame and a little in the next ones.
DIFFERENT_FRAMES = 0.04
# Rounding what is heard to 16 bits moves some more codes, in about one frame of 100.
ROUNDED_FRAMES = 0.15
OPUS_DELAY = 600  # samples, more than any encoder of Opus looks ahead
OPUS_DIFFERENCE = 24  # samples between two encoders: 1 ms
OPUS_CORRELATION = 0.05  # by which another encoder may keep less of the waveform
STOI = 0.6  # the codec has 0.87 on speech that it has not learned; random output 0.43
FRAME_SECONDS = talk.FRAME / talk.RATE
REPEAT_FRAMES = 24  # the parrot says 25 frames later what it heard; the first frame is not heard


def first_is_handshake(answers):
    if not answers.messages or answers.messages[0] != (talk.HANDSHAKE, b""):
        return f"the first message is {answers.messages[:1]}"
    return "several handshakes" if len(answers.of(talk.HANDSHAKE)) > 1 else None


def only_kinds(answers, known):
    strange = sorted({kind for kind, _ in answers.messages} - set(known))
    return f"messages of kinds {strange}" if strange else None


def frames(answers, expected):
    if answers.samples != expected * talk.FRAME:
        return f"{answers.samples} samples, {answers.samples / talk.FRAME} frames of {expected}"
    return None


def texts(ours, theirs):
    """The same pieces, each right after the audio of the same frame."""
    for number, pair in enumerate(zip(ours, theirs)):
        if pair[0] != pair[1]:
            return f"piece {number} is {pair[0]}, the reference's {pair[1]}"
    return None if len(ours) == len(theirs) else f"{len(ours)} pieces, the reference has {len(theirs)}"


def different_frames(ours, theirs):
    """How many frames are further apart than f32 accounts for, and the greatest difference among the others."""
    apart = np.abs(ours - theirs).reshape(-1, talk.FRAME).max(axis=1)
    return int((apart > AUDIO_ERROR).sum()), float(apart[apart <= AUDIO_ERROR].max(initial=0))


def audio(ours, theirs, allowed):
    """`allowed`: the part of the frames that may differ. Theirs are samples before Opus, which may be beyond 1."""
    if len(ours) != len(theirs):
        return f"{len(ours)} samples, the reference has {len(theirs)}"
    count, _ = different_frames(ours, np.clip(theirs, -1, 1))
    total = len(ours) // talk.FRAME
    return f"{count} of {total} frames differ" if count > allowed * total else None


def pages(ours, theirs):
    """Everything of each page but its bytes of sound and who wrote it."""
    heads = [head[:8] for head in ours.reader.headers]
    if heads != [b"OpusHead", b"OpusTags"]:
        return f"headers: {heads}"
    for name in ("version", "channels", "pre_skip", "rate", "gain", "family"):
        pair = [head_fields(answers.reader.headers)[name] for answers in (ours, theirs)]
        if pair[0] != pair[1]:
            return f"OpusHead: {name} is {pair[0]}, the reference's {pair[1]}"
    if ours.reader.rest or ours.reader.partial:
        return "the stream ends within a page or a packet"
    for pair in zip(map(_page_fields, ours.reader.pages), map(_page_fields, theirs.reader.pages)):
        if pair[0] != pair[1]:
            return f"a page with {pair[0]}, the reference's {pair[1]}"
    if ours.pages_in_message != theirs.pages_in_message:
        return f"messages of {set(ours.pages_in_message)} pages, the reference's {set(theirs.pages_in_message)}"
    return None


def head_fields(headers):
    names = ("magic", "version", "channels", "pre_skip", "rate", "gain", "family")
    return dict(zip(names, struct.unpack("<8sBBHIhB", headers[0])))


def _page_fields(page):
    number, granule, flags, packets = page
    durations = [0 if packet.startswith(b"Opus") else talk.ogg_opus.packet_samples(packet) for packet in packets]
    return {"number": number, "granule": granule, "flags": flags, "durations": durations}


def correlation(ours, theirs, delay):
    size = max(0, min(len(ours) - delay, len(theirs)))
    ours, theirs = ours[delay : delay + size], theirs[:size]
    return float(np.dot(ours, theirs) / max(1e-9, np.linalg.norm(ours) * np.linalg.norm(theirs)))


def opus_delay(decoded, before):
    """By how many samples what comes out of Opus is later, and its correlation with what went in."""
    best = max(range(OPUS_DELAY), key=lambda delay: correlation(decoded, before, delay))
    return best, correlation(decoded, before, best)


def opus(ours, theirs, before):
    """Two Opus streams of the same audio, decoded: as much later, and as alike."""
    if len(ours) != len(theirs):
        return f"{len(ours)} samples, the reference has {len(theirs)}"
    (our_delay, our_likeness), (their_delay, their_likeness) = opus_delay(ours, before), opus_delay(theirs, before)
    if abs(our_delay - their_delay) > OPUS_DIFFERENCE:
        return f"{our_delay} samples later, the reference's {their_delay}"
    if our_likeness < their_likeness - OPUS_CORRELATION:
        return f"correlation {our_likeness:.3f} with what was encoded, the reference's {their_likeness:.3f}"
    return None


def envelope(audio_, step):
    return np.sqrt(np.mean(audio_[: len(audio_) // step * step].reshape(-1, step) ** 2, axis=1))


def repeat_delay(heard, said):
    """By how many seconds the parrot's voice follows, from the loudness of the two (steps of 10 ms)."""
    step = talk.RATE // 100
    loud = [envelope(samples, step) for samples in (said, heard)]
    loud = [values - values.mean() for values in loud]
    scores = []
    for delay in range(int(REPEAT_FRAMES * FRAME_SECONDS * 100) + 20):
        later, earlier = loud[0][delay:], loud[1]
        size = min(len(later), len(earlier))
        scores.append(np.dot(later[:size], earlier[:size]))
    return int(np.argmax(scores)) / 100

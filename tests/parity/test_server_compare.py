# SPDX-License-Identifier: MIT
"""Shows that each rule of server_compare.py and server_web.py can fail. Needs no server."""

import json
import unittest

import numpy as np

import server_compare as compare
import server_talk as talk
import server_web as web

FRAMES = 30


def speechlike(seed, frames=FRAMES):
    """Noise whose loudness changes as that of speech does."""
    rng = np.random.default_rng(seed)
    level = np.repeat(rng.uniform(0, 0.5, frames * 4), talk.FRAME // 4)
    smooth = np.convolve(rng.normal(0, 1, len(level)), np.ones(8) / 8, "same")
    return np.clip(level * smooth, -1, 1).astype(np.float32)


def answers_of(*messages, pcm=False):
    answers = talk.Answers(pcm)
    for message in messages:
        answers.add(message)
    return answers


def opus_answers(audio):
    return answers_of(b"\x00", *(b"\x01" + messages[0] for messages in talk.as_client(audio)))


class Messages(unittest.TestCase):
    def test_handshake(self):
        self.assertIsNone(compare.first_is_handshake(answers_of(b"\x00", b"\x02a")))
        for messages in ([], [b"\x02a", b"\x00"], [b"\x00\x00"], [b"\x00", b"\x00"]):
            self.assertIsNotNone(compare.first_is_handshake(answers_of(*messages)))

    def test_kinds(self):
        self.assertIsNone(compare.only_kinds(answers_of(b"\x00", b"\x02a"), (talk.HANDSHAKE, talk.TEXT)))
        self.assertIsNotNone(compare.only_kinds(answers_of(b"\x00", b"\x07a"), (talk.HANDSHAKE, talk.TEXT)))

    def test_frames(self):
        frame = b"\x01" + bytes(2 * talk.FRAME)
        self.assertIsNone(compare.frames(answers_of(frame, frame, pcm=True), 2))
        self.assertIsNotNone(compare.frames(answers_of(frame, pcm=True), 2))
        self.assertIsNotNone(compare.frames(answers_of(frame, frame, b"\x01ab", pcm=True), 2))

    def test_texts(self):
        frame = b"\x01" + bytes(2 * talk.FRAME)
        theirs = answers_of(frame, b"\x02a", frame, b"\x02b", pcm=True).texts
        self.assertEqual(theirs, [(0, "a"), (1, "b")])
        self.assertIsNone(compare.texts(theirs, theirs))
        half = frame[: 1 + talk.FRAME]
        for others in ([b"\x02a", frame, frame, b"\x02b"], [frame, b"\x02a", frame], [frame, b"\x02a", frame, b"\x02c"],
                       [half, b"\x02a", half, frame, b"\x02b"], [frame, b"\x02a", b"\x02b", frame]):
            self.assertIsNotNone(compare.texts(answers_of(*others, pcm=True).texts, theirs))


class Audio(unittest.TestCase):
    def test_samples(self):
        theirs = speechlike(1)
        noise = np.random.default_rng(2).normal(0, 1e-4, len(theirs)).astype(np.float32)
        self.assertIsNone(compare.audio(theirs + noise, theirs, compare.DIFFERENT_FRAMES))
        shifted = np.roll(theirs, talk.FRAME)
        broken = theirs.copy()
        broken[5 * talk.FRAME : 8 * talk.FRAME] = 0
        for ours in (shifted, broken, theirs[talk.FRAME :], np.roll(theirs, 1), 0.9 * theirs):
            self.assertIsNotNone(compare.audio(ours, theirs, compare.DIFFERENT_FRAMES))
        self.assertEqual(compare.different_frames(broken, theirs)[0], 3)

    def test_one_tie_is_excused(self):
        theirs = speechlike(1)
        ours = theirs.copy()
        ours[4 * talk.FRAME] += 0.1
        self.assertIsNone(compare.audio(ours, theirs, compare.DIFFERENT_FRAMES))

    def test_opus(self):
        before = speechlike(3)
        theirs = opus_answers(before).audio()
        self.assertIsNone(compare.opus(theirs, theirs, before))
        for ours in (np.roll(theirs, talk.FRAME), np.roll(theirs, 100), speechlike(4), theirs[: -talk.FRAME]):
            self.assertIsNotNone(compare.opus(ours, theirs, before))

    def test_repeat(self):
        heard = speechlike(5, 100)
        for delay in (0.4, 1.92):
            said = np.concatenate([np.zeros(round(delay * talk.RATE), np.float32), heard])[: len(heard)]
            self.assertAlmostEqual(compare.repeat_delay(heard, said), delay, delta=0.011)


class Pages(unittest.TestCase):
    def setUp(self):
        self.audio = speechlike(6, 4)
        self.theirs = opus_answers(self.audio)

    def answers(self, **changes):
        """The same packets, written anew with changes."""
        ogg, messages = talk.ogg_opus, []
        head = bytearray(self.theirs.reader.headers[0])
        for at, value in changes.get("head", {}).items():
            head[at] = value
        parts = [ogg.page([bytes(head)], 0, flags=ogg.FIRST), ogg.page([self.theirs.reader.headers[1]], 1)]
        for number, granule, flags, packets in self.theirs.reader.pages[2:]:
            granule, flags = granule // changes.get("slower", 1), flags | changes.get("flags", 0)
            parts.append(ogg.page(packets, number, granule, flags))
            if number % 2 or "alone" in changes:
                messages.append(b"\x01" + b"".join(parts))
                parts = []
        return answers_of(b"\x00", *messages)

    def test_pages(self):
        self.assertIsNone(compare.pages(self.answers(), self.theirs))
        heads = [{"head": change} for change in ({9: 2}, {11: 0}, {13: 0})]
        for changes in (*heads, {"slower": 2}, {"flags": 4}, {"alone": 1}):
            self.assertIsNotNone(compare.pages(self.answers(**changes), self.theirs), changes)

    def test_a_packet_in_two_pages(self):
        ours = self.answers()
        ours.reader.pages[3][3].clear()
        self.assertIsNotNone(compare.pages(ours, self.theirs))


class Page(unittest.TestCase):
    def setUp(self):
        self.data = {**web.NUMBERS, "lm_model_file": "a", "instance_name": "b",
                     "build_info": {name: "" for name in web.BUILD}}

    def test_metadata(self):
        self.assertIsNone(web.metadata_problem(self.data))
        for name in self.data:
            self.assertIsNotNone(web.metadata_problem({key: value for key, value in self.data.items() if key != name}))
            self.assertIsNotNone(web.metadata_problem({**self.data, name: None}))
        self.assertIsNotNone(web.metadata_problem({**self.data, "audio_topk": 249}))
        del self.data["build_info"]["git_hash"]
        self.assertIsNotNone(web.metadata_problem(self.data))

    def test_kinds(self):
        good = json.dumps(self.data).encode()
        self.assertIsNone(web.kinds_problem(answers_of(b"\x00", b"\x04" + good, b"\x05a", b"\x06", b"\x03\x00")))
        for message in (b"\x07\x00a", b"\x09", b"\x03\x04", b"\x03", b"\x04[]"):
            self.assertIsNotNone(web.kinds_problem(answers_of(message)))


if __name__ == "__main__":
    unittest.main()

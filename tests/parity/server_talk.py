# SPDX-License-Identifier: MIT
"""A conversation over the socket as the reference's client has it (aiohttp and sphn), as fast as answers come."""

import asyncio
import os
import sys

import aiohttp
import numpy as np
import sphn

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "door"))
import ogg_opus

RATE, FRAME = ogg_opus.RATE, ogg_opus.FRAME
HANDSHAKE, AUDIO, TEXT, CONTROL, METADATA, ERROR, PING = range(7)
IN_FLIGHT = 5  # frames sent and not answered
SECONDS = 60  # without any message: a hang, not a slow machine
QUIET_SECONDS = 0.5  # and nothing more comes
PAGE_SERIAL = 0x6E8A1D03  # the page draws one


class TalkError(RuntimeError):
    pass


class Answers:
    """What a server sent, in the order in which it came."""

    def __init__(self, pcm=False):
        self.pcm = pcm
        self.messages = []  # (kind, payload)
        self.texts = []  # (frame, piece): the frame whose audio is complete or, with a fraction, under way before it
        self.code = None  # of the close, where the server closed
        self.pages_in_message = []
        self.reader = ogg_opus.Reader()
        self.samples = 0

    @property
    def frames(self):
        return self.samples // FRAME

    def of(self, kind):
        return [payload for other, payload in self.messages if other == kind]

    def add(self, data):
        kind, payload = data[0], data[1:]
        self.messages.append((kind, payload))
        if kind == AUDIO and self.pcm:
            self.samples += len(payload) // 2
        elif kind == AUDIO:
            packets = self.reader.append(payload)
            self.pages_in_message.append(len(packets))
            self.samples += sum(map(ogg_opus.packet_samples, packets))
        elif kind == TEXT:
            self.texts.append((self.samples / FRAME - 1, payload.decode()))

    def audio(self):
        """What is heard of it: Opus is decoded as the reference's client does it."""
        if self.pcm:
            return np.frombuffer(b"".join(self.of(AUDIO)), "<i2").astype(np.float32) / 32768
        return decoded(self.of(AUDIO))


def as_client(audio):
    """What the reference's client sends for these samples: for each frame one message."""
    writer = sphn.OpusStreamWriter(RATE)
    return [[writer.append_pcm(frame)] for frame in audio.reshape(-1, FRAME)]


def as_page(audio):
    """What the reference's page sends: packets of 20 ms, two in an Ogg page, each page a message, the heads too."""
    writer, reader = sphn.OpusStreamWriter(2 * RATE), ogg_opus.Reader()  # at 48 kHz its packets are of 20 ms
    twice = np.interp(np.arange(2 * len(audio)) / 2, np.arange(len(audio)), audio).astype(np.float32)
    frames, number = [], 2
    for frame in twice.reshape(-1, 2 * FRAME):
        packets = reader.append(writer.append_pcm(frame))
        frames.append([])
        for pair in (packets[:2], packets[2:]):
            granule = (number - 1) * FRAME
            frames[-1].append(ogg_opus.page(pair, number, granule, serial=PAGE_SERIAL))
            number += 1
    heads = [ogg_opus.page([head], index, 0, 0 if index else ogg_opus.FIRST, PAGE_SERIAL)
             for index, head in enumerate(reader.headers)]
    frames[0] = heads + frames[0]
    return frames


def cut(said, rng):
    """The same bytes in messages that end anywhere, but at the end of a frame."""
    frames = []
    for messages in said:
        data = b"".join(messages)
        places = [0, *sorted(rng.integers(1, len(data), 2)), len(data)]
        frames.append([data[begin:end] for begin, end in zip(places, places[1:]) if begin < end])
    return frames


def decoded(messages):
    reader = sphn.OpusStreamReader(RATE)
    parts = [reader.append_bytes(message) for message in messages]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def sixteen_bits(audio):
    return np.clip(np.rint(audio * 32768), -32768, 32767).astype("<i2")


async def receive(socket, answers, seconds):
    """One message. False at the end."""
    try:
        message = await socket.receive(timeout=seconds)
    except asyncio.TimeoutError as error:
        raise TalkError(f"no message for {seconds} s after {answers.frames} frames") from error
    if message.type == aiohttp.WSMsgType.BINARY and message.data:
        answers.add(message.data)
        return True
    if message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED):
        answers.code = socket.close_code
        return False
    raise TalkError(f"a message that is empty or not binary: {message.type!r}")


async def _converse(url, said, pcm):
    answers, sent, going = Answers(pcm), 0, True
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        while going and not answers.of(HANDSHAKE):
            going = await receive(socket, answers, SECONDS)
        while going and answers.frames < len(said) - 1:
            while sent < len(said) and sent - answers.frames < IN_FLIGHT:
                for message in said[sent]:
                    await socket.send_bytes(bytes([AUDIO]) + message)
                sent += 1
            going = await receive(socket, answers, SECONDS)
        try:
            while going:
                going = await asyncio.wait_for(receive(socket, answers, SECONDS), QUIET_SECONDS)
        except asyncio.TimeoutError:
            pass
    return answers


def converse(url, said, pcm=False):
    """Sends the messages of each frame, waits for the answers, one less than frames, and for any more."""
    try:
        return asyncio.run(_converse(url, said, pcm))
    except (aiohttp.ClientError, AssertionError) as error:
        raise TalkError(f"{type(error).__name__} {error}") from error

# SPDX-License-Identifier: MIT
"""Fuzzes a running moshi-server on the fake core: server_fuzz.py BUILD [SEED [ROUNDS]]

Whatever a client sends, the server stays there, its other conversations are right to the sample, and nothing of the
client is left when it has gone. The same seed sends the same bytes."""

import asyncio
import contextlib
import pathlib
import random
import sys
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "door"))
import fake_model  # noqa: E402
import ogg_opus  # noqa: E402
import raw_socket  # noqa: E402
import talk  # noqa: E402
from raw_socket import RawSocket  # noqa: E402
from talk import Kind  # noqa: E402

SEED = int(sys.argv[2]) if len(sys.argv) > 2 else 1
ROUNDS = int(sys.argv[3]) if len(sys.argv) > 3 else 40
SESSIONS = 6
MEMORY_KB = 60000  # for caches and heaps of threads; a leak of each round's messages would be more
PARAMETERS = ("text_temperature", "audio_temperature", "text_topk", "audio_topk", "seed", "text_seed", "audio_seed",
              "listen",
              "audio", "metadata", "stats", "max_steps", "pad_mult", "repetition_penalty",
              "repetition_penalty_context", "token", "x")  # fmt: skip
VALUES = (
    "",
    "0",
    "1",
    "-1",
    "1e999",
    "nan",
    "0.5",
    "both",
    "text",
    "pcm",
    "opus",
    "9223372036854775807",
    "2147483648",
    "%00",
    "%",
    "&",
    "é" * 300,
)


def mutated(numbers, data):
    """Bits turned, parts left out, doubled, moved or made up."""
    data = bytearray(data)
    for _ in range(numbers.randrange(1, 6)):
        at = numbers.randrange(len(data) + 1)
        length = min(numbers.choice((1, 2, 4, 27, 100, 4000)), len(data) - at)
        change = numbers.randrange(5)
        if change == 0 and at < len(data):
            data[at] ^= 1 << numbers.randrange(8)
        elif change == 1:
            del data[at : at + length]
        elif change == 2:
            data[at:at] = data[at : at + length]
        elif change == 3:
            data[at:at] = numbers.randbytes(length)
        else:
            data[at : at + length] = bytes(numbers.choice((0, 255)) for _ in range(length))
    return bytes(data)


def rechecked(data):
    """With checksums that fit again, so that what is wrong within pages is read."""
    out, at = bytearray(data), 0
    while (at := out.find(b"OggS", at)) >= 0 and at + 27 <= len(out):
        size = 27 + out[at + 26] + sum(out[at + 27 : at + 27 + out[at + 26]])
        page = bytes(out[at : at + 22]) + bytes(4) + bytes(out[at + 26 : at + size])
        if len(page) == size:
            out[at + 22 : at + 26] = ogg_opus.checksum(page).to_bytes(4, "little")
        at += 4
    return bytes(out)


def stream(numbers):
    """Bytes of an Ogg Opus stream with something wrong in it."""
    writer = ogg_opus.Writer(serial=numbers.choice((42, 0, 0xFFFFFFFF)), channels=numbers.choice((1, 1, 2)))
    packets = list(ogg_opus.speech_packets(40)[: numbers.randrange(1, 40)])
    for _ in range(numbers.randrange(3)):
        n = numbers.randrange(len(packets))
        packets[n] = numbers.choice((b"", numbers.randbytes(numbers.randrange(1, 1500)), mutated(numbers, packets[n])))
    return numbers.choice((lambda data: data, rechecked))(mutated(numbers, writer.pages(*packets)))


def pieces(numbers, data):
    while data:
        size = numbers.choice((1, 10, 300, 2000, 20000))
        yield data[:size]
        data = data[size:]


def query(numbers):
    parts = [f"{numbers.choice(PARAMETERS)}={numbers.choice(VALUES)}" for _ in range(numbers.randrange(6))]
    return urllib.parse.quote("&".join(parts), safe="=&%")


async def fuzz_client(server, numbers, messages, asked=""):
    """Sends messages, reads now and then, and goes: by the book or not."""
    with contextlib.suppress(talk.Closed, talk.websockets.InvalidStatusCode, OSError):
        client = talk.Talk(server, asked)
        client.reader.strict = False
        async with client:
            for data in messages:
                await client.send_bytes(data)
                if numbers.random() < 0.05:
                    with contextlib.suppress(asyncio.TimeoutError):
                        await client.receive(0.01)
            if numbers.random() < 0.3:
                client.socket.transport.abort()
            elif numbers.random() < 0.5:
                await client.settle(0.02)


async def crowd(attack):
    """ROUNDS attacks, some at a time, beside a conversation that has to be right; then what is left."""
    with talk.Server("--sessions", str(SESSIONS), "--queue", "4", "--idle", "5") as server:
        await asyncio.gather(*(attack(server, random.Random(f"warm {SEED} {n}")) for n in range(SESSIONS - 1)))
        await left(server)
        before = server.resources()
        for start in range(0, ROUNDS, SESSIONS - 2):
            rounds = range(start, min(ROUNDS, start + SESSIONS - 2))
            attacks = [attack(server, random.Random(f"{SEED} {n}")) for n in rounds]
            try:
                await asyncio.gather(right(server, seed=1 + start), *attacks)
            except BaseException:
                print(f"# in rounds {rounds} of seed {SEED}; the log ends with", *server.lines[-20:], sep="\n# ")
                raise
        await left(server)
        after = server.resources()
        print(f"# memory, files, threads before {before} and after {after}")
        assert after[1] <= before[1] + 2 and after[0] - before[0] < MEMORY_KB, (before, after)
        await right(server, seed=7)
        assert server.stop() == 0


async def right(server, seed):
    """A conversation with every sample as it must be."""
    frames = 8
    async with talk.Talk(server, f"audio=pcm&seed={seed}") as client:
        await client.handshake()
        await client.converse(frames)
    sound = talk.speech_frames(frames)
    heard = [sound[start : start + talk.FRAME_BYTES] for start in range(talk.FRAME_BYTES, len(sound), talk.FRAME_BYTES)]
    assert [codes for _, codes in fake_model.said(client.sound)] == [
        codes for _, codes in fake_model.answer(heard, seed)
    ]


async def left(server):
    """Waits until nobody is there."""
    await talk.eventually(server.empty)
    await asyncio.sleep(0.2)


async def wrong_streams():
    async def attack(server, numbers):
        data = b"".join(stream(numbers) for _ in range(numbers.randrange(1, 3)))
        await fuzz_client(server, numbers, [bytes([Kind.AUDIO]) + piece for piece in pieces(numbers, data)])

    await crowd(attack)


async def any_messages():
    def message(numbers):
        kind = numbers.choice((0, 1, 2, 3, 3, 4, 5, 6, 7, 255, numbers.randrange(256)))
        sizes = (0, 1, 2, 100, 3839, 3840, 8000, 60000, 70000)
        data = numbers.choice((numbers.randbytes, bytes))(numbers.choices(sizes, (9, 9, 9, 9, 5, 5, 3, 1, 0.2))[0])
        whole = bytes([kind]) + data
        return numbers.choices((whole, b"", data.hex()), (20, 1, 1))[0]

    async def attack(server, numbers):
        messages = [message(numbers) for _ in range(numbers.randrange(60))]
        await fuzz_client(server, numbers, messages, numbers.choice(("", "audio=pcm", "stats=1&listen=text")))

    await crowd(attack)


async def any_queries():
    async def attack(server, numbers):
        writer = ogg_opus.Writer()
        messages = [bytes([Kind.AUDIO]) + writer.pages(packet) for packet in ogg_opus.speech_packets(40)[:20]]
        messages[10:10] = [talk.RESTART] * numbers.randrange(3)
        await fuzz_client(server, numbers, messages, query(numbers))

    await crowd(attack)


async def wrong_frames():
    """Below the WebSocket: headers, masks, lengths and fragments."""

    def data(numbers):
        out = b""
        for _ in range(numbers.randrange(1, 20)):
            payload = bytes([numbers.randrange(8)]) + numbers.randbytes(numbers.choice((0, 1, 125, 126, 2000)))
            odd = numbers.random() < 0.3
            out += raw_socket.frame(
                payload, opcode=numbers.choice((0, 1, 2, 2, 2, 8, 9, 10, numbers.randrange(16))) if odd else 2,
                final=not odd or numbers.random() < 0.5, masked=not odd or numbers.random() < 0.8,
                reserved=numbers.randrange(8) if odd else 0,
                length=numbers.choice((None, None, 0, 5, 2**16, 2**31, 2**63)) if odd else None)  # fmt: skip
        return out if numbers.random() < 0.5 else mutated(numbers, out)

    def play(server, numbers):
        with RawSocket(server) as raw:
            raw.socket.settimeout(0.05)
            raw.send(raw_socket.request())
            for piece in pieces(numbers, data(numbers)):
                if not raw.send(piece):
                    break
            with contextlib.suppress(OSError):
                raw.fill()
            if numbers.random() < 0.5:
                raw.reset()

    async def attack(server, numbers):
        with contextlib.suppress(TimeoutError):
            await asyncio.to_thread(play, server, numbers)

    await crowd(attack)


async def wrong_requests():
    def play(server, numbers):
        headers = {"Origin": numbers.choice(("http://a", "", "\x01")),
                   "Authorization": numbers.choice(("Bearer", "Bearer x", "x" * 9000)),
                   "Content_Length": numbers.choice(("0", "-1", "99999999999999999999", "x"))}  # fmt: skip
        some = dict(numbers.sample(sorted(headers.items()), numbers.randrange(4)))
        target = numbers.choice(
            ("/", "/api/chat", "/api/chat?" + query(numbers), "/metrics", "/..", "*", "//", "http://x/", "")
        )
        data = raw_socket.request(
            target, numbers.choice(("GET", "HEAD", "POST", "x", "")), numbers.random() < 0.5, **some
        )
        with RawSocket(server) as raw:
            raw.socket.settimeout(0.05)
            raw.send(data if numbers.random() < 0.3 else mutated(numbers, data))
            with contextlib.suppress(OSError):
                raw.fill()
            if numbers.random() < 0.5:
                raw.reset()

    async def attack(server, numbers):
        with contextlib.suppress(TimeoutError, UnicodeError):
            for _ in range(5):
                await asyncio.to_thread(play, server, numbers)

    await crowd(attack)


talk.main([wrong_streams, any_messages, any_queries, wrong_frames, wrong_requests])

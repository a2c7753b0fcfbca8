# SPDX-License-Identifier: MIT
"""moshi-client as a process, and a server for it that is made here, which does what a server should and what it should
not."""
import array
import asyncio
import collections
import inspect
import json
import math
import subprocess
import tempfile
import wave

import door
import ogg_opus
from talk import Kind, websockets

CLIENT = door.BUILD / "examples" / "client" / "moshi-client"
FRAME = ogg_opus.FRAME
LIMIT_S = 60  # a hang, not a slow machine
SOURCE, SINK = "audiotestsrc is-live=true", "fakesink sync=true"
REGISTRY = tempfile.TemporaryDirectory()


def write_tones(path, *frames, rest=0):
    """A recording of frames that are loud (True) or silent, and samples of silence."""
    sound = array.array("h")
    for loud in frames:
        sound.extend(round(12000 * loud * math.sin(0.2 * n)) for n in range(FRAME))
    sound.extend([0] * rest)
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 24000, 0, "NONE", ""))
        out.writeframes(sound.tobytes())


def frames_in(path):
    """Whether each frame of a recording is loud."""
    with wave.open(str(path)) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (24000, 1, 2)
        samples = array.array("h", sound.readframes(sound.getnframes()))
    assert len(samples) % FRAME == 0, len(samples)
    # Opus moves it by 13 ms in two rounds, so that the middle of a frame tells.
    return [max(map(abs, samples[at + 480 : at + 1440])) > 3000 for at in range(0, len(samples), FRAME)]


class Stub:
    """A server that repeats each frame but the first, and does `before` at the beginning of each connection."""

    def __init__(self, before=None, hold=0, status=None, leave_after=None, **options):
        self.before, self.hold, self.status, self.leave_after = before, hold, status, leave_after
        self.options = options
        self.paths, self.headers, self.closed, self.connections = [], [], [], 0
        self.frames = self.answers = self.most_in_flight = 0  # of the last connection

    async def __aenter__(self):
        where = {} if "sock" in self.options else {"host": "127.0.0.1", "port": 0}
        serve = websockets.legacy.server.serve
        self.server = await serve(self._talk, process_request=self._process, **where, **self.options)
        self.url = f"ws://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self.server.close()
        await self.server.wait_closed()

    async def _process(self, path, headers):
        self.paths.append(path)
        self.headers.append(headers)
        return (self.status, [("Location", "https://elsewhere/")], b"") if self.status else None

    async def _talk(self, socket):
        self.connections += 1
        self.frames = self.answers = 0
        self.reader, self.writer = ogg_opus.Reader(strict=False), ogg_opus.Writer()
        try:
            if self.before:
                await self.before(self, socket)
            await socket.send(bytes([Kind.HANDSHAKE]))
            await self._converse(socket)
        except websockets.ConnectionClosed:
            pass
        self.closed.append(socket.close_code)

    async def _converse(self, socket):
        packets, owed = [], collections.deque()
        while True:
            # Held answers are given when nothing comes any more: then the client waits for them.
            try:
                data = await asyncio.wait_for(socket.recv(), 0.3 if owed else None)
            except asyncio.TimeoutError:
                await self._answer(socket, owed.popleft())
                continue
            assert isinstance(data, bytes) and data[0] == Kind.AUDIO, data[:10]
            packets += self.reader.append(data[1:])
            while sum(map(ogg_opus.packet_samples, packets[:4])) >= FRAME:
                assert sum(map(ogg_opus.packet_samples, packets[:4])) == FRAME
                frame, packets = packets[:4], packets[4:]
                self.frames += 1
                if self.frames > 1:
                    owed.append(frame)
                self.most_in_flight = max(self.most_in_flight, len(owed))
            while len(owed) > self.hold:
                await self._answer(socket, owed.popleft())
            if self.leave_after and self.frames >= self.leave_after:
                self.leave_after = None
                socket.transport.abort()

    async def _answer(self, socket, frame):
        await socket.send(bytes([Kind.AUDIO]) + self.writer.pages(*frame))
        await socket.send(bytes([Kind.TEXT]) + f" {self.answers}".encode())
        self.answers += 1


class Client:
    """The program; `wait` gives its standard output and the lines of its standard error."""

    def __init__(self, folder, *options, **environment):
        self.folder, self.options, self.environment = folder, options, environment
        self.lines = []
        self.news = asyncio.Condition()

    async def __aenter__(self):
        variables = door.environment(REGISTRY.name, **self.environment)
        self.process = await asyncio.create_subprocess_exec(
            CLIENT, *map(str, self.options), cwd=self.folder, env=variables,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_):
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        self.reading.cancel()

    async def _read(self):
        async for line in self.process.stderr:
            async with self.news:
                self.lines.append(line.decode().rstrip("\n"))
                self.news.notify_all()

    async def says(self, words):
        async with self.news:
            await asyncio.wait_for(self.news.wait_for(lambda: any(words in line for line in self.lines)), LIMIT_S)

    async def wait(self):
        out = (await asyncio.wait_for(self.process.stdout.read(), LIMIT_S)).decode()
        await asyncio.wait_for(self.process.wait(), LIMIT_S)
        await self.reading
        return self.process.returncode, out, self.lines


async def run(folder, *options, **environment):
    async with Client(folder, *options, **environment) as client:
        return await client.wait()


def from_file(url, *more, output="out.wav"):
    return (url, "--input", "in.wav", "--output", output, *more)


def refused(result, *words, status=1):
    code, _, lines = result
    assert code == status, result
    assert lines and all(line.startswith("client: ") for line in lines), lines
    for word in words:
        assert word in lines[-1], (word, lines)


def live(url, *more):
    return (url, "--audio-source", SOURCE, "--audio-sink", SINK, "--stats", *more)


def figures_of(lines):
    return json.loads([line for line in lines if "client: stats: " in line][0].partition("stats: ")[2])


def main(*modules):
    """Runs what modules define that takes nothing but a folder."""

    def is_case(value):
        return inspect.iscoroutinefunction(value) and list(inspect.signature(value).parameters) == ["folder"]

    cases = [value for module in modules for value in module.values() if is_case(value)]
    door.main([(case.__name__.replace("_", " "), lambda folder, case=case: asyncio.run(case(folder))) for case in cases])

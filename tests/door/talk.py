# SPDX-License-Identifier: MIT
"""What the tests of the server share: a moshi-server that is started and stopped, and a client of docs/protocol.md.

async with talk.Talk(server, "audio=pcm") as client:
    await client.handshake()
    await client.say(frames)
    await client.answers(frames - 1)
"""

import asyncio
import enum
import functools
import inspect
import itertools
import json
import os
import pathlib
import re
import signal
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request

import door
import ogg_opus

try:
    import websockets
    import websockets.legacy.client  # what `websockets.connect` is depends on the version: this one is in all
    import websockets.legacy.server
except ImportError:
    door.skip("this Python has no websockets (Debian: python3-websockets)")

if not ogg_opus.recording().exists():
    door.skip("there is no recording of speech (`.ci/setup demo` makes it)")

PROGRAM = door.BUILD / "examples" / "server" / "moshi-server"
CORES = {
    "fake": door.BUILD / "tests" / "fake" / "libmoshi-core-fake.so",
    "real": door.BUILD / "lib" / "libmoshi-core.so",
}
LIMIT_S = 60  # a hang, not a slow machine
FRAME = ogg_opus.FRAME
FRAME_S = 0.08
FRAME_BYTES = FRAME * 2  # as PCM


class Kind(enum.IntEnum):
    HANDSHAKE, AUDIO, TEXT, CONTROL, METADATA, ERROR, PING = range(7)


class Close(enum.IntEnum):
    NORMAL, GOING_AWAY, UNSUPPORTED, POLICY, TOO_BIG, FAILED, TRY_LATER = 1000, 1001, 1003, 1008, 1009, 1011, 1013


RESTART = bytes([Kind.CONTROL, 3])


class Server:
    """A moshi-server on a free port; its log is read as JSON. Leaving the `with` ends it with SIGTERM."""

    def __init__(self, *options, core="fake", wait=True, wrapper=(), program=PROGRAM, **environment):
        self.events, self.lines = [], []
        self.url = None
        self.context = None  # of TLS, for clients
        self.fine = (0,)  # statuses with which it may end
        self._news = threading.Condition()
        command = [*wrapper, program, "--log", "json"]
        command += [] if "--port" in options else ["--port", "0"]
        variables = {"MOSHI_CORE": str(CORES[core])}
        variables |= {"MOSHI_DEFAULT_MODEL": ""} | environment
        self.process = subprocess.Popen(
            [str(part) for part in (*command, *options)], env=door.environment(door.registry_folder(), **variables),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace",
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            if wait:
                self.wait_listening()
                self.wait_ready()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.send_signal(signal.SIGTERM)  # does not wait for conversations
        try:
            status = self.process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self._reader.join(LIMIT_S)
        assert kind or status in self.fine, (status, self.lines[-20:])

    def _read(self):
        for line in self.process.stderr:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                try:
                    event = json.loads(line)
                    self.events.append(event if isinstance(event, dict) else {"line": event})
                except ValueError:
                    self.events.append({"line": line.rstrip("\n")})
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def wait_event(self, test, limit=LIMIT_S):
        """The first event of the log for which `test` holds, or what it gives."""
        end = time.monotonic() + limit
        seen = 0
        with self._news:
            while True:
                while seen < len(self.events):
                    found = test(self.events[seen])
                    if found:
                        return found
                    seen += 1
                gone = self.process.poll() is not None and not self._reader.is_alive()
                assert not gone, ("the server has ended", self.process.returncode, self.lines[-20:])
                assert time.monotonic() < end, ("nothing in the log", self.lines[-20:])
                self._news.wait(0.2)

    def wait_listening(self):
        pattern = re.compile(r"(https?)://(\[[^\]]*\]|[^\s\"/:]+):(\d+)")
        scheme, _, port = self.wait_event(lambda event: pattern.search(json.dumps(event))).groups()
        self.port = int(port)
        self.url = f"{scheme}://127.0.0.1:{port}"
        if scheme == "https":
            self.context = ssl.create_default_context()
            self.context.check_hostname = False
            self.context.verify_mode = ssl.CERT_NONE

    def wait_ready(self):
        end = time.monotonic() + LIMIT_S
        while self.get("/health")[0] != 200:
            assert self.process.poll() is None, self.lines[-20:]
            assert time.monotonic() < end, ("the server does not get ready", self.lines[-20:])
            time.sleep(0.02)

    def get(self, path, method="GET", **headers):
        """Status, headers, body. Underscores in the names of headers stand for dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url + path, headers=named, method=method)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self.context)
        )
        try:
            with opener.open(request, timeout=LIMIT_S) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers, error.read()

    def health(self):
        return json.loads(self.get("/health")[2])

    def metrics(self, **headers):
        status, _, body = self.get("/metrics", **headers)
        assert status == 200, (status, body)
        return parse_metrics(body.decode())

    def empty(self):
        """Whether nobody talks or waits."""
        metrics = self.metrics()
        return metrics["moshi_sessions_active"] == metrics["moshi_sessions_queued"] == 0

    def resources(self):
        """Resident memory in kB, open files and threads, now."""
        folder = pathlib.Path("/proc") / str(self.process.pid)
        status = (folder / "status").read_text()
        number = lambda name: int(re.search(rf"^{name}:\s+(\d+)", status, re.M).group(1))  # noqa: E731
        return number("VmRSS"), len(os.listdir(folder / "fd")), number("Threads")

    def cpu_seconds(self):
        fields = (pathlib.Path("/proc") / str(self.process.pid) / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self, limit=LIMIT_S):
        """Ends it as a service manager does; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(limit)


def parse_metrics(text):
    """Prometheus' text format 0.0.4: {name with labels: value}. What is no such line is an AssertionError."""
    values, types = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in types and kind in ("counter", "gauge", "histogram"), line
            types[name] = kind
        elif line and not line.startswith("#"):
            match = re.fullmatch(r'([a-zA-Z_:][\w:]*)(\{(?:\w+="(?:[^"\\]|\\.)*",?)*\})? (\S+)', line)
            assert match, f"not a line of Prometheus' text format: {line!r}"
            name, labels, value = match.groups()
            family = re.sub("_(bucket|sum|count)$", "", name)
            assert name in types or types.get(family) == "histogram", f"no TYPE before {line!r}"
            assert name + (labels or "") not in values, f"twice: {line!r}"
            values[name + (labels or "")] = float(value)
    assert text.endswith("\n")
    return values


def total(values, name):
    """Of a counter, over all its labels."""
    return sum(value for key, value in values.items() if key == name or key.startswith(name + "{"))


class Closed(Exception):
    """The socket is closed: `code`, and `sentence` of the message of kind 5 before, or None."""

    def __init__(self, code, sentence):
        super().__init__(f"closed with {code}: {sentence}")
        self.code, self.sentence = code, sentence


class Talk:
    """One client. Everything that came is in `messages`: (time, kind, payload)."""

    def __init__(self, server, query="", **headers):
        self.address = server.url.replace("http", "ws", 1) + "/api/chat" + ("?" + query if query else "")
        self.pcm = "audio=pcm" in query
        self.context = server.context
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.writer, self.reader = ogg_opus.Writer(), ogg_opus.Reader()
        self.messages, self.metadata, self.text, self.sound = [], [], [], b""
        self.samples = 0  # of sound that came
        self.frames_said = 0  # with converse()
        self.packets = None  # that say() says, over and over
        self.error = None  # the sentence of kind 5
        self.socket = None

    async def __aenter__(self):
        self.socket = await websockets.legacy.client.connect(
            self.address, ssl=self.context, extra_headers=self.headers, ping_interval=None, compression=None,
            max_size=None, max_queue=None, close_timeout=LIMIT_S, open_timeout=LIMIT_S,
        )  # fmt: skip
        return self

    async def __aexit__(self, *_):
        await self.socket.close()

    async def send(self, kind, payload=b""):
        await self.send_bytes(bytes([kind]) + payload)

    async def send_bytes(self, data):
        try:
            await self.socket.send(data)
        except websockets.ConnectionClosed:
            raise Closed(self.socket.close_code, None) from None

    async def send_packets(self, *packets):
        """Opus packets in one message."""
        await self.send(Kind.AUDIO, self.writer.pages(*packets))

    async def say(self, frames, sound=None):
        """Frames of speech, or PCM of one's own, as fast as they go."""
        if self.pcm:
            sound = sound or speech_frames(frames)
            for start in range(0, len(sound), FRAME_BYTES):
                await self.send(Kind.AUDIO, sound[start : start + FRAME_BYTES])
        else:
            self.packets = self.packets or itertools.cycle(ogg_opus.speech_packets(40))
            for _ in range(frames):
                await self.send_packets(next(self.packets), next(self.packets))

    async def converse(self, frames, window=8):
        """Says so many frames, few at a time, and receives their answers: one less at the beginning."""
        sound = speech_frames(frames) if self.pcm else None
        for n in range(frames):
            await self.say(1, sound and sound[n * FRAME_BYTES : (n + 1) * FRAME_BYTES])
            self.frames_said += 1
            await self.answers(self.frames_said - 1 - (window if n + 1 < frames else 0))

    async def converse_packets(self, packets, window=8):
        """The same with Opus packets, one in a message; what is no whole frame at the end is not waited for."""
        said = 0
        for n, packet in enumerate(packets):
            await self.send_packets(packet)
            said += ogg_opus.packet_samples(packet)
            await self.answers(said // FRAME - 1 - (window if n + 1 < len(packets) else 0))

    async def receive(self, limit=LIMIT_S):
        """The next message: (kind, payload). Closed when it is the end; TimeoutError when nothing comes."""
        try:
            data = await asyncio.wait_for(self.socket.recv(), limit)
        except websockets.ConnectionClosed:
            raise Closed(self.socket.close_code, self.error) from None
        assert isinstance(data, bytes) and data, data
        kind, payload = Kind(data[0]), data[1:]
        self.messages.append((time.monotonic(), kind, payload))
        if kind == Kind.AUDIO and self.pcm:
            self.sound += payload
            self.samples += len(payload) // 2
        elif kind == Kind.AUDIO:
            self.samples += sum(map(ogg_opus.packet_samples, self.reader.append(payload)))
        elif kind == Kind.TEXT:
            self.text.append(payload.decode())
        elif kind == Kind.METADATA:
            self.metadata.append(json.loads(payload))
        elif kind == Kind.ERROR:
            assert self.error is None, (self.error, payload)
            self.error = payload.decode()
        else:
            assert kind == Kind.PING and not payload or kind == Kind.HANDSHAKE, data
        return kind, payload

    async def until(self, kind, limit=LIMIT_S):
        """Receives up to the next message of a kind; its payload."""
        end = time.monotonic() + limit
        while True:
            got, payload = await self.receive(max(0.001, end - time.monotonic()))
            if got == kind:
                return payload

    async def handshake(self):
        await self.until(Kind.HANDSHAKE)

    async def until_metadata(self, key, limit=LIMIT_S):
        """The next metadata that have this key."""
        end = time.monotonic() + limit
        while True:
            await self.until(Kind.METADATA, max(0.001, end - time.monotonic()))
            if key in self.metadata[-1]:
                return self.metadata[-1]

    async def answers(self, frames, limit=LIMIT_S):
        """Receives until so many frames of sound have come since the beginning."""
        while self.samples < frames * FRAME:
            await self.until(Kind.AUDIO, limit)

    def sound_and_text(self):
        """What came of sound and text, in its order: (kind, payload)."""
        return [(kind, payload) for _, kind, payload in self.messages if kind in (Kind.AUDIO, Kind.TEXT)]

    async def closed(self, limit=LIMIT_S):
        """Receives to the end: (code, sentence)."""
        end = time.monotonic() + limit
        try:
            while True:
                await self.receive(max(0.001, end - time.monotonic()))
        except Closed as closed:
            return closed.code, closed.sentence

    async def settle(self, seconds=0.25):
        """Receives until nothing comes any more: the text behind the last sound."""
        try:
            while True:
                await self.receive(seconds)
        except asyncio.TimeoutError:
            pass

    def begin_again(self):
        """Forgets what came: a new conversation follows."""
        self.messages, self.text, self.sound, self.samples, self.frames_said = [], [], b"", 0, 0

    async def quiet(self, seconds=0.4):
        """Nothing but pings and metadata comes for a while."""
        count = len(self.messages)
        await self.settle(seconds)
        more = [kind for _, kind, _ in self.messages[count:] if kind not in (Kind.PING, Kind.METADATA)]
        assert not more, more

    def kinds(self):
        return [kind for _, kind, _ in self.messages]


async def refused(server, query="", **headers):
    """(code, sentence) with which a client that comes now is sent away."""
    async with Talk(server, query, **headers) as client:
        return await client.closed()


async def status_of(server, query="", **headers):
    """The HTTP status with which the WebSocket is refused, or 101."""
    try:
        async with Talk(server, query, **headers):
            return 101
    except websockets.InvalidStatusCode as error:
        return error.status_code


async def eventually(test, limit=LIMIT_S):
    """Waits until `test` holds: what another process does or learns, such as a client's end, is a little later."""
    end = time.monotonic() + limit
    while not test():
        assert time.monotonic() < end, "it never came to be"
        await asyncio.sleep(0.02)


@functools.lru_cache(maxsize=None)
def speech_frames(frames):
    sound = ogg_opus.speech_samples()
    sound = sound * (1 + frames * FRAME_BYTES // len(sound))
    return sound[: frames * FRAME_BYTES]


def main(functions):
    """door.main() for functions, also async ones, that take nothing."""

    def case(function):
        def run(_folder):
            if inspect.iscoroutinefunction(function):
                asyncio.run(asyncio.wait_for(function(), 4 * LIMIT_S))
            else:
                function()

        return function.__name__.replace("_", " "), run

    door.main([case(function) for function in functions])

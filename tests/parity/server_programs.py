# SPDX-License-Identifier: MIT
"""The programs of the conversations: both servers and both clients, each a process of its own."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

from processes import HERE, ProcessFailed

START_SECONDS = 120
END_SECONDS = 20


class Program:
    """Runs in the background; what it writes goes to files."""

    def __init__(self, command, folder, name, environment):
        self.name, self.paths = name, [os.path.join(folder, f"{name}.{stream}") for stream in ("out", "err")]
        with open(self.paths[0], "wb") as out, open(self.paths[1], "wb") as err:
            self.process = subprocess.Popen(command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
                                            stdout=out, stderr=err)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    @property
    def out(self):
        return _text(self.paths[0])

    @property
    def err(self):
        return _text(self.paths[1])

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def wait(self, seconds=END_SECONDS):
        """Its exit status."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise ProcessFailed(f"{self.name} does not end") from error

    def wait_for(self, ready):
        end = time.monotonic() + START_SECONDS
        while not ready():
            if self.process.poll() is not None:
                raise ProcessFailed(f"{self.name} ended with {self.process.returncode}: {self.err[-500:]}")
            if time.monotonic() > end:
                raise ProcessFailed(f"{self.name} is not ready after {START_SECONDS} s: {self.err[-500:]}")
            time.sleep(0.05)


def _text(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Programs:
    def __init__(self, build, oracle, folder):
        self.build, self.oracle, self.folder = build, oracle, folder
        self.model = os.path.join(build, "models", "embedded")
        self.ours = {
            "GST_PLUGIN_PATH": os.path.join(build, "gst"),
            "GST_REGISTRY": os.path.join(folder, "registry.bin"),
            "MOSHI_CORE": os.path.join(build, "lib", "libmoshi-core.so"),
            "MOSHI_DEFAULT_MODEL": "",
        }
        self.theirs = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NO_TORCH_COMPILE": "1", "HF_HUB_OFFLINE": "1"}

    def path(self, name):
        return os.path.join(self.folder, name)

    def example(self, name):
        return os.path.join(self.build, "examples", name)

    @property
    def has_server(self):
        return os.path.exists(self.example("server/moshi-server"))

    def server(self, *options):
        """moshi-server, ready, and the address of its socket."""
        port = free_port()
        command = [self.example("server/moshi-server"), "--host", "127.0.0.1", "--port", str(port), "--drain", "0"]
        program = Program([*command, *options], self.folder, "moshi-server", self.ours)
        return self._started(program, port, lambda: _answers(f"http://127.0.0.1:{port}/health", 200))

    @staticmethod
    def wait_idle(program, url):
        """Until moshi-server has a place for whoever comes: a conversation takes a moment to end."""
        address = url.replace("ws:", "http:").replace("/api/chat", "/api/info")

        def idle():
            with urllib.request.urlopen(address, timeout=5) as answer:
                return json.load(answer)["sessions"]["talking"] == 0

        program.wait_for(idle)

    def reference_server(self, rounded):
        """The reference's server; `rounded`: the numbers of conversations in which it hears 16 bits."""
        port = free_port()
        command = [self.oracle, os.path.join(HERE, "reference_server.py"), self.model, str(port), self.folder]
        command += ["--rounded", *map(str, rounded)]
        program = Program(command, self.folder, "reference-server", self.theirs)
        return self._started(program, port, lambda: _answers(f"http://127.0.0.1:{port}/", 404))

    @staticmethod
    def _started(program, port, ready):
        try:
            program.wait_for(ready)
        except BaseException:
            program.__exit__()
            raise
        return program, f"ws://127.0.0.1:{port}/api/chat"

    def reference_client(self, url, microphone, speaker):
        """The reference's client, with a file as its microphone and one as its loudspeaker."""
        path = os.pathsep.join(filter(None, [os.path.join(HERE, "stub"), os.environ.get("PYTHONPATH")]))
        environment = {**self.theirs, "PYTHONPATH": path, "STUB_MICROPHONE": microphone, "STUB_SPEAKER": speaker}
        command = [self.oracle, "-m", "moshi.client", "--url", url.removesuffix("/api/chat")]
        return Program(command, self.folder, "reference-client", environment)

    def client(self, *options):
        return Program([self.example("client/moshi-client"), *options], self.folder, "moshi-client", self.ours)

    def quality(self, original, said, delay):
        """STOI of one WAV file against another that is later by `delay` seconds."""
        command = [self.example("moshi-quality"), "--delay", f"{delay:.4f}", original, said]
        done = subprocess.run(command, env={**os.environ, **self.ours}, capture_output=True, text=True, timeout=60,
                              check=False)
        if done.returncode:
            raise ProcessFailed(f"moshi-quality ended with {done.returncode}: {done.stderr[-300:]}")
        return float(done.stdout.split()[1])


def _answers(url, status):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == status
    except urllib.error.HTTPError as error:
        return error.code == status
    except OSError:
        return False

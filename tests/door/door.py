# SPDX-License-Identifier: MIT
"""What the tests of the front door share: running programs on the fake core, and results in TAP."""
import functools
import os
import pathlib
import subprocess
import sys
import tempfile
import traceback
import wave

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build"
LIMIT_S = 60  # a hang, not a slow machine: on the fake core each of these takes a second


@functools.lru_cache(maxsize=None)
def _registry():
    return tempfile.TemporaryDirectory()


def registry_folder():
    """One for all programs of a test: GStreamer scans its plugins once."""
    return _registry().name


def environment(folder, **more):
    """The plugin of this build with the fake core, and a registry of its own."""
    mine = {
        "GST_PLUGIN_PATH": str(BUILD / "gst"),
        "GST_REGISTRY": str(pathlib.Path(folder) / "registry.bin"),
        "MOSHI_CORE": str(BUILD / "tests" / "fake" / "libmoshi-core-fake.so"),
    }
    return {**os.environ, **mine, **more}


def run(command, folder, **more):
    return subprocess.run(
        command, cwd=folder, env=environment(folder, **more), capture_output=True, text=True,
        errors="replace", timeout=LIMIT_S, check=False,
    )


def install(folder):
    """Everything as `meson install` puts it, below `folder`."""
    subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", folder], check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip


def write_wav(path, seconds, rate=44100, channels=2):
    """A quiet ramp: what is in it does not matter to the fake core."""
    with wave.open(str(path), "wb") as out:
        out.setparams((channels, 2, rate, 0, "NONE", ""))
        samples = round(seconds * rate)
        out.writeframes(b"".join((n % 999).to_bytes(2, "little") * channels for n in range(samples)))


def skip(sentence):
    """Instead of all cases."""
    print(f"1..0 # SKIP {sentence}")
    sys.exit(0)


def main(cases):
    """Runs (name, function) pairs, each with a fresh folder, and prints TAP. A function fails by raising."""
    print(f"1..{len(cases)}")
    failed = 0
    for number, (name, function) in enumerate(cases, 1):
        try:
            with tempfile.TemporaryDirectory() as folder:
                function(pathlib.Path(folder))
            print(f"ok {number} {name}", flush=True)
        except Exception:  # a broken case must not hide the others
            failed += 1
            print("".join("# " + line + "\n" for line in traceback.format_exc().splitlines()), end="")
            print(f"not ok {number} {name}", flush=True)
    sys.exit(1 if failed else 0)

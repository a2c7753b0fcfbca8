# SPDX-License-Identifier: MIT
"""Runs every gst-launch-1.0 line of README.md and docs/ as printed, page by page, on the fake core.

Lines with autoaudiosrc or autoaudiosink need a sound card and are only parsed.
"""
import re
import subprocess

import door

PAGES = ["README.md"] + sorted(str(page.relative_to(door.ROOT)) for page in (door.ROOT / "docs").glob("*.md"))


def lines_of(page):
    text = (door.ROOT / page).read_text()
    for block in re.findall(r"^```sh\n(.*?)^```", text, re.M | re.S):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("gst-launch-1.0 "):
                yield re.sub(" +", " ", line)


def parse_only(line, folder):
    """An unknown element or property fails here; a false sound card does not."""
    line = re.sub(r"\bautoaudiosrc\b", "audiotestsrc num-buffers=20", line)
    return execute(re.sub(r"\bautoaudiosink\b", "fakesink", line), folder)


def execute(line, folder):
    done = subprocess.run(["bash", "-c", line], cwd=folder, env=door.environment(folder), capture_output=True, text=True,
                          timeout=door.LIMIT_S, check=False)  # fmt: skip
    noise = [text for text in (done.stdout + done.stderr).splitlines() if re.search("ERROR|WARNING|CRITICAL", text)]
    assert done.returncode == 0 and not noise, (line, done.returncode, done.stdout, done.stderr)
    for target in re.findall(r"filesink location=(\S+)", line):
        assert (folder / target).stat().st_size > 0, f"{target} is empty after: {line}"


# What make demo leaves, and what the pages' first lines write; so each line runs alone.
PREPARE = [
    "gst-launch-1.0 filesrc location=demo/input.wav ! wavparse ! audioconvert ! audioresample ! mimienc model=demo/model "
    "! filesink location=demo/codes.mimi",
    "gst-launch-1.0 filesrc location=demo/input.wav ! wavparse ! audioconvert ! audioresample ! mimienc model=demo/model "
    "! audio/x-mimi,stream-format=packed ! filesink location=demo/packed.mimi",
]


def case(line):
    def run(folder):
        (folder / "demo" / "model").mkdir(parents=True)
        door.write_wav(folder / "demo" / "input.wav", 1.3, rate=24000, channels=1)
        for step in PREPARE:
            execute(step, folder)
        if "autoaudio" in line:
            parse_only(line, folder)
        else:
            execute(line, folder)

    return run


CASES = [(f"{page} {number}", case(line)) for page in PAGES for number, line in enumerate(lines_of(page), 1)]
if not CASES:
    raise SystemExit("no pipelines found in the docs")
door.main(CASES)

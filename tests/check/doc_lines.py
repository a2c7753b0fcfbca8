#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Behaviour 28: every gst-launch line of the docs and of the elements' own pages works as printed, on the fake core.

Runs in a new folder that has the files that the lines name. Usage: doc_lines.py SOURCE_FOLDER
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

PAGES = ["README.md", "docs/mimienc.md", "docs/mimidec.md", "docs/mimiparse.md", "docs/*.md", "gst/*.cpp"]
RAW = "audio/x-raw,format=S16LE,rate=24000,channels=1"


def lines_of(text):
    """A page's gst-launch lines, as one shell command each; not those with an ellipsis or a sound card."""
    blocks = re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", text, re.M | re.S)
    blocks += [re.sub(r"^ \* ?", "", block, flags=re.M) for block in re.findall(r"\|\[\n(.*?)\]\|", text, re.S)]
    for block in blocks:
        block = re.sub(r"\\\n\s*", " ", block)
        for line in block.splitlines():
            line = line.strip().removeprefix("$ ")
            if "gst-launch-1.0" in line and "..." not in line and not re.search(r"auto\w*(sink|src)", line):
                yield line


def run(command, folder):
    environment = {k: v for k, v in os.environ.items() if k != "GST_TRACERS"}
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    trouble = [word for word in ("CRITICAL", "ERROR", "WARNING") if word in done.stdout + done.stderr]
    if done.returncode == 0 and not trouble:
        return ""
    return f"exit {done.returncode}, {trouble}\n{done.stdout}{done.stderr}"


def make_files(folder):
    """The recording, and its codes in both formats, under the names that the lines use."""
    (folder / "demo" / "model").mkdir(parents=True)
    (folder / "model").mkdir()
    codes = "mimienc codebooks=8 ! audio/x-mimi,stream-format=codes"
    packed = "mimienc codebooks=8 ! audio/x-mimi,stream-format=packed"
    files = {
        "demo/input.wav": "wavenc",
        "demo/codes.mimi": codes,
        "demo/packed.mimi": packed,
        "speech.wav": "wavenc",
        "speech.codes": codes,
        "speech.packed": packed,
    }
    for name, encoder in files.items():
        problem = run(f"gst-launch-1.0 audiotestsrc num-buffers=60 ! {RAW} ! {encoder} ! filesink location={name}", folder)
        assert not problem, problem


def main():
    source = pathlib.Path(sys.argv[1])
    found, failures, seen = 0, 0, set()
    with tempfile.TemporaryDirectory(prefix="moshi-docs-") as name:
        folder = pathlib.Path(name)
        make_files(folder)
        for pattern in PAGES:
            for page in sorted(source.glob(pattern)):
                for line in lines_of(page.read_text()):
                    if line in seen:
                        continue
                    seen.add(line)
                    found += 1
                    problem = run(line, folder)
                    failures += bool(problem)
                    print("not ok" if problem else "ok", page.relative_to(source), line, problem)
    print(f"{100 * (found - failures) // max(found, 1)}%: Checks: {found}, Failures: {failures}, Errors: 0")
    return failures > 0 or found == 0


sys.exit(main())

# SPDX-License-Identifier: MIT
"""Measures mouth to ear: how much later than the microphone the loudspeaker has what the parrot repeats, through the
page in a headless Chromium, without the parrot's own two seconds. Both sides are of the recording that the page saves,
which is on one clock and counts what the browser says of the latencies of microphone and loudspeaker.

    mouth_to_ear.py BUILD [SECONDS]
"""
import pathlib
import re
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "door"))

import browser  # noqa: E402
import ogg_opus  # noqa: E402
import recording  # noqa: E402
import talk  # noqa: E402

PARROT_S = 2.0
WINDOW_S, STEP_S = 6.0, 2.0
LEAST_ALIKE = 0.5  # a window with less than that is mostly silence


def converse(seconds):
    """What was recorded, the figures that the page showed at the end, and each second its own estimate in ms."""
    with talk.Server("--sessions", "1", core="real") as server, tempfile.TemporaryDirectory() as folder:
        with browser.Browser(folder, microphone=ogg_opus.recording()) as chromium:
            tab = chromium.tab(f"http://localhost:{server.port}")
            tab.wait_text("#word", "Ready")
            tab.click("#talk")
            tab.wait_text("#word", "Talking")
            estimates = []
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                time.sleep(1)
                estimates += map(int, re.findall(r"\d+", tab.text("#figure-mouth-to-ear")))
            figures = tab.text("#figures")
            tab.click("#talk")
            tab.wait_text("#word", "ended")
            tab.click("#save-sound")
            return recording.read(chromium.wait_download(".wav")), figures, estimates


def delays(rate, left, right):
    """Of windows of speech, in seconds."""
    said, heard = recording.envelope(left, rate), recording.envelope(right, rate)
    window, step = round(WINDOW_S * recording.ENVELOPE_HZ), round(STEP_S * recording.ENVELOPE_HZ)
    most = PARROT_S + 1.5
    for start in range(0, len(said) - window - round(most * recording.ENVELOPE_HZ), step):
        end = start + window
        late, alike = recording.delay(
            said[start:end], heard[start : end + round(most * recording.ENVELOPE_HZ)], PARROT_S - 0.1, most
        )
        if alike >= LEAST_ALIKE:
            yield late - PARROT_S


def main():
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 60
    (rate, left, right), figures, estimates = converse(seconds)
    found = [1000 * value for value in delays(rate, left, right)]
    assert len(found) >= 3, f"only {len(found)} windows of speech came back"
    tenth = statistics.quantiles(found, n=10)
    print(f"measured in {len(found)} windows of {WINDOW_S:.0f} s: median {statistics.median(found):.0f} ms")
    print(f"10th to 90th percentile: {tenth[0]:.0f} to {tenth[-1]:.0f} ms")
    print(f"least and most: {min(found):.0f} and {max(found):.0f} ms")
    print(f"the page says in the median: {statistics.median(estimates):.0f} ms")
    for name in ("Answers, over the network", "Of that, the server", "Microphone, loudspeaker"):
        print(f"the page says at the end: {name}: " + re.search(rf"{name}\s+(.+)", figures).group(1))


if __name__ == "__main__":
    main()

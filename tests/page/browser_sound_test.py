# SPDX-License-Identifier: MIT
"""The page's sound and its connection in a headless Chromium, whose microphone plays speech, against moshi-server with
the embedded models."""
import contextlib
import re
import signal
import time

import opened
from opened import (PLACES, address, begin, browser, check_complaints, mood, open_spied, page, recording, server,
                    talk_for)  # fmt: skip


def speech_comes_back():
    with server() as running, page(running) as (tab, its_browser):
        tab.wait_text("#model", "parrot")
        begin(tab)
        tab.wait_text("#lines", "speech")
        tab.wait_text("#lines", "silence")
        talk_for(tab, 16)
        assert re.fullmatch(r"about \d+ ms", tab.text("#figure-mouth-to-ear")), tab.text("#figures")
        assert re.fullmatch(r"\d+ / \d+ ms", tab.text("#figure-server")), tab.text("#figures")
        assert tab.text("#figure-lost").startswith("0 of "), tab.text("#figure-lost")
        tab.click("#talk")
        tab.wait_text("#word", "ended")
        tab.click("#save-sound")
        rate, left, right = recording.read(its_browser.wait_download(".wav"))
        tab.click("#save-text")
        text = its_browser.wait_download(".txt").read_text()
    assert len(left) == len(right) and len(left) / rate > 15, (len(left), len(right), rate)
    late, alike = recording.delay(recording.envelope(left, rate), recording.envelope(right, rate))
    print(f"# the parrot is {late:.3f} s late, correlation {alike:.2f}")
    assert 1.9 < late < 3.5 and alike > 0.6, (late, alike)
    assert re.search(r"^\[\d\d:\d\d\.\d\] .*speech", text, re.M) and "silence" in text, text


def both_encodings_are_heard():
    with server() as running, page(running) as (tab, _):
        for encoding in ("opus", "pcm"):
            tab.run(f"localStorage.setItem('moshi-settings', JSON.stringify({{encoding: '{encoding}'}}))")
            tab.open(address(running))
            begin(tab)
            tab.wait_text("#lines", "speech")
            tab.click("#talk")
            tab.wait_text("#word", "ended")


def works_without_web_codecs():
    """The fallback to samples, chosen by the page itself."""
    with server() as running, page(running) as (tab, _):
        open_spied(tab, running, "delete window.AudioEncoder;")
        begin(tab)
        tab.wait_text("#lines", "speech")
        assert ["audio=pcm" in one for one in tab.run("addresses")] == [True], tab.run("addresses")


def goes_on_when_the_codec_breaks():
    broken = (
        "window.AudioEncoder = class extends AudioEncoder {"
        "  constructor(ends) {"
        "    super(ends);"
        "    setTimeout(() => { this.close(); ends.error(new DOMException('It broke.', 'EncodingError')); }, 4000);"
        "  }"
        "};"
    )
    with server() as running, page(running) as (tab, _):
        open_spied(tab, running, broken)
        begin(tab)
        browser.wait_for("another connection", lambda: len(tab.run("addresses")) == 2)
        tab.wait_text("#word", "Talking")
        before = tab.text("#lines")
        browser.wait_for("text without the codec", lambda: "speech" in tab.text("#lines")[len(before) :])
        assert ["audio=pcm" in one for one in tab.run("addresses")] == [False, True], tab.run("addresses")


def only_what_is_listened_to():
    """Text alone is written and not heard, the voice alone heard and not written."""
    for listen in ("text", "audio"):
        with server() as running, page(running) as (tab, its_browser):
            open_spied(tab, running, settings=f'{{"listen": "{listen}"}}')
            begin(tab)
            talk_for(tab, 8)
            assert ("speech" in tab.text("#lines")) == (listen == "text"), tab.text("#lines")
            tab.click("#talk")
            tab.wait_text("#word", "ended")
            tab.click("#save-sound")
            _, _, right = recording.read(its_browser.wait_download(".wav"))
        assert (max(map(abs, right)) > 0.01) == (listen == "audio"), listen


def echo_is_cancelled():
    """By the browser, unless the settings say otherwise."""
    with server() as running, page(running) as (tab, _):
        for wanted in (True, False):
            open_spied(tab, running, settings="{}" if wanted else '{"echoCancellation": false}')
            begin(tab)
            assert tab.run("asked.audio.echoCancellation") is wanted, tab.run("asked")
            assert tab.run("track.getSettings().echoCancellation") is wanted, tab.run("track.getSettings()")


def muting_mutes_the_microphone():
    with server() as running, page(running) as (tab, _):
        open_spied(tab, running)
        begin(tab)
        tab.click("#mute")
        assert tab.run("track.enabled") is False
        tab.click("#mute")
        assert tab.run("track.enabled") is True


def a_stall_does_not_stay():
    """What piles up while nothing comes is not kept in the buffer: the delay is soon what it was."""
    buffered = lambda tab: list(map(int, re.findall(r"\d+", tab.text("#figure-buffer"))))  # noqa: E731
    with server() as running, page(running) as (tab, _):
        begin(tab)
        talk_for(tab, 8)
        before = int(re.search(r"\d+", tab.text("#figure-mouth-to-ear")).group())
        gaps = int(tab.text("#figure-gaps"))
        for _ in range(2):
            running.process.send_signal(signal.SIGSTOP)
            time.sleep(1.5)
            running.process.send_signal(signal.SIGCONT)
            time.sleep(1.5)
        assert int(tab.text("#figure-gaps")) > gaps, tab.text("#figures")
        for _ in range(20):
            now, bound = buffered(tab)
            assert bound == 200 and now <= bound, tab.text("#figures")
            time.sleep(0.25)
        after = int(re.search(r"\d+", tab.text("#figure-mouth-to-ear")).group())
        print(f"# mouth to ear {before} ms before, {after} ms after; {tab.text('#figure-skipped')} skipped")
        assert after < before + 200, (before, after)
        assert tab.text("#word") == "Talking"


def muted_is_silence():
    with server() as running, page(running) as (tab, its_browser):
        begin(tab)
        tab.click("#mute")
        talk_for(tab, 6)
        tab.click("#talk")
        tab.wait_text("#word", "ended")
        tab.click("#save-sound")
        rate, left, _ = recording.read(its_browser.wait_download(".wav"))
    late = left[2 * rate :]
    assert late and max(map(abs, late)) == 0


def reconnects_after_a_restart():
    running = server()
    with contextlib.ExitStack() as stack:
        stack.callback(running.process.kill)
        tab, _ = stack.enter_context(page(running, good=False))
        begin(tab)
        tab.wait_text("#lines", "speech")
        running.process.kill()
        running.process.wait()
        tab.wait_text("#word", "Reconnecting")
        assert tab.text("#talk") == "Give up"
        before = tab.text("#lines")
        stack.enter_context(server(*PLACES, "--port", str(running.port)))
        tab.wait_text("#word", "Talking")
        browser.wait_for("text after the restart", lambda: "speech" in tab.text("#lines")[len(before) :])
        assert tab.text("#lines").startswith(before), "what was written before is lost"
        tab.click("#talk")
        tab.wait_text("#word", "ended")
        check_complaints(tab, "ERR_CONNECTION", "WebSocket", "503", "The connection to ws:", "establish a connection")


def second_client_waits_its_turn():
    with server("--sessions", "1", "--queue", "1") as running, page(running) as (first, its_browser):
        begin(first)
        second, third = its_browser.tab(), its_browser.tab()
        second.open(address(running))
        second.wait_text("#detail", "place")
        second.click("#talk")
        assert "1 of 1" in second.wait_text("#word", "Waiting")
        third.open(address(running))
        third.wait_text("#word", "Ready")
        third.click("#talk")
        third.wait_text("#word", "All places are taken")
        assert third.text("#talk") == "Start again" and mood(third) == "bad"
        first.click("#talk")
        first.wait_text("#word", "ended")
        second.wait_text("#word", "Talking")
        second.wait_text("#lines", ("speech", "silence"))
        assert not second.complaints, second.complaints


def interruptions_are_told():
    """A call stops the sound and mutes the microphone; what a click cures is offered until it is cured."""
    mute = (
        "Object.defineProperty(track, 'muted', {value: %s, configurable: true});"
        "track.dispatchEvent(new Event('%s'))"
    )
    with server() as running, page(running) as (tab, _):
        open_spied(tab, running)
        begin(tab)
        tab.run("made.find((one) => one instanceof AudioContext).suspend()")
        tab.wait_text("#note", "stopped the sound")
        tab.run(mute % ("true", "mute"))
        tab.wait_text("#note", "Let the sound go on")
        tab.click("#resume")
        tab.wait_text("#note", "system muted")
        tab.run(mute % ("false", "unmute"))
        browser.wait_for("no note", lambda: tab.text("#note") == "")
        assert tab.text("#word") == "Talking"
        for end, word in (
            ("track.dispatchEvent(new Event('ended'))", "microphone is gone"),
            ("made[0].dispatchEvent(new Event('processorerror'))", "stopped the sound"),
        ):
            tab.run(end)
            tab.wait_text("#word", word)
            tab.click("#talk")
            tab.wait_text("#word", "Talking")


CASES = [
    speech_comes_back, both_encodings_are_heard, works_without_web_codecs, goes_on_when_the_codec_breaks,
    only_what_is_listened_to, echo_is_cancelled, muting_mutes_the_microphone, muted_is_silence, a_stall_does_not_stay,
    reconnects_after_a_restart, second_client_waits_its_turn, interruptions_are_told,
]  # fmt: skip

if __name__ == "__main__":
    opened.main(CASES)

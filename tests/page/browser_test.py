# SPDX-License-Identifier: MIT
"""The page in a headless Chromium, against moshi-server with the embedded models."""
import json
import re
import tempfile

import opened
import page_checks
from opened import PHONE, PLACES, address, begin, browser, check_complaints, mood, page, server, words


def page_opened_while_models_are_loaded():
    with server(*PLACES, core="fake", wait=False, MOSHI_FAKE_LOAD_MS="4000") as running:
        running.wait_listening()
        with page(running, good=False) as (tab, _):
            tab.wait_text("#word", "not ready")
            assert tab.run("document.querySelector('#talk').disabled")
            tab.wait_text("#word", "Ready")
            assert re.search(r"You talk to (?!a model without a name)", tab.text("#model")), tab.text("#model")
            begin(tab)
            check_complaints(tab, "503")


def encrypted_page_talks():
    with tempfile.TemporaryDirectory() as folder:
        with server(*PLACES, "--ssl", folder) as running:
            with page(running, flags=("--ignore-certificate-errors",)) as (tab, _):
                assert tab.run("location.protocol") == "https:"
                begin(tab)
                tab.wait_text("#lines", "speech")


def refused_microphone_is_explained():
    with server() as running, page(running, allow=False) as (tab, _):
        tab.wait_text("#word", "Ready")
        tab.click("#talk")
        tab.wait_text("#word", "microphone is")
        assert "allow" in tab.text("#detail"), tab.text("#detail")
        assert tab.text("#talk") == "Start again"


def insecure_page_is_explained():
    """Before anyone presses a button."""
    flags = ("--host-resolver-rules=MAP moshi.example 127.0.0.1",)
    with server() as running, page(running, flags=flags, good=False) as (tab, _):
        tab.open(f"http://moshi.example:{running.port}/")
        tab.wait_text("#word", "unencrypted")
        assert "https://" in tab.text("#detail") and "ssh" in tab.text("#detail"), tab.text("#detail")
        check_complaints(tab, "Cross-Origin-Opener-Policy header has been ignored")


def old_browser_is_explained():
    with server() as running, page(running) as (tab, _):
        tab.send("Page.addScriptToEvaluateOnNewDocument", source="delete window.AudioWorkletNode;")
        tab.open(address(running))
        tab.wait_text("#word", "Ready")
        tab.click("#talk")
        tab.wait_text("#word", "browser")
        assert "current" in tab.text("#detail"), tab.text("#detail")


def page_that_cannot_start_is_explained():
    """As in browsers that cannot read its modules."""
    with server() as running, page(running, good=False) as (tab, _):
        tab.send("Network.enable")
        tab.send("Network.setBlockedURLs", urls=["*/main.js"])
        tab.open(address(running))
        tab.wait_text("#word", "did not start")
        tab.wait_text("#detail", "newer browser")


def idle_page_draws_nothing():
    count = "window.drawn = 0; const ask = requestAnimationFrame; requestAnimationFrame = (f) => (++drawn, ask(f));"
    later = "(drawn = 0, new Promise((done) => setTimeout(() => done(drawn), 500)))"
    with server() as running, page(running) as (tab, _):
        tab.send("Page.addScriptToEvaluateOnNewDocument", source=count)
        tab.open(address(running))
        assert tab.run(later) == 0
        begin(tab)
        assert tab.run(later) > 0
        tab.click("#talk")
        tab.wait_text("#word", "ended")
        assert tab.run(later) == 0


def token_is_asked_for():
    with server(*PLACES, "--token", "red-parrot") as running, page(running, good=False) as (tab, _):
        tab.wait_text("#word", "access token")
        assert tab.run("document.querySelector('#talk').disabled")
        for token, word in (("green-parrot", "not right"), ("red-parrot", "Ready")):
            tab.run("document.querySelector('#token').value = ''")
            tab.click("#token")
            tab.type(token)
            tab.key("Enter")
            tab.wait_text("#word", word)
        begin(tab)
        tab.wait_text("#lines", ("speech", "silence"))
        tab.click("#talk")
        tab.open(address(running))  # the tab remembers it
        tab.wait_text("#word", "Ready")
        assert not tab.run("localStorage.length"), "the token belongs to the tab"
        tab.run("sessionStorage.clear()")
        tab.open("about:blank")
        tab.open(f"{address(running)}/#token=red-parrot")
        tab.wait_text("#word", "Ready")
        assert "parrot" not in tab.run("location.href"), tab.run("location.href")
        check_complaints(tab, "401")


def keyboard_is_enough():
    focused = "document.activeElement.id || document.activeElement.textContent.trim()"
    with server() as running, page(running) as (tab, _):
        tab.wait_text("#word", "Ready")
        stops = []
        for _ in range(6):
            tab.key("Tab")
            stops.append(tab.run(focused))
            outline = tab.run("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", f"{stops[-1]} does not show that it has the focus"
        assert [stop.startswith("Skip") for stop in stops[:3]] == [True] * 3 and stops[3] == "talk", stops
        tab.run("document.querySelector('#talk').focus()")
        tab.key("Enter")
        tab.wait_text("#word", "Talking")
        tab.key("m")
        assert tab.run("document.querySelector('#mute').ariaPressed") == "true"
        assert "muted" in tab.text("#detail"), tab.text("#detail")
        tab.key("Tab")
        assert tab.run(focused) == "mute"
        tab.key(" ")
        assert tab.run("document.querySelector('#mute').ariaPressed") == "false"
        assert tab.text("#word") == "Talking", "Space on another button must not end the conversation"
        tab.run("document.activeElement.blur()")
        tab.key(" ")
        tab.wait_text("#word", "ended")
        tab.key(" ")
        tab.wait_text("#word", "Talking")
        tab.run("document.querySelector('#talk').focus()")
        tab.key(" ")
        tab.wait_text("#word", "ended")


def screen_readers_are_told():
    with server() as running, page(running) as (tab, _):
        begin(tab)
        tab.wait_text("#said", ("speech", "silence"))
        tree = tab.tree()
        page_checks.check_tree(tree)
        tab.click("#talk")
        tab.wait_text("#word", "ended")
        said = [name for role, name, _ in tab.tree() if role == "StaticText"]
        assert any("ended" in name for name in said), said


def fits_a_phone():
    with server() as running, page(running, size=PHONE) as (tab, _):
        for width, height in (PHONE, (320, 568), (844, 390)):
            tab.size(width, height, phone=True)
            begin(tab)
            tab.run("document.querySelectorAll('details').forEach((box) => (box.open = true))")
            page_checks.check_phone(tab)
            tab.click("#talk")
            tab.wait_text("#word", "ended")
            tab.open(address(running))


def can_be_read():
    """Contrast, in both schemes and all moods."""
    with server() as running, page(running) as (tab, _):
        begin(tab)
        tab.run("document.querySelectorAll('details').forEach((box) => (box.open = true))")
        for scheme in ("light", "dark"):
            tab.media(prefers_color_scheme=scheme)
            for tone in ("calm", "busy", "good", "bad"):
                tab.run(f"document.querySelector('#stage').dataset.mood = '{tone}'")
                page_checks.check_contrast(tab, scheme)
        tab.media(prefers_reduced_motion="reduce")
        assert not tab.run("document.getAnimations().length")


def settings_are_kept_and_checked():
    with server() as running, page(running) as (tab, _):
        tab.wait_text("#word", "Ready")
        tab.run("document.querySelectorAll('details').forEach((box) => (box.open = true))")
        placeholder = tab.run("document.querySelector('#set-textTemperature').placeholder")
        assert re.match(r"[\d.]+ \(the server's\)", placeholder), placeholder
        for field, value, problem in (
            ("seed", "17", ""), ("textTemperature", "hot", "not a number"), ("audioTopk", "2.5", "whole"),
            ("mostLagMs", "5", "From"), ("audioTemperature", "0", ""),
        ):  # fmt: skip
            tab.click(f"#set-{field}")
            tab.run(f"document.querySelector('#set-{field}').select()")
            tab.type(value)
            tab.key("Tab")
            assert problem in tab.text(f"#set-{field}-wrong") and bool(problem) == bool(tab.text(f"#set-{field}-wrong"))
            invalid = tab.run(f"document.querySelector('#set-{field}').getAttribute('aria-invalid')")
            assert invalid == str(bool(problem)).lower(), (field, invalid)
        kept = {"seed": 17, "audioTemperature": 0}
        assert json.loads(tab.run("localStorage.getItem('moshi-settings')")) == kept
        tab.open(address(running))
        assert tab.run("document.querySelector('#set-seed').value") == "17"
        begin(tab)
        tab.wait_text("#lines", ("speech", "silence"))
        for garbage in ('{"seed": "x", "listen": "nobody", "mostLagMs": 1e9, "__proto__": {"a": 1}}', "{", "[1]", "17"):
            tab.run(f"localStorage.setItem('moshi-settings', {json.dumps(garbage)})")
            tab.open(address(running))
            tab.wait_text("#word", "Ready")
            assert tab.run("document.querySelector('#set-seed').value") == ""
            assert tab.run("document.querySelector('#set-mostLagMs').value") == "200"


def devices_can_be_chosen():
    """By name, once the microphone has been allowed; one that is gone is said so."""
    options = "[...document.querySelector('#set-microphone').options]"
    named = f"{options}.filter((option) => option.value).map((option) => [option.value, option.text])"
    with server() as running, page(running) as (tab, _):
        begin(tab)
        devices = browser.wait_for("names of microphones", lambda: [d for d in tab.run(named) if "Device" not in d[1]])
        value, name = devices[-1]
        tab.run(f"document.querySelector('#set-microphone').value = {json.dumps(value)}")
        tab.run("document.querySelector('#set-microphone').dispatchEvent(new Event('change'))")
        tab.click("#talk")
        tab.wait_text("#word", "ended")
        tab.click("#talk")
        tab.wait_text("#word", "Talking")
        assert json.loads(tab.run("localStorage.getItem('moshi-settings')")) == {"microphone": value}, name
        tab.run("localStorage.setItem('moshi-settings', JSON.stringify({microphone: 'gone'}))")
        tab.open(address(running))
        tab.wait_text("#word", "Ready")
        tab.click("#talk")
        tab.wait_text("#word", "microphone is not there")


def screen_stays_on():
    lock = "request: async () => (++locks, {release: async () => void --locks})"
    with server() as running, page(running) as (tab, _):
        source = f"window.locks = 0; Object.defineProperty(navigator, 'wakeLock', {{value: {{{lock}}}}});"
        tab.send("Page.addScriptToEvaluateOnNewDocument", source=source)
        tab.open(address(running))
        begin(tab)
        assert tab.run("locks") == 1
        tab.click("#talk")
        tab.wait_text("#word", "ended")
        assert tab.run("locks") == 0


def transcript_follows_the_reader():
    """New lines scroll into view, unless the reader has scrolled up."""
    below = "(({scrollHeight, scrollTop, clientHeight}) => scrollHeight - scrollTop - clientHeight)(transcript)"
    fill = "for (let n = 0; n < 60; ++n) lines.append(Object.assign(document.createElement('li'), {textContent: n}))"
    with server() as running, page(running) as (tab, _):
        begin(tab)
        tab.wait_text("#lines", "speech")
        tab.run(fill + "; document.querySelector('#transcript').scrollTop = 1e6; 0")
        count = words(tab)
        browser.wait_for("more text", lambda: words(tab) > count)
        assert tab.run(below) < 5
        tab.run("document.querySelector('#transcript').scrollTop = 0")
        browser.wait_for("the button to the newest line", lambda: tab.run("!document.querySelector('#latest').hidden"))
        count = words(tab)
        browser.wait_for("more text", lambda: words(tab) > count)
        assert tab.run("document.querySelector('#transcript').scrollTop") == 0
        tab.click("#latest")
        assert tab.run(below) < 5


def stopped_server_is_explained():
    with server(*PLACES, "--drain", "0") as running, page(running, good=False) as (tab, _):
        begin(tab)
        tab.wait_text("#lines", ("speech", "silence"))
        assert running.stop() == 0
        tab.wait_text("#word", "Reconnecting")
        tab.wait_text("#detail", ("stop", "answer"))
        tab.click("#talk")
        tab.wait_text("#word", "ended")
        tab.open("about:blank")


def missing_server_is_explained():
    with server() as running, page(running, good=False) as (tab, _):
        tab.wait_text("#word", "Ready")
        assert running.stop() == 0
        tab.click("#talk")
        tab.wait_text("#word", "cannot be reached")
        tab.open("about:blank")


def double_clicks_begin():
    with server() as running, page(running) as (tab, _):
        tab.wait_text("#word", "Ready")
        tab.click("#talk", times=2)
        tab.wait_text("#word", "Talking")
        assert tab.text("#talk") == "End"


def time_limit_is_explained():
    with server(*PLACES, "--session-limit", "3") as running, page(running) as (tab, _):
        begin(tab)
        tab.wait_text("#talk", "Start again")
        assert mood(tab) == "calm", tab.text("#state")
        print("# " + tab.text("#state").replace("\n", ": "))


CASES = [
    page_opened_while_models_are_loaded, encrypted_page_talks, refused_microphone_is_explained,
    insecure_page_is_explained, old_browser_is_explained, page_that_cannot_start_is_explained, idle_page_draws_nothing,
    token_is_asked_for, keyboard_is_enough, screen_readers_are_told, fits_a_phone, can_be_read,
    settings_are_kept_and_checked, devices_can_be_chosen, screen_stays_on, transcript_follows_the_reader,
    stopped_server_is_explained, missing_server_is_explained, double_clicks_begin, time_limit_is_explained,
]  # fmt: skip

if __name__ == "__main__":
    opened.main(CASES)

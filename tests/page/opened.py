# SPDX-License-Identifier: MIT
"""What the tests of the page in a browser share: the page of a moshi-server, opened in a tab whose microphone plays
speech."""
import contextlib
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "door"))

import browser  # noqa: E402
import door  # noqa: E402
import ogg_opus  # noqa: E402
import recording  # noqa: E402
import talk  # noqa: E402

engine = browser  # firefox_test.py has another
PHONE = (390, 844)
PLACES = ("--sessions", "2")


def server(*options, core="real", **how):
    return talk.Server(*(options or PLACES), core=core, **how)


@contextlib.contextmanager
def page(running, path="/", size=(1280, 900), good=True, **how):
    """A tab with the page, and its browser. A good page makes the browser complain of nothing."""
    with tempfile.TemporaryDirectory() as folder:
        microphone = pathlib.Path(folder) / "microphone.wav"
        recording.write_with_pauses(ogg_opus.recording(), microphone)
        with engine.Browser(folder, microphone=microphone, **how) as its_browser:
            tab = its_browser.tab()
            tab.size(*size, phone=size == PHONE)
            tab.open(address(running) + path)
            yield tab, its_browser
            if good:
                check_complaints(tab)


def check_complaints(tab, *expected):
    """The browser's console and log: nothing but lines with one of these parts."""
    failures = [line for line in tab.complaints if not any(part in line for part in expected)]
    assert not failures, failures


def address(running):
    return f"{running.url.partition(':')[0]}://localhost:{running.port}"


def begin(tab):
    tab.wait_text("#word", "Ready")
    tab.click("#talk")
    tab.wait_text("#word", "Talking")


def mood(tab):
    return tab.run("document.querySelector('#stage').dataset.mood")


def words(tab):
    return tab.text("#lines").count("silence") + tab.text("#lines").count("speech")


def talk_for(tab, seconds):
    """Until the clock beside the state says so."""
    tab.wait_text("#count", tuple(f"0:{second:02}" for second in range(seconds, 60)))


SPY = """
if (!window.made) {
  window.made = [];
  for (const name of ['AudioContext', 'AudioWorkletNode']) {
    window[name] = class extends window[name] {
      constructor(...how) { super(...how); made.unshift(this); }
    };
  }
  window.addresses = [];
  window.WebSocket = class extends WebSocket {
    constructor(address) { super(address); addresses.push(address); }
  };
  const ask = navigator.mediaDevices?.getUserMedia.bind(navigator.mediaDevices);
  if (ask) {
    navigator.mediaDevices.getUserMedia = async (how) => {
      const stream = await ask(how);
      window.asked = how;
      [window.track] = stream.getAudioTracks();
      return stream;
    };
  }
}
"""


def open_spied(tab, running, more="", settings="{}"):
    """The page anew, with what it makes in `made`, `addresses`, `asked` and `track`, and more script before its own."""
    tab.send("Page.addScriptToEvaluateOnNewDocument", source=SPY + more)
    tab.run(f"localStorage.setItem('moshi-settings', {settings!r})")
    tab.open(address(running))


def main(cases):
    """All of them, or those that the command line names."""
    if not browser.program():
        door.skip("there is no chromium (MOSHI_TEST_BROWSER names another)")
    wanted = sys.argv[2:]
    talk.main([case for case in cases if not wanted or case.__name__ in wanted])

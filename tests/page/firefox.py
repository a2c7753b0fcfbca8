# SPDX-License-Identifier: MIT
"""A headless Firefox for the tests of the page, driven through Marionette: as browser.py has it for Chromium, as far as
the tests need it. It has no audio without a sound system, so a PulseAudio of its own is its sound card: the microphone
is a sink that a file is played into, at another rate than the loudspeaker."""
import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import time

import browser

RATES = {"loudspeaker": 44100, "microphone": 48000}
FIXED = {
    "marionette.port": 0,  # a free one, which it writes into the profile
    "media.autoplay.default": 0,
    "browser.download.folderList": 2,
    "browser.download.alwaysOpenPanel": False,
}
# Of pages, not of the browser's own windows.
COMPLAINTS = """
  const pages = /^(https?|wss?):/;
  const storage = Cc['@mozilla.org/consoleAPI-storage;1'].getService(Ci.nsIConsoleAPIStorage);
  return [
    ...Services.console.getMessageArray()
      .filter((one) => one instanceof Ci.nsIScriptError && !(one.flags & Ci.nsIScriptError.infoFlag))
      .filter((one) => pages.test(one.sourceName))
      .map((one) => `${one.errorMessage} ${one.sourceName}`),
    ...storage.getEvents()
      .filter((one) => ['error', 'warn', 'assert', 'exception'].includes(one.level) && pages.test(one.filename))
      .map((one) => one.arguments.map(String).join(' ')),
  ];
"""
KEYS = {"Tab": "\ue004", "Enter": "\ue007"}


def program():
    """The browser, or None where there is none, or no sound for it."""
    found = shutil.which("firefox-esr") or shutil.which("firefox")
    return found if shutil.which("pulseaudio") and shutil.which("paplay") else None


class Marionette:
    """Messages over TCP: their length, a colon, JSON."""

    def __init__(self, port):
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=browser.LIMIT_S)
        self._file = self._socket.makefile("rb")
        self._number = 0
        self._receive()  # a greeting
        self.send("WebDriver:NewSession", capabilities={})

    def _receive(self):
        length = b""
        while not length.endswith(b":"):
            byte = self._file.read(1)
            if not byte:
                raise browser.PageFailure("the browser is gone")
            length += byte
        return json.loads(self._file.read(int(length[:-1])))

    def send(self, name, **params):
        self._number += 1
        data = json.dumps([0, self._number, name, params]).encode()
        self._socket.sendall(b"%d:%s" % (len(data), data))
        _, _, error, result = self._receive()
        if error:
            raise browser.PageFailure(f"{name}: {error['message']}")
        return result

    def close(self):
        self._file.close()
        self._socket.close()


class Tab(browser.Words):
    """One page. It is the one that is seen while something is asked of it."""

    def __init__(self, marionette, handle):
        self._marionette = marionette
        self._handle = handle

    def send(self, name, **params):
        self._marionette.send("WebDriver:SwitchToWindow", handle=self._handle)
        return self._marionette.send(name, **params)

    def open(self, address):
        self.send("WebDriver:Navigate", url=address)

    def run(self, expression):
        """The value of a JavaScript expression; promises are waited for."""
        return self.send("WebDriver:ExecuteScript", script=f"return ({expression});", args=[])["value"]

    @property
    def complaints(self):
        """Of all tabs. Worklets that are interrupted as their context is closed are no fault, but told."""
        self.send("Marionette:SetContext", value="chrome")
        try:
            lines = self._marionette.send("WebDriver:ExecuteScript", script=COMPLAINTS, args=[])["value"]
            interrupted = re.compile(r"Script terminated by timeout at:.*_worklet\.js", re.DOTALL)
            return [line for line in lines if not interrupted.match(line)]
        finally:
            self._marionette.send("Marionette:SetContext", value="content")

    def click(self, selector):
        """With the mouse; what is covered or hidden cannot be clicked."""
        found = self.send("WebDriver:FindElement", using="css selector", value=selector)["value"]
        self.send("WebDriver:ElementClick", id=next(iter(found.values())))

    def key(self, key):
        self.type([KEYS.get(key, key)])

    def type(self, text):
        presses = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
        self.send("WebDriver:PerformActions", actions=[{"type": "key", "id": "keyboard", "actions": presses}])

    def size(self, width, height, phone=False):
        assert not phone, "Firefox has no phone to show"
        self.send("WebDriver:SetWindowRect", width=width, height=height)


class Browser:
    """`microphone`: a WAV file that the microphone plays again and again. `allow`: whether the microphone is given."""

    def __init__(self, folder, microphone, allow=True):
        home = pathlib.Path(folder) / f"browser-{time.monotonic_ns()}"
        self.downloads = home / "downloads"
        self.downloads.mkdir(parents=True)
        more = {
            "browser.download.dir": str(self.downloads), "permissions.default.microphone": 1 if allow else 2,
            "media.navigator.permission.disabled": allow,
        }  # fmt: skip
        preferences = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in (FIXED | more).items()]
        (home / "user.js").write_text("\n".join(preferences))
        self._processes = []
        self._marionette = None
        try:
            self._start_sound(home, microphone)
            flags = ("--headless", "--no-remote", "--marionette", "--remote-allow-system-access", "--profile", home)
            self._start(home, program(), *flags)
            port = home / "MarionetteActivePort"
            self._marionette = Marionette(int(browser.wait_for("port", lambda: port.exists() and port.read_text())))
        except BaseException:
            self.close()
            raise

    def _start_sound(self, home, microphone):
        modules = [f"native-protocol-unix socket={home}/sound auth-anonymous=1"]
        modules += [f"null-sink sink_name={name} rate={rate}" for name, rate in RATES.items()]
        # browsers do not take monitors of sinks for microphones
        modules += ["remap-source master=microphone.monitor source_name=remapped"]
        flags = ["-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"]
        self._start(home, "pulseaudio", *flags, *(f"--load=module-{module}" for module in modules))
        browser.wait_for("sound", (home / "sound").exists)
        self._start(home, "bash", "-c", 'while paplay --device=microphone "$0"; do :; done', microphone)

    def _start(self, home, *command):
        mine = {"PULSE_SERVER": f"unix:{home}/sound"}
        mine |= {"HOME": str(home)} if command[0] == "pulseaudio" else {}
        with open(home / "log", "ab") as log:
            process = subprocess.Popen(
                command, env=os.environ | mine, start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._processes.append(process)

    def tab(self):
        return Tab(self._marionette, self._marionette.send("WebDriver:NewWindow", type="tab")["handle"])

    def wait_download(self, ending):
        return browser.wait_download(self.downloads, ending)

    def close(self):
        if self._marionette:
            self._marionette.close()
        for process in reversed(self._processes):
            with contextlib.suppress(ProcessLookupError):  # helper processes of its group, too
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

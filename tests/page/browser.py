# SPDX-License-Identifier: MIT
"""A headless Chromium for the tests of the page: started with a microphone that plays a file, driven through the
DevTools protocol."""
import base64
import contextlib
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import time

LIMIT_S = 60  # a hang, not a slow machine
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-default-apps --disable-extensions --disable-dev-shm-usage "
    "--use-fake-device-for-media-stream --remote-debugging-pipe"
).split()


def program():
    """The browser, or None where there is none."""
    return shutil.which(os.environ.get("MOSHI_TEST_BROWSER", "chromium"))


def wait_for(what, question, limit=LIMIT_S, every=0.05):
    """Asks until the answer is true, and returns it."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        answer = question()
        if answer:
            return answer
        time.sleep(every)
    raise AssertionError(f"no {what} within {limit} s")


class PageFailure(AssertionError):
    pass


class Pipe:
    """Messages of the DevTools protocol over the browser's file descriptors 3 and 4: JSON, each ended by a zero."""

    def __init__(self):
        self.theirs_in, self._out = os.pipe()
        self._in, self.theirs_out = os.pipe()
        self._rest = b""
        self._number = 0
        self._listeners = {}

    def close_theirs(self):
        os.close(self.theirs_in)
        os.close(self.theirs_out)

    def close(self):
        os.close(self._in)
        os.close(self._out)

    def listen(self, session, listener):
        self._listeners[session] = listener

    def send(self, method, session=None, **params):
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]
        end = time.monotonic() + LIMIT_S
        while True:
            answer = self.receive(end)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise PageFailure(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def receive(self, end):
        """The next message. Events have been told to their session's listener."""
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise TimeoutError("the browser says nothing")
            data = os.read(self._in, 1 << 20)
            if not data:
                raise PageFailure("the browser is gone")
            self._rest += data
        message, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(message)
        if "method" in message and message.get("sessionId") in self._listeners:
            self._listeners[message["sessionId"]](message)
        return message


def wait_download(folder, ending):
    """The newest complete file with that ending."""

    def ask():
        files = sorted(folder.glob(f"*{ending}"), key=lambda file: file.stat().st_mtime)
        return files and not [*folder.glob("*.crdownload"), *folder.glob("*.part")] and files[-1]

    return wait_for(f"download {ending}", ask)


class Words:
    """What tabs of all browsers can: they run() expressions, and keep what the browser complained about, which must be
    nothing after a good test."""

    def text(self, selector):
        return self.run(f"document.querySelector({json.dumps(selector)}).innerText.trim()")

    def wait_text(self, selector, part, limit=LIMIT_S):
        """Until the element's text contains `part` or one of several; returns the text."""
        parts = (part,) if isinstance(part, str) else part
        seen = ""

        def ask():
            nonlocal seen
            seen = self.text(selector)
            return any(one in seen for one in parts)

        try:
            wait_for(f"{parts} in {selector}", ask, limit)
        except AssertionError as problem:
            raise AssertionError(f"{problem}; it says {seen!r}; complaints: {self.complaints}") from None
        return seen


class Tab(Words):
    """One page."""

    def __init__(self, pipe):
        self._pipe = pipe
        self._events = []
        self.complaints = []
        self._target = pipe.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = pipe.send("Target.attachToTarget", targetId=self._target, flatten=True)["sessionId"]
        pipe.listen(self._session, self._take)
        for domain in ("Page", "Runtime", "Log", "Accessibility"):
            self.send(f"{domain}.enable")

    def send(self, method, **params):
        return self._pipe.send(method, self._session, **params)

    def _take(self, message):
        if message["method"] in ("Page.loadEventFired", "Page.frameNavigated"):
            self._events.append(message)
        params = message["params"]
        if message["method"] == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description", details["text"]))
        elif message["method"] == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}".strip())
        elif message["method"] == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(" ".join(str(arg.get("value", arg)) for arg in params["args"]))

    def wait_event(self, method, limit=LIMIT_S):
        end = time.monotonic() + limit
        while not any(event["method"] == method for event in self._events):
            self._pipe.receive(end)

    def open(self, address):
        self._events.clear()
        problem = self.send("Page.navigate", url=address).get("errorText")
        assert not problem, f"{address}: {problem}"
        self.wait_event("Page.loadEventFired")

    def run(self, expression, gesture=False):
        """The value of a JavaScript expression; promises are waited for."""
        answer = self.send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=gesture
        )
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise PageFailure(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    def click(self, selector, times=1):
        """With the mouse, where the element is, so that what is covered or hidden cannot be clicked."""
        box = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center'});"
            " const b = e.getBoundingClientRect(); const x = b.x + b.width / 2, y = b.y + b.height / 2;"
            " const top = document.elementFromPoint(x, y);"
            " return {x, y, free: !e.disabled && (e === top || e.contains(top))}; })()"
        )
        assert box["free"], f"{selector} cannot be clicked: it is covered, hidden or disabled"
        where = {"x": box["x"], "y": box["y"], "button": "left"}
        for count in range(1, times + 1):
            for kind in ("mousePressed", "mouseReleased"):
                self.send("Input.dispatchMouseEvent", type=kind, clickCount=count, **where)

    def key(self, key, code=None, text="", modifiers=0):
        codes = {"Tab": 9, "Enter": 13, " ": 32, "Escape": 27}
        number = codes.get(key, ord(key[0].upper()))
        text = text or {"Enter": "\r", " ": " "}.get(key, key if len(key) == 1 else "")
        common = {
            "key": key, "code": code or {" ": "Space"}.get(key, key), "modifiers": modifiers,
            "windowsVirtualKeyCode": number,
        }
        self.send("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **common)
        self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def type(self, text):
        self.send("Input.insertText", text=text)

    def size(self, width, height, phone=False):
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )

    def media(self, **features):
        """prefers_color_scheme="dark" and the like."""
        listed = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.send("Emulation.setEmulatedMedia", features=listed)

    def picture(self, path, whole=False):
        answer = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        pathlib.Path(path).write_bytes(base64.b64decode(answer["data"]))

    def tree(self):
        """What a screen reader is told: a list of (role, name, properties)."""
        nodes = self.send("Accessibility.getFullAXTree")["nodes"]
        listed = []
        for node in nodes:
            if node.get("ignored"):
                continue
            properties = {p["name"]: p["value"].get("value") for p in node.get("properties", [])}
            if "value" in node:
                properties["value"] = node["value"].get("value")
            listed.append((node["role"]["value"], node.get("name", {}).get("value", ""), properties))
        return listed

    def close(self):
        with contextlib.suppress(PageFailure, TimeoutError, OSError):
            self._pipe.send("Target.closeTarget", targetId=self._target)


class Browser:
    """`microphone`: a WAV file that the microphone plays again and again. `allow`: whether the microphone is given."""

    def __init__(self, folder, microphone=None, allow=True, flags=()):
        home = pathlib.Path(folder) / f"browser-{time.monotonic_ns()}"
        self.downloads = home / "downloads"
        command = [program(), *FLAGS, *flags, f"--user-data-dir={home}"]
        if allow:
            command.append("--use-fake-ui-for-media-stream")
        if microphone:
            command.append(f"--use-file-for-fake-audio-capture={microphone}")
        self._pipe = Pipe()
        self._process = self._start(command, pathlib.Path(f"{home}.log"))
        self._pipe.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads))
        if not allow:
            self._pipe.send("Browser.setPermission", permission={"name": "microphone"}, setting="denied")

    def _start(self, command, log):
        """The browser expects its pipe at the numbers 3 and 4: a shell puts it there."""
        there = f"exec \"$@\" 3<&{self._pipe.theirs_in} 4>&{self._pipe.theirs_out}"
        with open(log, "wb") as out:
            process = subprocess.Popen(
                ["bash", "-c", there, "bash", *command, "about:blank"], start_new_session=True,
                pass_fds=(self._pipe.theirs_in, self._pipe.theirs_out),
                stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            )  # fmt: skip
        self._pipe.close_theirs()
        return process

    def tab(self, address=None):
        tab = Tab(self._pipe)
        if address:
            tab.open(address)
        return tab

    def wait_download(self, ending):
        return wait_download(self.downloads, ending)

    def close(self):
        with contextlib.suppress(PageFailure, TimeoutError, OSError):
            self._pipe.send("Browser.close")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)
        with contextlib.suppress(ProcessLookupError):  # helper processes of its group, too
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._pipe.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

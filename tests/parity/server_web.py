# SPDX-License-Identifier: MIT
"""What the reference's page expects of a server: metadata of its schema, and a message at least every 10 s."""

import asyncio
import json
import time

import aiohttp

import server_talk as talk

# What the page puts into its address: its defaults, and random seeds below a million.
QUERY = ("?text_temperature=0.7&text_topk=25&audio_temperature=0.8&audio_topk=250&pad_mult=0&text_seed=123456"
         "&audio_seed=654321&repetition_penalty_context=64&repetition_penalty=1.0")  # fmt: skip
NUMBERS = {"text_temperature": 0.7, "text_topk": 25, "audio_temperature": 0.8, "audio_topk": 250, "pad_mult": 0,
           "repetition_penalty_context": 64, "repetition_penalty": 1}  # fmt: skip
STRINGS = ("lm_model_file", "instance_name")
BUILD = ("build_timestamp", "build_date", "git_branch", "git_timestamp", "git_date", "git_hash", "git_describe",
         "rustc_host_triple", "rustc_version", "cargo_target_triple")  # fmt: skip
# A handshake as the page would write it, the start and the end of a turn: its buttons. None means anything here.
BUTTONS = (b"\x00\x00\x00", b"\x03\x00", b"\x03\x01")
SILENCE_SECONDS = 10  # after so long the page gives up
FRAMES = 20


def metadata_problem(data):
    """Why the page would not show it, and whether it says what was asked for."""
    for name, value in NUMBERS.items():
        if isinstance(data.get(name), bool) or not isinstance(data.get(name), (int, float)):
            return f"{name} is {data.get(name)!r}, no number"
        if abs(data[name] - value) > 1e-6:
            return f"{name} is {data[name]}, not {value}"
    strings = [(name, data.get(name)) for name in STRINGS]
    build = data.get("build_info")
    if not isinstance(build, dict):
        return f"build_info is {build!r}"
    strings += [(f"build_info.{name}", build.get(name)) for name in BUILD]
    wrong = [name for name, value in strings if not isinstance(value, str)]
    return f"no string: {', '.join(wrong)}" if wrong else None


def kinds_problem(answers):
    """The page throws at kinds and control values that it does not know."""
    for kind, payload in answers.messages:
        if kind > talk.PING:
            return f"kind {kind}"
        if kind == talk.CONTROL and payload not in (b"\x00", b"\x01", b"\x02", b"\x03"):
            return f"control {payload!r}"
        if kind == talk.METADATA and not isinstance(json.loads(payload), dict):
            return f"metadata {payload[:80]!r}"
    return None


class Page:
    """One page's socket, which listens all the time and knows how long it was silent."""

    def __init__(self, socket):
        self.socket, self.answers, self.silence = socket, talk.Answers(), 0.0
        self.task = asyncio.create_task(self._listen())

    async def _listen(self):
        going = True
        while going:
            before = time.monotonic()
            going = await talk.receive(self.socket, self.answers, talk.SECONDS)
            self.silence = max(self.silence, time.monotonic() - before)

    async def wait_for(self, done, what):
        end = time.monotonic() + talk.SECONDS
        while not done(self.answers):
            if self.task.done() or time.monotonic() > end:
                raise talk.TalkError(f"a page gets no {what} (close code {self.answers.code})")
            await asyncio.sleep(0.02)

    async def close(self):
        await self.socket.close()
        await self.task


async def _two_pages(url, said):
    """One that talks and then says nothing, and one that waits for its place."""
    async with aiohttp.ClientSession() as session:
        first = Page(await session.ws_connect(url + QUERY))
        await first.wait_for(lambda answers: answers.of(talk.HANDSHAKE), "handshake")
        for message in BUTTONS:
            await first.socket.send_bytes(message)
        for number, messages in enumerate(said[:FRAMES]):
            await first.wait_for(lambda answers: answers.frames > number - talk.IN_FLIGHT, "answer")
            for message in messages:
                await first.socket.send_bytes(bytes([talk.AUDIO]) + message)
        await first.wait_for(lambda answers: answers.frames == FRAMES - 1, "last answer")
        second = Page(await session.ws_connect(url + QUERY))
        await first.wait_for(lambda answers: answers.of(talk.PING), "ping")
        await second.wait_for(lambda answers: answers.of(talk.PING), "ping while it waits")
        waited = not second.answers.of(talk.HANDSHAKE)
        await first.close()
        await second.wait_for(lambda answers: answers.of(talk.HANDSHAKE), "handshake when it is its turn")
        await second.close()
    return first, second, waited


def check(report, url, said):
    """`report` takes the name of a check, what is wrong, and a detail; `said` are messages of each frame."""
    first, second, waited = asyncio.run(_two_pages(url, said))
    said = [data for data in map(json.loads, first.answers.of(talk.METADATA)) if "text_temperature" in data]
    report("the reference's page: metadata", metadata_problem(said[0]) if said else "none came")
    for name, page in (("talks", first), ("waits", second)):
        report(f"the reference's page: kinds while it {name}", kinds_problem(page.answers))
        late = f"{page.silence:.1f} s without a message" if page.silence > SILENCE_SECONDS else None
        report(f"the reference's page: signs of life while it {name}", late, f"after {page.silence:.1f} s")
    report("the reference's page: the second one waits", None if waited else "it was let in at once")

# SPDX-License-Identifier: MIT
"""moshi-server and moshi-client against the reference's server and client, which run as they are."""

import os
import re
import time
import traceback

import numpy as np

import server_compare as compare
import server_talk as talk
import server_web
from pipelines import write_wav
from processes import ProcessFailed
from server_programs import Programs
from speech import speech

GREEDY = "?text_temperature=0&audio_temperature=0"
PARTS = ((1.2, False), (2.2, True), (1.4, False), (2.2, True), (3.0, False))  # seconds, whether of speech
LEAST_PIECES = 3  # of text
CLIENT, ROUNDED, PAGE, OURS = range(1, 5)  # the reference's conversations; in ROUNDED and PAGE it hears 16 bits
LAG_LIMIT = 12  # marks once there is sound, each 80 ms in which this machine had no time
UNKNOWN = re.compile(r"unknown message kind (\d+)")


def recording(rng):
    """Speech with pauses in whole frames, so that the text has something to say."""
    noise = [rng.normal(0, 1e-4, round(seconds * talk.RATE)) for seconds, _ in PARTS]
    parts = [speech(seconds, talk.RATE, rng, kind="recorded") if loud else quiet
             for (seconds, loud), quiet in zip(PARTS, noise)]
    audio = np.concatenate(parts).astype(np.float32)
    return audio[: len(audio) // talk.FRAME * talk.FRAME]


class Conformance:
    def __init__(self, report, programs, rng):
        self.report, self.programs = report, programs
        self.audio = recording(rng)
        self.said, self.page = talk.as_client(self.audio), talk.as_page(self.audio)
        self.heard = talk.decoded(sum(self.said, []))
        self.cut = talk.cut(self.said, rng)
        self.answers = len(self.said) - 1

    def check(self, name, problem, detail=""):
        self.report.check("server: " + name, problem, detail)

    def recorded(self, number, kind, dtype):
        return np.fromfile(self.programs.path(f"{number}.{kind}"), dtype)

    def check_repeat(self, name, heard, said, delay=None):
        """That one says what the other heard, `delay` seconds later (default: whatever fits, up to 1.92 s)."""
        delay = compare.repeat_delay(heard, said) if delay is None else delay
        write_wav(self.programs.path("heard.wav"), heard.astype(np.float32), talk.RATE)
        write_wav(self.programs.path("said.wav"), said.astype(np.float32), talk.RATE)
        paths = [self.programs.path(name) for name in ("heard.wav", "said.wav")]
        right = self.programs.quality(*paths, delay)
        late = self.programs.quality(*paths, delay + compare.FRAME_SECONDS)
        problem = f"STOI {right:.3f} after {delay:.2f} s, {late:.3f} a frame later"
        self.check(name, None if right >= compare.STOI and right > late else problem, problem)

    # --- The reference's server ------------------------------------------------------------------------------

    def talk_to_reference(self):
        program, url = self.programs.reference_server([ROUNDED, PAGE])
        with program:
            self.references = {number: talk.converse(url, said) for number, said in
                               ((CLIENT, self.said), (ROUNDED, self.said), (PAGE, self.page))}
            self.check_reference()
            self.check_client(program, url)

    def check_reference(self):
        """That what we compare with is what we believe it to be."""
        answers = self.references[CLIENT]
        self.check("reference: first message", compare.first_is_handshake(answers))
        self.check("reference: kinds", compare.only_kinds(answers, (talk.HANDSHAKE, talk.AUDIO, talk.TEXT)))
        self.check("reference: frames", compare.frames(answers, self.answers), f"{answers.frames} frames")
        pieces = [piece for _, piece in answers.texts]
        self.check("reference: text", None if len(pieces) >= LEAST_PIECES else f"{pieces}", f"{pieces}")
        self.spoken = {number: self.recorded(number, "audio", "<f4") for number in self.references}
        delay = compare.REPEAT_FRAMES * compare.FRAME_SECONDS
        self.check_repeat("reference: repeats what it heard", self.heard, self.spoken[CLIENT], delay)

    def check_client(self, server, url):
        """moshi-client with files against the reference's server."""
        files = [self.programs.path(name) for name in ("in.wav", "out.wav", "text.txt")]
        write_wav(files[0], talk.sixteen_bits(self.audio), talk.RATE)
        options = ("--url", url, "--input", files[0], "--output", files[1], "--text", files[2])
        with self.programs.client(*options) as client:
            status = client.wait(60)
            problem = f"ended with {status}: {client.err[-300:]}" if status else None
        self.check("moshi-client against the reference's server", problem)
        if problem:
            return
        said = read_wav(files[1])
        spoken = self.recorded(OURS, "audio", "<f4")
        delay, likeness = compare.opus_delay(said[: len(spoken)], spoken[: len(said)])
        detail = f"{len(said)} samples of {len(spoken)}, {delay} later, correlation {likeness:.3f}"
        whole = abs(len(said) - len(spoken)) <= talk.FRAME
        self.check("moshi-client: hears what it says", None if whole and likeness > 0.8 else detail, detail)
        self.check_repeat("moshi-client: is heard", self.audio, said)
        pieces = re.findall(r"text token '(.*)'", server.out.split("accepted connection")[-1])
        with open(files[2], encoding="utf-8") as file:
            text = file.read()
        wrong = f"{text!r} of {''.join(pieces)!r}" if text.split() != "".join(pieces).split() else None
        self.check("moshi-client: text", wrong, repr(text))

    # --- Our server ------------------------------------------------------------------------------------------

    def talk_to_ours(self):
        program, url = self.programs.server("--sessions", "1", "--queue", "2")
        with program:
            samples = talk.sixteen_bits(self.heard).reshape(-1, talk.FRAME)
            pcm = talk.converse(url + GREEDY + "&audio=pcm", [[frame.tobytes()] for frame in samples], pcm=True)
            self.compare_answers("PCM", pcm, self.references[ROUNDED])
            self.compare_pcm(pcm.audio())
            for name, said, number in (("Opus", self.said, ROUNDED), ("Opus cut anywhere", self.cut, ROUNDED),
                                       ("Opus of the page", self.page, PAGE)):
                self.programs.wait_idle(program, url)
                answers, reference = talk.converse(url + GREEDY, said), self.references[number]
                self.compare_answers(name, answers, reference)
                self.compare_opus(name, answers, reference, self.spoken[number])
            server_web.check(self.check, url, self.page)
            self.check_reference_client(program, url)

    def compare_answers(self, name, answers, reference):
        kinds = (talk.HANDSHAKE, talk.AUDIO, talk.TEXT, talk.METADATA)
        self.check(f"{name}: first message", compare.first_is_handshake(answers))
        self.check(f"{name}: kinds", compare.only_kinds(answers, kinds))
        self.check(f"{name}: frames", compare.frames(answers, self.answers), f"{answers.frames} frames")
        self.check(f"{name}: text of each frame", compare.texts(answers.texts, reference.texts), f"{answers.texts}")

    def compare_pcm(self, said):
        """Samples of ours, and of the reference's before they become Opus."""
        for name, number, allowed in (("16 bits", ROUNDED, compare.DIFFERENT_FRAMES),
                                      ("f32", CLIENT, compare.ROUNDED_FRAMES)):
            theirs, detail = self.spoken[number], ""
            problem = compare.audio(said, theirs, allowed)
            if not problem:
                detail = "%d frames differ, the others by %.1e" % compare.different_frames(said, theirs)
            self.check(f"PCM: audio, where the reference hears {name}", problem, detail)

    def compare_opus(self, name, answers, reference, spoken):
        self.check(f"{name}: pages", compare.pages(answers, reference), f"{len(answers.reader.pages)} pages")
        ours = answers.audio()
        self.check(f"{name}: audio", compare.opus(ours, reference.audio(), spoken),
                   "%d samples later, correlation %.3f" % compare.opus_delay(ours, spoken))

    # --- The reference's client ------------------------------------------------------------------------------

    def check_reference_client(self, server, url):
        files = [self.programs.path(name) for name in ("microphone.f32", "speaker.f32")]
        self.audio.astype("<f4").tofile(files[0])
        self.programs.wait_idle(server, url)
        with self.programs.reference_client(url, *files) as client:
            client.wait_for(lambda: os.path.exists(files[1]))
            time.sleep(len(self.audio) / talk.RATE)
            blocks = np.fromfile(files[1], "<f4")
            blocks = blocks[: len(blocks) // talk.FRAME * talk.FRAME].reshape(-1, talk.FRAME)
            server.terminate()
            self.check("the server stops", None if server.wait() == 0 else f"ended with {server.process.returncode}")
            problem = f"ended with {client.wait()}: {client.err[-500:]}"
            clean = client.process.returncode == 0 and "All done!" in client.err and "Traceback" not in client.err
            self.check("the reference's client connects, and ends when the server stops", None if clean else problem)
            unknown = [int(kind) for kind in UNKNOWN.findall(client.err)]
        self.check_unknown(unknown)
        self.check("the reference's client prints text", None if self.printed(client.out) else repr(client.out),
                   repr(client.out))
        sounds = np.flatnonzero(blocks.any(axis=1))
        if not len(sounds):
            self.check("the reference's client plays", "nothing but silence")
            return
        lags = sounds[-1] + 1 - sounds[0] - len(sounds)
        detail = f"{sounds[0]} marks at the start, {lags} later"
        self.check("the reference's client hardly lags", detail if lags > LAG_LIMIT else None, detail)
        self.check_repeat("the reference's client hears the parrot", self.heard, blocks[sounds].reshape(-1))

    def check_unknown(self, kinds):
        """It knows audio and text, and warns of everything else: of the handshake, and of why the server stops."""
        fits = kinds[:1] == [talk.HANDSHAKE] and set(kinds[1:]) <= {talk.ERROR} and len(kinds) <= 2
        self.check("the reference's client is sent nothing else", None if fits else f"kinds {kinds}", f"{kinds}")

    def printed(self, text):
        """The words of the model, which take turns."""
        words = text.split()
        turns = all(word != other for word, other in zip(words, words[1:]))
        return set(words) == {"speech", "silence"} and turns


def read_wav(path):
    """Samples of a WAV file of 16 bits or f32."""
    with open(path, "rb") as file:
        data = file.read()
    form, at = data.index(b"fmt "), data.index(b"data")
    bits = int.from_bytes(data[form + 22 : form + 24], "little")
    body = data[at + 8 :]
    if bits == 16:
        return np.frombuffer(body[: len(body) // 2 * 2], "<i2").astype(np.float32) / 32768
    return np.frombuffer(body[: len(body) // 4 * 4], "<f4")


def check(report, build, oracle, seed, folder):
    programs = Programs(build, oracle, folder)
    if not programs.has_server:
        report.skip("server", "this build has no moshi-server")
        return
    conformance = Conformance(report, programs, np.random.default_rng(seed))
    for part in (conformance.talk_to_reference, conformance.talk_to_ours):
        try:
            part()
        except (ProcessFailed, talk.TalkError) as error:
            report.check(f"server: {part.__name__}", str(error))
        except Exception as error:  # a defect of the tests must count as a failure
            traceback.print_exc()
            report.check(f"server: {part.__name__}", repr(error))

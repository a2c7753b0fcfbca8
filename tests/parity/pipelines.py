# SPDX-License-Identifier: MIT
"""The elements against the core, byte for byte: gst-launch-1.0 from a WAV file to codes, and back to audio."""

import struct

import numpy as np

import configs
from launch import Launcher, difference
from processes import ProcessFailed

FRAMES = 40
CODEBOOKS = 8


def write_wav(path, samples, rate):
    """A mono WAV file of int16 or float32 samples."""
    kind, bits = (3, 32) if samples.dtype == np.float32 else (1, 16)
    data = samples.astype(samples.dtype.newbyteorder("<")).tobytes()
    form = struct.pack("<HHIIHH", kind, 1, rate, rate * bits // 8, bits // 8, bits)
    with open(path, "wb") as file:
        file.write(b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt " + struct.pack("<I", 16) + form)
        file.write(b"data" + struct.pack("<I", len(data)) + data)


def pack(codes, cardinality):
    """`codes` [frame, codebook] as packed frames: most significant bit first, zero bits up to a whole byte."""
    width = (cardinality - 1).bit_length()
    bits = (codes[:, :, None] >> np.arange(width - 1, -1, -1)) & 1
    return np.packbits(bits.reshape(len(codes), -1).astype(np.uint8), axis=1).tobytes()


class Pipelines(Launcher):
    def launch_to(self, text, output):
        """Runs a pipeline whose end is written to `output`; its bytes."""
        return self.launch(f"{text} ! filesink location={self.path(output)}", output)[0]

    def caps(self, form):
        twice = int(round(2 * self.config["frame_rate"]))
        rate = f"{twice // 2}/1" if twice % 2 == 0 else f"{twice}/2"
        return (f"audio/x-mimi,rate={self.config['sample_rate']},channels=1,framerate={rate},codebooks={CODEBOOKS},"
                f"cardinality={self.config['quantizer']['bins']},stream-format={form},framed=false")

    def prepare(self):
        """Audio that is the same in 16 bits and in f32, and what the core makes of it."""
        samples = self.shape.runs["long"]["pcm"][:FRAMES, 0].reshape(-1)
        self.samples = np.clip(np.round(samples * 32768), -32768, 32767).astype(np.int16)
        self.floats = (self.samples / np.float32(32768)).astype(np.float32)
        rate = self.config["sample_rate"]
        write_wav(self.path("s16.wav"), self.samples, rate)
        write_wav(self.path("f32.wav"), self.floats, rate)
        write_wav(self.path("cut.wav"), self.floats[: -configs.frame_samples(self.config) // 3], rate)
        run = {
            "pcm": self.floats.reshape(FRAMES, 1, -1),
            "exec": np.ones((FRAMES, 1), bool),
            "reset": np.zeros((FRAMES, 1), bool),
            "decode": np.array([CODEBOOKS]),
            "whole": np.array(False),
        }
        np.savez(self.path("audio.in.npz"), **run)
        np.savez(self.path("audio.ref.npz"), codes=np.zeros((FRAMES, 1, CODEBOOKS), np.int64))
        work = "roundtrip:" + self.path("audio.in.npz")
        self.shape.processes.core(self.shape.model, "pipelines", [work])
        with np.load(self.path("audio.roundtrip.pipelines.npz")) as result:
            self.codes, self.audio = result["codes"][:, 0], result[f"audio_{CODEBOOKS}"].reshape(-1)

    def compare(self, what, text, expected):
        name = f"{self.shape.name}: pipeline {what}"
        try:
            ours = self.launch_to(text, what.replace(" ", "-"))
        except ProcessFailed as error:
            self.shape.report.check(name, str(error))
            return
        problem = difference(np.frombuffer(ours, np.uint8), np.frombuffer(expected, np.uint8), "byte", "core")
        self.shape.report.check(name, problem, f"{len(ours)} bytes")

    def check_all(self):
        model, mimi = self.shape.property, "mimienc"
        encode = f"{mimi} {model} codebooks={CODEBOOKS}"
        codes = self.codes.astype("<u2").tobytes()
        packed = pack(self.codes.astype(np.int64), self.config["quantizer"]["bins"])
        audio = self.audio.astype("<f4").tobytes()
        floats = "audio/x-raw,format=F32LE"
        for form in ("f32", "s16"):
            wav = f"filesrc location={self.path(form + '.wav')} ! wavparse"
            self.compare(f"{form} to codes", f"{wav} ! {encode}", codes)
        wav = f"filesrc location={self.path('f32.wav')} ! wavparse"
        self.compare("one frame at a time", f"{wav} ! {encode} batch-frames=1", codes)
        self.compare("seven frames at a time", f"{wav} ! {encode} batch-frames=7", codes)
        self.compare("to packed", f"{wav} ! {encode} ! audio/x-mimi,stream-format=packed", packed)
        self.compare("there and back", f"{wav} ! {encode} ! mimidec {model} ! {floats}", audio)
        cut = f"filesrc location={self.path('cut.wav')} ! wavparse"
        size = len(self.floats[: -configs.frame_samples(self.config) // 3])
        self.check_length("there and back of a part of a frame", f"{cut} ! {encode} ! mimidec {model} ! {floats}", size)
        for form, data in (("codes", codes), ("packed", packed)):
            with open(self.path(form + ".bin"), "wb") as file:
                file.write(data)
            source = f"filesrc blocksize=37 location={self.path(form + '.bin')} ! {self.caps(form)} ! mimiparse"
            self.compare(f"from {form}", f"{source} ! mimidec {model} ! {floats}", audio)

    def check_length(self, what, text, samples):
        name = f"{self.shape.name}: pipeline {what}"
        try:
            got = len(self.launch_to(text, "length")) // 4
            self.shape.report.check(name, None if got == samples else f"{got} samples of {samples}", f"{got} samples")
        except ProcessFailed as error:
            self.shape.report.check(name, str(error))


def check(shape):
    pipelines = Pipelines(shape)
    if not pipelines.has("mimienc"):
        shape.report.check(f"{shape.name}: pipelines", "gst-inspect-1.0 finds no mimienc in the build")
        return
    pipelines.prepare()
    pipelines.check_all()

# SPDX-License-Identifier: MIT
"""Runs the reference's server as it is, on the CPU and without the network, and records what passes through it.

    reference_server.py MODEL PORT RECORD [--rounded K...]

MODEL is a directory as the core takes it. RECORD, an existing folder, gets files of raw numbers for each conversation
K = 1, 2, ... as it goes on: K.codes (int16, what it heard: [frame, codebook]), K.tokens (int32, what it said: [frame,
1 + codebook]) and K.audio (f32 samples, before Opus).

The server's own source is not touched. What it finds around it differs in four ways: its model is greedy and computes
in f32 (the server would take bf16, which rounds every step), waiting for a CUDA device returns at once, and in the
conversations of --rounded what comes out of its Opus decoder is rounded to 16 bits, as GStreamer's decoder does it.
"""

import argparse
import json
import os
import runpy
import sys
import tempfile

import numpy as np
import sphn
import torch
from moshi.models import LMGen, MimiModel, loaders

FILES = ("moshi_name", "mimi_name", "mimi_config_name", "tokenizer_name")


class Recorder:
    """Files of one conversation after the other: each begins when the language model is reset."""

    def __init__(self, folder):
        self.folder, self.number = folder, 0

    def write(self, kind, tensor, dtype):
        if self.number:  # before, the server warms up
            with open(os.path.join(self.folder, f"{self.number}.{kind}"), "ab") as file:
                file.write(tensor.numpy().astype(dtype).tobytes())

    def next(self):
        self.number += 1


def recorded(method, after):
    """The method; then `after` is called with its result."""

    def call(self, *arguments, **named):
        result = method(self, *arguments, **named)
        after(result)
        return result

    return call


def record(recorder):
    LMGen.reset_streaming = recorded(LMGen.reset_streaming, lambda _: recorder.next())
    MimiModel.encode = recorded(MimiModel.encode, lambda codes: recorder.write("codes", codes[0].T, "<i2"))
    MimiModel.decode = recorded(MimiModel.decode, lambda audio: recorder.write("audio", audio[0, 0], "<f4"))

    def on_tokens(tokens):
        if tokens is not None:
            recorder.write("tokens", tokens[0].T, "<i4")

    LMGen.step = recorded(LMGen.step, on_tokens)


def in_f32(load):
    def get_moshi(self, *arguments, **named):
        return load(self, *arguments, **{**named, "dtype": torch.float32})

    return get_moshi


def rounding_reader(recorder, numbers, original=sphn.OpusStreamReader):
    class Reader:
        def __init__(self, rate):
            self.reader = original(rate)

        def append_bytes(self, data):
            pcm = self.reader.append_bytes(data)
            if recorder.number not in numbers:
                return pcm
            return (np.clip(np.rint(pcm * 32768), -32768, 32767) / 32768).astype(np.float32)

    return Reader


def config_of(model):
    """The model's config, greedy, and with names of files that lead to the directory instead of a repository."""
    with open(os.path.join(model, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    for name in FILES:
        config[name] = "file://" + os.path.join(os.path.abspath(model), config[name])
    config["lm_gen_config"] = {**config.get("lm_gen_config", {}), "use_sampling": False}
    return config


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("port", type=int)
    parser.add_argument("record")
    parser.add_argument("--rounded", type=int, nargs="*", default=[])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.cuda.synchronize = lambda *_: None
    loaders.CheckpointInfo.get_moshi = in_f32(loaders.CheckpointInfo.get_moshi)
    recorder = Recorder(arguments.record)
    record(recorder)
    sphn.OpusStreamReader = rounding_reader(recorder, arguments.rounded)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as config:
        json.dump(config_of(arguments.model), config)
        config.flush()
        sys.argv = ["moshi.server", "--host", "127.0.0.1", "--port", str(arguments.port), "--device", "cpu"]
        sys.argv += ["--static", "none", "--config-path", config.name]
        runpy.run_module("moshi.server", run_name="__main__")


if __name__ == "__main__":
    main()

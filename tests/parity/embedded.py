# SPDX-License-Identifier: MIT
"""The models that come with the core, as they are in the build: no file is made, and no pipeline names them."""

import json
import os

import numpy as np

import compare
import configs
import lm_compare
import runs as run_maker
from lm_shape import LmShape
from pipelines import Pipelines, write_wav
from processes import ProcessFailed
from shape import Shape
from speech import speech

PIPELINE_FRAMES = 125


def folder_of(processes):
    build = os.path.dirname(os.path.dirname(processes.library))
    return os.path.join(build, "models", "embedded")


def read_json(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8") as file:
        return json.load(file)


def codec_config(folder):
    return read_json(folder, read_json(folder, "config.json")["mimi_config_name"])


class EmbeddedCodec(Shape):
    diversity = (0.1, 0.5)  # a trained codec writes every pause alike

    def __init__(self, folder, processes, report, seed):
        files = folder_of(processes)
        super().__init__("embedded", folder, processes, report, seed, codec_config(files))
        self.model, self.property = files, ""

    def make_model(self, _rng):
        pass


class EmbeddedLm(LmShape):
    # Its words come from steep gates behind large attention scores: the reference's own logits move by up to 4e-4 when
    # each of its parameters is changed by one part in 10 million, which is how f32 rounds.
    logit_error = 2e-3
    bf16_error = 0.4

    def __init__(self, folder, processes, report, seed):
        files = folder_of(processes)
        super().__init__("embedded", folder, processes, report, seed, None, read_json(files, "config.json"))
        self.model, self.property = files, ""

    def make_model(self):
        pass

    def make_runs(self, rng):
        """As for the others, but what it hears in the long run is speech, as the embedded codec writes it."""
        runs = super().make_runs(rng)
        steps, _, streams = runs["long"]["user"].shape
        config = codec_config(self.model)
        size = configs.frame_samples(config)
        audio = speech((steps + 1) * size / config["sample_rate"], config["sample_rate"], rng, kind="recorded")
        run = run_maker.single(run_maker.frames_of(audio, config)[:steps], [streams])
        np.savez(self.path("speech"), **run)
        np.savez(self.path("speech", "ref"), codes=np.zeros((steps, 1, streams), np.int64))
        self.processes.core(self.model, "codes", ["lockstep:" + self.path("speech")])
        runs["long"]["user"] = self.load("speech", "lockstep.codes")["codes"].astype(np.int32)
        return runs

    def check_reference(self):
        """Its text says no more than whether it hears speech, so that only its codes must vary."""
        tokens, active = self.references["long"]["sampled"][:, :, 1:], self.runs["long"]["exec"]
        monotony = lm_compare.monotony(tokens, active, [self.config["card"]] * self.config["dep_q"])
        self.report.check(f"{self.title}: codes are diverse", monotony, f"{len(active)} steps")

    def check_sampled(self):
        """It is sure of what it repeats: draws that are not the likeliest are rare by design."""


def check_pipeline(shape):
    """mimienc without a model against the reference: the codes of all codebooks."""
    pipeline = Pipelines(shape)
    codebooks = shape.config["quantizer"]["n_q"]
    audio = shape.runs["long"]["pcm"][:PIPELINE_FRAMES, 0].reshape(-1)
    write_wav(pipeline.path("long.wav"), audio, shape.config["sample_rate"])
    name = f"{shape.name}: pipeline without a model against the reference"
    try:
        wav = f"filesrc location={pipeline.path('long.wav')} ! wavparse"
        data = pipeline.launch_to(f"{wav} ! mimienc codebooks={codebooks}", "long")
    except ProcessFailed as error:
        shape.report.check(name, str(error))
        return
    ours = np.frombuffer(data, "<u2").reshape(-1, 1, codebooks)
    if len(ours) != PIPELINE_FRAMES:
        problem = f"{len(ours)} frames of {PIPELINE_FRAMES}"
    else:
        latent = shape.load("long", "lockstep.base")["latent"][:PIPELINE_FRAMES]
        active = shape.runs["long"]["exec"][:PIPELINE_FRAMES]
        found = compare.compare_codes(shape.quantizer, ours, latent, shape.references["long"], active)
        shape.codes.add(found)
        problem = found.wrong[0] if found.wrong else None
    shape.report.check(name, problem, f"{ours.size} codes")


SHAPES = {"embedded": EmbeddedCodec, "lm-embedded": EmbeddedLm}

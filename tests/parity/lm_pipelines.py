# SPDX-License-Identifier: MIT
"""moshilm in a pipeline against the reference's tool for files: user codes in, own codes and token ids to files."""

import json

import numpy as np

import lm_compare
import lm_configs
import lm_runs
from launch import Launcher, difference
from processes import ProcessFailed

FRAMES = 60
AFTER = 20  # frames that a translation is followed beyond the end of its input
ATTEMPTS = 10


def expected_run(config, codes):
    """The reference's steps on `codes` [frame, stream]: the first frame twice, and at the end, since the element drains
    what the tool leaves, steps on no codes. A translation hears the initial token at the end, then goes on."""
    delay = max(1, lm_configs.max_delay(config))
    after = AFTER if config.get("model_type") == "hibiki" else 0
    run = lm_runs.run_of({**config, "conditioners": {}}, len(codes) + delay + after, 1, np.random.default_rng(0))
    conditions = [{"name": "description", "text": lm_configs.GOOD}] if "conditioners" in config else []
    run["options"] = np.array(json.dumps({"conditions": [conditions]}))
    run["user"][:] = -1
    run["user"][0, 0] = codes[0]
    run["user"][1 : 1 + len(codes), 0] = codes
    if after:
        run["user"][1 + len(codes), 0] = config["card"]
    return run, delay, len(codes) + after


class LmPipelines(Launcher):
    def prepare(self):
        """User codes, and what the reference makes of them. A pipeline cannot be led past a token whose two likeliest
        values are too near to tell apart, so that codes are drawn until there is none."""
        rng = np.random.default_rng(self.shape.seed + 1)
        for _ in range(ATTEMPTS):
            if self.draw(rng) >= lm_compare.GAP:
                return

    def draw(self, rng):
        """Draws codes and runs the reference; the least gap between the two likeliest values of any of its tokens."""
        self.codes = rng.integers(0, self.config["card"], (FRAMES, lm_configs.user_streams(self.config)))
        with open(self.path("user.bin"), "wb") as file:
            file.write(self.codes.astype("<u2").tobytes())
        run, delay, frames = expected_run(self.config, self.codes)
        np.savez(self.path("pipeline.in.npz"), **run)
        self.shape.processes.lm_reference(self.shape.model, [self.path("pipeline.in.npz")])
        with np.load(self.path("pipeline.ref.npz")) as result:
            first = delay if lm_configs.max_delay(self.config) else 1  # without delays the first step's is discarded
            self.tokens = result["tokens"][first : first + frames, 0]
            return min(lm_compare.least_gap(result[name]) for name in ("text_logits", "audio_logits"))

    def source(self):
        caps = (f"audio/x-mimi,rate=24000,channels=1,framerate=25/2,codebooks={self.codes.shape[1]},"
                f"cardinality={self.config['card']},stream-format=codes,framed=false")
        return f"filesrc blocksize=1000 location={self.path('user.bin')} ! {caps} ! mimiparse"

    def compare(self, what, ours, expected):
        if self.config.get("model_type") == "hibiki":  # goes on until it says that it is done
            ours = ours[: len(expected)]
        problem = difference(ours, expected, "value", "reference")
        self.shape.report.check(f"{self.shape.title}: pipeline {what}", problem, f"{len(ours)} values")

    def check(self):
        lm = f"moshilm name=lm {self.shape.property} sampling=false"
        if self.config.get("model_type") == "hibiki":
            lm += f" conditions=conditions,description=(string){lm_configs.GOOD} eos-max-duration=4000000000"
        codes, ids = self.path("own.bin"), self.path("ids.bin")
        own = f"lm.src ! filesink location={codes}"
        text = f"lm.text_src ! application/x-moshi-tokens ! filesink location={ids}"
        try:
            if self.config["dep_q"]:
                first, second = self.launch(f"{self.source()} ! {lm} {own} {text}", "own.bin", "ids.bin")
                expected = self.tokens[:, 1:].reshape(-1)
                self.compare("own codes", np.frombuffer(first, "<u2").astype(np.int32), expected)
            else:
                (second,) = self.launch(f"{self.source()} ! {lm} {text}", "ids.bin")
            self.compare("token ids", np.frombuffer(second, "<i4"), self.tokens[:, 0])
        except (ProcessFailed, FileNotFoundError) as error:
            self.shape.report.check(f"{self.shape.title}: pipeline", str(error))


def check(shape):
    pipelines = LmPipelines(shape)
    if not pipelines.has("moshilm"):
        shape.report.check(f"{shape.title}: pipelines", "gst-inspect-1.0 finds no moshilm in the build")
        return
    pipelines.prepare()
    pipelines.check()

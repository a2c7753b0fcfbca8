# SPDX-License-Identifier: MIT
"""All checks on one language model: makes it and its runs, lets the reference and the core perform them, compares."""

import json
import os

import numpy as np

import compare
import lm_compare
import lm_configs
import lm_runs
from processes import ProcessFailed
from shape import FLAGS, KERNELS, cpu_flags

RESULTS = ("tokens", "sampled", "text_logits", "audio_logits", "extra_heads")
PRECISION_BF16 = 2
# Where the reference itself is asked whether its results depend on every tensor, and on which runs; and tensors that
# it has but does not use.
SENSITIVITY = {"tts": ["hooks", "guided"], "cross": ["hooks", "guided"], "odd": ["hooks"]}
UNUSED = {"tts": ("depformer_text_emb.low_rank.weight",)}


class LmShape:
    logit_error = lm_compare.LOGITS  # the most that logits may be off
    bf16_error = lm_compare.BF16  # likewise where all is rounded to bf16

    def __init__(self, name, folder, processes, report, seed, corpus, config=None):
        self.name, self.config = name, config or lm_configs.CONFIGS[name]
        self.title = f"lm-{name}"
        self.folder = os.path.join(folder, self.title)
        self.model = os.path.join(self.folder, "model")
        self.property = f"model={self.model}"  # of an element, as gst-launch-1.0 takes it
        self.processes, self.report, self.seed = processes, report, seed
        self.corpus = corpus if name == "moshi" else None
        self.tokens = compare.Codes()
        self.runs, self.references = {}, {}
        os.makedirs(self.folder)

    def path(self, run, kind="in"):
        return os.path.join(self.folder, f"{run}.{kind}.npz")

    def load(self, run, kind):
        with np.load(self.path(run, kind)) as data:
            return dict(data)

    def work(self, **modes):
        return [f"{mode}:{self.path(run)}" for mode, names in modes.items() for run in names]

    def make_model(self):
        self.processes.make_lm(self.model, self.name, self.seed % 2**31, self.corpus)

    def make_runs(self, rng):
        return lm_runs.make_runs(self.config, rng)

    def prepare(self):
        self.make_model()
        rng = np.random.default_rng(self.seed)
        self.runs = self.make_runs(rng)
        for name, run in self.runs.items():
            np.savez(self.path(name), **run)
        self.processes.lm_reference(self.model, [self.path(name) for name in self.runs])
        self.references = {name: self.load(name, "ref") for name in self.runs}
        self.runs["sampled"] = lm_runs.sampled_run(self.config, rng)  # the core's alone
        np.savez(self.path("sampled"), **self.runs["sampled"])

    def check_reference(self):
        """That the reference's results can show defects: diverse tokens, and inputs that matter."""
        long, active = self.references["long"], self.runs["long"]["exec"]
        cardinalities = [lm_configs.text_logits(self.config)] + [self.config["card"]] * self.config["dep_q"]
        monotony = lm_compare.monotony(long["sampled"], active, cardinalities)
        distinct = [len(np.unique(long["sampled"][:, 0, stream])) for stream in (0, -1)]
        self.report.check(f"{self.title}: tokens are diverse", monotony,
                          f"{distinct[0]} and {distinct[1]} distinct in {len(active)} steps")
        if self.name in SENSITIVITY:
            names = self.processes.lm_sensitivity(self.model, [self.path(name) for name in SENSITIVITY[self.name]])
            missed = [name for name in names if name not in UNUSED.get(self.name, ())]
            self.report.check(f"{self.title}: a change of any tensor is noticed", ", ".join(missed[:5]))

    def check_draws(self):
        """Sampling against probabilities, and pieces of text."""
        try:
            text = self.processes.lm_core(self.model, "draws", [], script="lm_draws.py", seed=self.seed % 1000)
        except ProcessFailed as error:
            self.report.check(f"{self.title}: core (draws)", str(error))
            return
        for name, problem, detail in json.loads(text.strip().splitlines()[-1]):
            self.report.check(f"{self.title}: {name}", problem, detail)

    def settings(self):
        """Every setting of the core as a process of its own: its options and its work."""
        streamed = [name for name, run in self.runs.items() if not run["whole"] and name != "sampled"]
        whole = [name for name, run in self.runs.items() if run["whole"]]
        ways = ["batch", "sampled"]
        settings = {
            "base": ({}, self.work(greedy=[*streamed, "sampled"], teacher=["long", "batch", *whole])),
            "ways": ({}, self.work(grouped=[*ways, "hooks", "guided-masked"], alone=ways, crowd=ways,
                                   forked=[*ways, "hooks", "guided-notext"])),
            "threads2": ({"threads": 2}, self.work(lockstep=["batch"], grouped=["guided-masked"])),
            "bf16": ({"precision": PRECISION_BF16}, self.work(teacher=["hooks"], alone=["batch"], lockstep=["batch"])),
        }
        for kernels in KERNELS:
            if FLAGS[kernels] <= cpu_flags():
                settings[kernels] = ({"kernels": kernels}, self.work(lockstep=["batch", "sampled"]))
            else:
                self.report.skip(f"{self.title}: {kernels} kernels", "this machine does not have these instructions")
        if self.config.get("lora"):
            settings["separate"] = ({"lora_separate": 1}, self.work(greedy=["hooks", "batch"], grouped=["batch"]))
        return settings

    def run_core(self):
        """Returns the settings that could not run, with why."""
        failed = {}
        for output, (options, work) in self.settings().items():
            try:
                self.processes.lm_core(self.model, output, work, seed=self.seed % 1000, **options)
            except ProcessFailed as error:
                failed[output] = str(error)
                self.report.check(f"{self.title}: core ({output})", str(error))
        return failed

    def compare_tokens(self, run, output):
        """The result of a greedy run: every token the reference's, but for those that are excused."""
        ours, theirs, active = self.load(run, f"greedy.{output}"), self.references[run], self.runs[run]["exec"]
        wrong = [str(sentence) for sentence in ours["wrong"]]
        if not wrong:
            for name in ("sampled", "tokens"):
                problem = compare.same_bits(ours[name], theirs[name], active)
                wrong += [f"{name} {problem}"] if problem else []
        compared = int(active.sum()) * theirs["sampled"].shape[2]
        self.tokens.compared += compared
        self.tokens.excused += len(ours["excused"])
        self.report.check(f"{self.title}: {run} ({output}) tokens", "; ".join(wrong[:2]),
                          f"{compared} compared, {len(ours['excused'])} excused")
        return not wrong

    def compare_logits(self, run, kind, limit=None, error=lm_compare.logit_error):
        limit = limit or self.logit_error
        ours, theirs, active = self.load(run, kind), self.references[run], self.runs[run]["exec"]
        errors = {name: error(ours[f"{name}_logits"], theirs[f"{name}_logits"], active) for name in ("text", "audio")}
        if self.config.get("extra_heads_num_heads") and not self.runs[run]["whole"]:
            errors["extra heads"] = lm_compare.probability_error(ours["extra_heads"], theirs["extra_heads"], active)
        worst = max(errors.values())
        numbers = ", ".join(f"{name} {error:.1e}" for name, error in errors.items())
        self.report.check(f"{self.title}: {run} ({kind}) logits",
                          None if worst <= limit else f"{numbers}, at most {limit:.0e}", numbers)

    def compare_bits(self, run, kind, base="greedy.base"):
        """Another way through the core against another result of it: bit for bit."""
        ours, expected, active = self.load(run, kind), self.load(run, base), self.runs[run]["exec"]
        problems, steps = [], 0
        for key in RESULTS:
            value = ours[key]
            if not value.size:
                continue
            mask = active[: len(value), : value.shape[1]]
            steps = int(mask.sum())
            problem = compare.same_bits(value, expected[key][: len(value), : value.shape[1]], mask)
            problems += [f"{key} {problem}"] if problem else []
        self.report.check(f"{self.title}: {run} ({kind}) has the same bits", "; ".join(problems), f"{steps} steps")

    def compare_all(self, failed):
        if "base" in failed:
            return
        for run in self.references:
            if self.runs[run]["whole"]:
                self.compare_logits(run, "teacher.base")
            elif self.compare_tokens(run, "base"):
                self.compare_logits(run, "greedy.base")
        for run in ("long", "batch"):
            self.compare_logits(run, "teacher.base")
        for run in self.runs:
            for output in ("ways", "threads2", *KERNELS):
                for mode in ("grouped", "alone", "crowd", "forked", "lockstep"):
                    if output not in failed and os.path.exists(self.path(run, f"{mode}.{output}")):
                        self.compare_bits(run, f"{mode}.{output}")
        if "bf16" not in failed:
            self.compare_logits("hooks", "teacher.bf16", self.bf16_error, lm_compare.rounding_error)
            self.compare_bits("batch", "alone.bf16", "lockstep.bf16")
        if "separate" not in failed and self.config.get("lora"):
            for run in ("hooks", "batch"):
                if self.compare_tokens(run, "separate"):
                    self.compare_logits(run, "greedy.separate")
            self.compare_bits("batch", "grouped.separate", "greedy.separate")
        for kernels in KERNELS:
            if kernels not in failed and os.path.exists(self.path("batch", f"lockstep.{kernels}")):
                used = str(self.load("batch", f"lockstep.{kernels}")["kernels"])
                self.report.check(f"{self.title}: MOSHI_KERNELS={kernels} is obeyed",
                                  None if used == kernels else f"{used} was used")
        self.check_sampled()

    def check_sampled(self):
        """That sampled tokens are no greedy ones, and that rows with other seeds draw other tokens."""
        result, active = self.load("sampled", "greedy.base"), self.runs["sampled"]["exec"]
        text = result["sampled"][:, :, 0]
        likely = result["text_logits"].argmax(axis=2)
        share = float((text == likely)[active].mean())
        self.report.check(f"{self.title}: sampling draws", None if share < 0.9 else f"{share:.0%} are the most likely",
                          f"{share:.0%} are the most likely")

# SPDX-License-Identifier: MIT
"""All checks on one model shape: makes a model and runs, lets the reference and the core perform them, compares."""

import json
import os

import numpy as np

import compare
import configs
import runs as run_maker
from processes import ProcessFailed
from speech import speech
from weights import Quantizer

KERNELS = ("avx512", "avx2", "portable")
FLAGS = {"avx512": {"avx512f", "avx512dq", "avx512vl", "avx512bw"}, "avx2": {"avx2", "fma"}, "portable": set()}
CALIBRATION = 20  # seconds of speech that a model is scaled to
# Frames: of the long run, and of the runs under each kernel path. Portable code on the default shape is slow.
LONG = {"default": 125 + 750, "late": 1000}
LONG_SMALL = 500
KERNEL_FRAMES = {("default", "portable"): 4}


def cpu_flags():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("flags"):
                return set(line.split(":", 1)[1].split())
    return set()


class Shape:
    diversity = (compare.DISTINCT, compare.COMMONEST)  # of the codes, for monotony()

    def __init__(self, name, folder, processes, report, seed, config=None):
        self.name, self.config = name, config or configs.CONFIGS[name]
        self.folder = os.path.join(folder, name)
        self.model = os.path.join(self.folder, "model")
        self.property = f"model={self.model}"  # of an element, as gst-launch-1.0 takes it
        self.processes, self.report, self.seed = processes, report, seed
        self.codes = compare.Codes()
        self.runs, self.references = {}, {}
        self.quantizer = None
        os.makedirs(self.folder)

    def path(self, run, kind="in"):
        return os.path.join(self.folder, f"{run}.{kind}.npz")

    def make_model(self, rng):
        """The reference makes the model's numbers."""
        rate, size = self.config["sample_rate"], configs.frame_samples(self.config)
        audio = speech(CALIBRATION, rate, rng)
        np.save(os.path.join(self.folder, "calibration.npy"), audio[: len(audio) // size * size])
        file = None
        if self.name != "default":
            file = os.path.join(self.folder, "shape.json")
            with open(file, "w", encoding="utf-8") as out:
                json.dump(self.config, out)
        self.processes.make_model(self.model, file, os.path.join(self.folder, "calibration.npy"), self.seed % 2**31)

    def prepare(self):
        """The model and the inputs of all runs."""
        rng = np.random.default_rng(self.seed)
        self.make_model(rng)
        rate = self.config["sample_rate"]
        frames = LONG.get(self.name, LONG_SMALL)
        seconds = (frames + 60) / self.config["frame_rate"]
        audio = run_maker.frames_of(speech(seconds, rate, rng), self.config)
        self.runs = run_maker.make_runs(self.name, self.config, audio, rng, frames)
        for name, run in self.runs.items():
            np.savez(self.path(name), **run)
        self.quantizer = Quantizer(os.path.join(self.model, "mimi.safetensors"))

    def run_reference(self, names):
        self.processes.reference(self.model, [self.path(name) for name in names])

    def load(self, run, kind):
        with np.load(self.path(run, kind)) as data:
            return dict(data)

    def check_reference(self):
        """That the reference's results can show defects: diverse codes, real audio, and a ring that matters."""
        self.references = {name: self.load(name, "ref") for name in self.runs}
        check, ring = self.report.check, configs.ring_frames(self.config)
        reference, active = self.references["long"], self.runs["long"]["exec"]
        monotony = compare.monotony(reference["codes"], active, self.config["quantizer"]["bins"], *self.diversity)
        distinct = [len(np.unique(reference["codes"][:, 0, level])) for level in (0, -1)]
        check(f"{self.name}: codes are diverse", monotony,
              f"{distinct[0]} and {distinct[1]} distinct in {len(active)} frames")
        audio = reference[f"audio_{reference['codes'].shape[2]}"]
        level = float(audio.std())
        check(f"{self.name}: audio is not silence", None if 0.02 < level < 1 else f"deviation {level}", f"{level:.3f}")
        few = self.references["few"]
        least = float(np.abs(few["audio_1"] - few[f"audio_{max(self.runs['few']['decode'])}"]).max())
        check(f"{self.name}: codebooks change the audio", None if least > 0.01 else f"by {least} only")
        whole = self.references["whole"]["latent"]
        if configs.whole_frames(self.config, len(whole)) == len(whole):
            return
        beyond = slice(ring, len(whole))
        change = compare.latent_error(whole[beyond], reference["latent"][beyond], active[beyond])
        check(f"{self.name}: the ring changes latents after frame {ring}",
              None if change > 20 * compare.LATENT else f"by {change:.1e} only", f"by {change:.1e}")

    def work(self, **modes):
        return [f"{mode}:{self.path(run)}" for mode, names in modes.items() for run in names]

    def run_core(self):
        """Every setting of the core as a process of its own. Returns the settings that could not run, with why."""
        default = self.name == "default"
        settings = {
            "base": ({}, self.work(lockstep=self.runs, grouped=["few", "batch3"] if default else ["long", "batch3"],
                                   alone=["batch3"], crowd=["long"], forked=["few"])),
            "threads2": ({"threads": 2}, self.work(lockstep=["batch8"], grouped=["few"])),
        }
        for kernels in KERNELS:
            if FLAGS[kernels] <= cpu_flags():
                frames = KERNEL_FRAMES.get((self.name, kernels))
                settings[kernels] = ({"kernels": kernels, "frames": frames}, self.work(lockstep=["few", "batch3"]))
            else:
                self.report.skip(f"{self.name}: {kernels} kernels", "this machine does not have these instructions")
        settings["torch"] = ({"backend": 2, "frames": 60}, self.work(lockstep=["few", "batch3"]))
        failed = {}
        for output, (options, work) in settings.items():
            try:
                self.processes.core(self.model, output, work, seed=self.seed % 1000, **options)
            except ProcessFailed as error:
                failed[output] = str(error)
        return failed

    def compare_with_reference(self, run, output):
        """A lockstep result of the core against the reference, within the limits of parity."""
        ours, theirs = self.load(run, f"lockstep.{output}"), self.references[run]
        steps = len(ours["codes"])
        if self.runs[run]["whole"]:
            steps = configs.whole_frames(self.config, steps)
        active = self.runs[run]["exec"][:steps]
        title = f"{self.name}: {run} ({output})"
        found = compare.compare_codes(self.quantizer, ours["codes"][:steps], ours["latent"], theirs, active)
        self.codes.add(found)
        self.report.check(f"{title} codes", f"{len(found.wrong)} wrong; {found.wrong[0]}" if found.wrong else None,
                          f"{found.compared} compared, {found.excused} excused")
        error = compare.latent_error(ours["latent"][:steps], theirs["latent"][:steps], active)
        self.report.check(f"{title} latents", _over(error, compare.LATENT), f"{error:.1e}")
        for count in self.runs[run]["decode"]:
            latent, audio = f"declat_{count}", f"audio_{count}"
            error = compare.latent_error(ours[latent][:steps], theirs[latent][:steps], active)
            self.report.check(f"{title} decoded latents of {count}", _over(error, compare.LATENT), f"{error:.1e}")
            error = compare.audio_error(ours[audio][:steps], theirs[audio][:steps], active)
            self.report.check(f"{title} audio of {count}", _over(error, compare.AUDIO), f"{error:.1e}")

    def compare_bits(self, run, mode, output):
        """Another way through the core against the lockstep result of one thread: bit for bit."""
        ours, base = self.load(run, f"{mode}.{output}"), self.load(run, "lockstep.base")
        active = self.runs[run]["exec"]
        problems, frames = [], 0
        for key, value in ours.items():
            if key in ("kernels", "threads"):
                continue
            expected, mask = base.get(key), active
            if key.startswith("codes_row"):
                row = int(key.removeprefix("codes_row"))
                expected, mask = base["codes"][:, [row], : value.shape[2]], active[:, [row]]
            if expected is None:
                problems.append(f"{key} has no counterpart")
                continue
            rows = value.shape[1]
            frames = max(frames, int(active[: len(value), : max(rows, ours["latent"].shape[1])].sum()))
            problem = compare.same_bits(value, expected[: len(value), :rows], mask[: len(value), :rows])
            if problem:
                problems.append(f"{key} {problem}")
        name = f"{self.name}: {run} {mode} ({output}) has the same bits"
        self.report.check(name, "; ".join(problems), f"{frames} frames, {len(ours) - 2} results")

    def compare_all(self, failed):
        for output, reason in failed.items():
            if output == "torch" and "NOT_SUPPORTED" in reason:
                self.report.skip(f"{self.name}: LibTorch operators", "this core does not have them")
            else:
                self.report.check(f"{self.name}: core ({output})", reason)
        if "base" in failed:
            return
        for run in self.runs:
            self.compare_with_reference(run, "base")
        bits = [("few", "forked", "base"), ("batch3", "grouped", "base"), ("batch3", "alone", "base"),
                ("long", "crowd", "base"), ("few" if self.name == "default" else "long", "grouped", "base")]
        bits += [("batch8", "lockstep", "threads2"), ("few", "grouped", "threads2")]
        for kernels in KERNELS:
            bits += [(run, "lockstep", kernels) for run in ("few", "batch3")]
        for run, mode, output in bits:
            if output not in failed and os.path.exists(self.path(run, f"{mode}.{output}")):
                self.compare_bits(run, mode, output)
        self.check_settings(failed)
        if "torch" not in failed:
            self.compare_with_reference("few", "torch")
            self.compare_with_reference("batch3", "torch")

    def check_settings(self, failed):
        """That each process had the setting that it was asked for; else the comparison above says nothing."""
        for kernels in KERNELS:
            if kernels not in failed and os.path.exists(self.path("few", f"lockstep.{kernels}")):
                used = str(self.load("few", f"lockstep.{kernels}")["kernels"])
                self.report.check(f"{self.name}: MOSHI_KERNELS={kernels} is obeyed",
                                  None if used == kernels else f"{used} was used")
        if "threads2" not in failed:
            used = int(self.load("few", "grouped.threads2")["threads"])
            self.report.check(f"{self.name}: two threads", None if used == 2 else f"{used} were used")


def _over(error, limit):
    return f"{error:.1e} is above {limit:.0e}" if not error <= limit else None

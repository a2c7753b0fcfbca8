# SPDX-License-Identifier: MIT
"""Runs the reference on the runs that run.py laid out, and writes its results.

Together with oracle_checkpoint.py the only part that imports the reference; no process that loads the core may do so.

A run (`NAME.in.npz`): pcm [step, row, sample], exec [step, row] (rows that take part), reset [step, row] (rows that
start anew before the step), decode (list of codebook counts), whole (bool: all steps in one call, nothing streaming).
A result (`NAME.ref.npz`): codes [step, row, codebook], latent [step, row, channel] before quantization, residual
[step, row, codebook, channel] as each codebook saw it, and for each count K in `decode` audio_K [step, row, sample]
and declat_K [step, row, channel]. Entries of rows that did not take part mean nothing.
"""

import argparse
import json
import os

import numpy as np
import torch
from moshi.models.loaders import get_mimi


class Recorder:
    """Keeps what the quantizer was given: the latent and each codebook's residual."""

    def __init__(self, model):
        self.latent = None
        self.residuals = []
        self._encode = model.quantizer.encode
        model.quantizer.encode = self.encode
        for branch in (model.quantizer.rvq_first, model.quantizer.rvq_rest):
            for layer in branch.vq.layers:
                self._watch(layer._codebook)

    def _watch(self, book):
        quantize = book._quantize

        def recording(x):
            self.residuals.append(x.clone())
            return quantize(x)

        book._quantize = recording

    def encode(self, latent):
        self.latent = latent.clone()
        self.residuals = []
        return self._encode(latent)

    def take(self, rows, frames):
        """latent [frame, row, channel] and residual [frame, row, codebook, channel] of the last call."""
        latent = self.latent.permute(2, 0, 1).numpy()
        residual = torch.stack(self.residuals, dim=1)  # [row * frame, codebook, channel]
        residual = residual.view(rows, frames, *residual.shape[1:]).transpose(0, 1).numpy()
        return latent, residual


def load(directory):
    with open(os.path.join(directory, "config.json"), encoding="utf-8") as file:
        names = json.load(file)
    config = None
    if "mimi_config_name" in names:
        with open(os.path.join(directory, names["mimi_config_name"]), encoding="utf-8") as file:
            config = json.load(file)
    codebooks = config["quantizer"]["n_q"] if config else 32
    return get_mimi(os.path.join(directory, names["mimi_name"]), config, num_codebooks=codebooks)


def encode_streaming(model, recorder, run):
    pcm, active, reset = torch.from_numpy(run["pcm"]), torch.from_numpy(run["exec"]), torch.from_numpy(run["reset"])
    steps, rows, _ = pcm.shape
    codes, latents, residuals = [], [], []
    with model.streaming(rows):
        for step in range(steps):
            if reset[step].any():
                model.reset_streaming(reset[step])
            model.set_exec_mask(active[step])
            codes.append(model.encode(pcm[step].unsqueeze(1)).squeeze(2).numpy().astype(np.int64))
            latent, residual = recorder.take(rows, 1)
            latents.append(latent[0])
            residuals.append(residual[0])
    return {"codes": np.stack(codes), "latent": np.stack(latents), "residual": np.stack(residuals)}


def decode_streaming(model, run, codes, count):
    active, reset = torch.from_numpy(run["exec"]), torch.from_numpy(run["reset"])
    steps, rows = active.shape
    tokens = torch.from_numpy(codes[:, :, :count])
    audio, latents = [], []
    with model.streaming(rows):
        for step in range(steps):
            if reset[step].any():
                model.reset_streaming(reset[step])
            model.set_exec_mask(active[step])
            frame = tokens[step].unsqueeze(2)
            audio.append(model.decode(frame).squeeze(1).numpy())
            latents.append(model.decode_latent(frame).squeeze(2).numpy())
    return {f"audio_{count}": np.stack(audio), f"declat_{count}": np.stack(latents)}


def run_whole(model, recorder, run):
    pcm = torch.from_numpy(run["pcm"])
    steps, rows, samples = pcm.shape
    codes = model.encode(pcm.transpose(0, 1).reshape(rows, 1, steps * samples))
    latent, residual = recorder.take(rows, steps)
    result = {"codes": codes.permute(2, 0, 1).numpy(), "latent": latent, "residual": residual}
    for count in run["decode"]:
        part = codes[:, :count]
        audio = model.decode(part).view(rows, steps, samples).transpose(0, 1)
        result[f"audio_{count}"] = audio.numpy()
        result[f"declat_{count}"] = model.decode_latent(part).permute(2, 0, 1).numpy()
    return result


@torch.no_grad()
def perform(model, recorder, run):
    if run["whole"]:
        return run_whole(model, recorder, run)
    result = encode_streaming(model, recorder, run)
    for count in run["decode"]:
        result.update(decode_streaming(model, run, result["codes"], int(count)))
    return result


@torch.no_grad()
def check_prefix(model, pcm):
    """Whether the reference's codes for fewer codebooks are a prefix of those for all, which the tests rely on."""
    everything = model.encode(pcm)
    for count in (1, min(8, everything.shape[1])):
        model.set_num_codebooks(count)
        part = model.encode(pcm)
        if not torch.equal(part, everything[:, :count]):
            raise SystemExit(f"the reference's codes for {count} codebooks are no prefix of those for all")
    model.set_num_codebooks(everything.shape[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="model directory")
    parser.add_argument("runs", nargs="+", help="NAME.in.npz files; results go beside them")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = load(arguments.model)
    first = np.load(arguments.runs[0])["pcm"]
    check_prefix(model, torch.from_numpy(first[:4, 0]).reshape(1, 1, -1))
    recorder = Recorder(model)
    for path in arguments.runs:
        with np.load(path) as run:
            result = perform(model, recorder, dict(run))
        np.savez(path.replace(".in.npz", ".ref.npz"), **result)


if __name__ == "__main__":
    main()

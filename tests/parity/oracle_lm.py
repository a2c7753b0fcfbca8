# SPDX-License-Identifier: MIT
"""Runs the reference's language model on the runs that run.py laid out, and writes its results.

A run (`NAME.in.npz`), see lm_runs.py: user [step, row, user stream], exec and reset [step, row], forced_text
[step, row] and forced_audio [step, row, own stream] (GENERATE: whatever is most likely), text_only [step], bias
[text logits] and `options`, a JSON text: cfg_coef, cfg_no_text, cfg_masked_until (one number a row) and conditions (for each row a list,
tensors by the name of their array). `whole`: all steps in one call of the training pass, nothing streaming.
A result (`NAME.ref.npz`): tokens (undelayed) and sampled [step, row, 1 + own stream], text_logits [step, row, token]
before the bias, audio_logits [step, row, own stream, code], extra_heads [step, row, head, class].
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np
import torch
from moshi.conditioners import ConditionAttributes, TensorCondition
from moshi.models import LMGen, lm, loaders

import lm_configs

GENERATE = -(2**31)


def load(directory, fuse_lora=False):
    with open(os.path.join(directory, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    arguments = {key: value for key, value in config.items() if key not in lm_configs.OTHER_KEYS}
    arguments.pop("quantize", None)
    adapter = Path(directory, config["lora_name"]) if config.get("lora") else None
    weights = Path(directory, "oracle.safetensors")
    if not weights.exists():
        weights = Path(directory, config["moshi_name"])
    info = loaders.CheckpointInfo(weights, Path(), Path(), arguments,
                                  model_type=config.get("model_type", "moshi"), lora_weights=adapter)
    return info.get_moshi(dtype=torch.float32, fuse_lora=fuse_lora)


class Sampler:
    """In the place of the reference's sampling: the most likely token or the forced one, and a record of the logits."""

    def __init__(self):
        self.forced, self.logits, self.tokens = [], [], []
        lm.sample_token = self

    def begin(self, forced):
        """`forced`: [stream, row] of the next step, text first."""
        self.forced, self.logits, self.tokens = list(forced), [], []

    def __call__(self, logits, *_):
        forced = torch.from_numpy(self.forced.pop(0)).view(-1, 1, 1)
        token = torch.where(forced == GENERATE, logits.argmax(dim=-1), forced)
        self.logits.append(logits[:, 0, 0].numpy().copy())
        self.tokens.append(token[:, 0, 0].numpy().copy())
        return token


def attributes(model, row, run, negative):
    """What the reference takes as the conditions of one row; those that are not named are absent."""
    named = {item["name"]: item for item in row if bool(item.get("negative")) == negative}
    text, tensors = {}, {}
    for name in model.condition_provider.text_conditions:
        text[name] = named.get(name, {}).get("text")
    for name in model.condition_provider.tensor_conditions:
        item = named.get(name)
        if item is None:
            raise SystemExit(f"the reference has no absent tensor: {name}")
        tensors[name] = TensorCondition(torch.from_numpy(run[item["tensor"]])[None],
                                        torch.from_numpy(run[item["mask"]])[None])
    return ConditionAttributes(text=text, tensor=tensors)


def conditions_of(model, options, run):
    if model.condition_provider is None:
        return None
    rows = options["conditions"]
    given = [attributes(model, row, run, False) for row in rows]
    if options.get("cfg_coef", 1.0) != 1.0:
        given += [attributes(model, row, run, True) for row in rows]
    return model.condition_provider.prepare_and_provide(given)


def generator_of(model, options, run, recorded):
    def on_text_logits(logits):
        recorded.append(logits[:, 0, 0].numpy().copy())
        logits += torch.from_numpy(run["bias"])

    return LMGen(model, use_sampling=False, cfg_coef=options.get("cfg_coef", 1.0),
                 condition_tensors=conditions_of(model, options, run), on_text_logits_hook=on_text_logits,
                 support_out_of_sync=True, cfg_is_masked_until=options.get("cfg_masked_until"),
                 cfg_is_no_text=options.get("cfg_no_text", False))


class Results:
    def __init__(self, model, steps, rows):
        own, card, text = model.dep_q, model.card, model.text_linear.out_features
        heads = len(model.extra_heads)
        width = model.extra_heads[0].out_features if heads else 0
        self.arrays = {
            "tokens": np.full((steps, rows, 1 + own), GENERATE, np.int32),
            "sampled": np.full((steps, rows, 1 + own), -1, np.int32),
            "text_logits": np.zeros((steps, rows, text), np.float32),
            "audio_logits": np.zeros((steps, rows, own, card), np.float32),
            "extra_heads": np.zeros((steps, rows, heads, width), np.float32),
        }

    def put(self, step, **values):
        for name, value in values.items():
            self.arrays[name][step] = value


def stream(model, sampler, run):
    options = json.loads(str(run["options"]))
    steps, rows = run["exec"].shape
    own, results, recorded = model.dep_q, Results(model, steps, rows), []
    generator = generator_of(model, options, run, recorded)
    with generator.streaming(rows):
        for step in range(steps):
            if run["reset"][step].any():
                generator.reset_streaming(torch.from_numpy(run["reset"][step]))
            generator.set_exec_mask(torch.from_numpy(run["exec"][step]))
            forced = np.concatenate([run["forced_text"][step][None], run["forced_audio"][step].T]).astype(np.int64)
            sampler.begin(forced)
            recorded.clear()
            replaced = None
            if run["text_only"][step] and own:  # forced tokens hold here too, as if an audio hook wrote them
                tokens = run["forced_audio"][step].astype(np.int64)
                replaced = torch.from_numpy(np.where(tokens == GENERATE, -1, tokens))[:, :, None]
            tokens, hidden = generator._step(torch.from_numpy(run["user"][step].astype(np.int64))[:, :, None], replaced)
            results.put(step, tokens=tokens[:, :, 0].numpy(), text_logits=recorded[0])
            results.arrays["sampled"][step, :, : len(sampler.tokens)] = np.stack(sampler.tokens, axis=1)
            if replaced is not None:
                results.arrays["sampled"][step, :, 1:] = replaced[:, :, 0].numpy()
            if len(sampler.logits) > 1:
                results.put(step, audio_logits=np.stack(sampler.logits[1:], axis=1))
            if len(model.extra_heads):
                heads = [torch.softmax(head(hidden), dim=-1)[:rows, 0] for head in model.extra_heads]
                results.put(step, extra_heads=torch.stack(heads, dim=1).numpy())
    return results.arrays


def whole(model, run):
    """The training pass over all steps of one conversation whose tokens are all forced. Logits alone mean something,
    and only where the pass has them: it puts each at the frame that it is about, this at the step that made it."""
    options = json.loads(str(run["options"]))
    steps, delays, own = len(run["exec"]), model.delays, model.dep_q
    # Step s makes a token of each stream: that of frame s - delay. A user code given at step s is frame s - 1.
    columns = np.concatenate([run["forced_text"][:, :1], run["forced_audio"][:, 0]], axis=1).T.astype(np.int64)
    codes = np.full((1 + model.n_q, steps), -1, np.int64)
    for k in range(1 + model.n_q):
        if k <= own:
            line = columns[k][delays[k]:]
            codes[k, : len(line)] = line
        else:
            codes[k, : steps - 1] = run["user"][1:, 0, k - own - 1]
    output = model.forward(torch.from_numpy(codes)[None], conditions_of(model, options, run))
    results = Results(model, steps, 1)
    results.arrays["text_logits"][:, 0] = _delayed(output.text_logits[0, 0].numpy(), delays[0])
    for k in range(own):
        results.arrays["audio_logits"][:, 0, k] = _delayed(output.logits[0, k].numpy(), delays[1 + k])
    # Until then the pass gives the depth transformer initial tokens, a conversation those of its step.
    results.arrays["audio_logits"][: max(delays)] = np.nan
    results.arrays["sampled"][:, 0] = columns.T
    return results.arrays


def _delayed(logits, delay):
    """Logits of frames as those of steps; NaN where the pass has none."""
    moved = np.full_like(logits, np.nan)
    moved[delay:] = logits[: len(logits) - delay]
    return moved


@torch.no_grad()
def perform(model, sampler, run):
    return whole(model, run) if run["whole"] else stream(model, sampler, run)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="model directory")
    parser.add_argument("runs", nargs="+", help="NAME.in.npz files; results go beside them")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model, sampler = load(arguments.model), Sampler()
    for path in arguments.runs:
        with np.load(path) as run:
            result = perform(model, sampler, dict(run))
        np.savez(path.replace(".in.npz", ".ref.npz"), **result)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: MIT
"""The runs of a language model that the reference and the core both perform: user codes, masks, resets, forced
tokens, conditions and guidance of rows in a batch."""

import json

import numpy as np

from lm_configs import max_delay, text_logits, text_tokens, user_streams

GENERATE = -(2**31)
BEYOND = 1000  # steps after which a conversation is past its context


def _user(config, steps, rows, rng):
    """User codes; now and then none, and the initial token."""
    codes = rng.integers(0, config["card"], (steps, rows, user_streams(config)))
    special = rng.random(codes.shape)
    codes[special < 0.02] = -1
    codes[special > 0.98] = config["card"]
    return codes.astype(np.int32)


def run_of(config, steps, rows, rng, **options):
    return {
        "user": _user(config, steps, rows, rng),
        "exec": np.ones((steps, rows), bool),
        "reset": np.zeros((steps, rows), bool),
        "forced_text": np.full((steps, rows), GENERATE, np.int32),
        "forced_audio": np.full((steps, rows, config["dep_q"]), GENERATE, np.int32),
        "text_only": np.zeros(steps, bool),
        "bias": np.zeros(text_logits(config), np.float32),
        "whole": np.array(False),
        **conditions(config, rows, rng, options),
    }


def _condition(name, shape, rng, negative, absent=False):
    """One condition, and its arrays."""
    if shape["type"] == "lut":
        if absent:
            return {"name": name, "negative": negative}, {}
        values = shape["lut"].get("possible_values") or ["ok", "slow", "Grüße", "a rather long value"]
        return {"name": name, "text": values[rng.integers(len(values))], "negative": negative}, {}
    rows, columns = 7 + len(name), shape["tensor"]["dim"]
    mask = np.zeros(rows, bool) if absent else rng.random(rows) < 0.8
    tensor = rng.normal(0, 1, (rows, columns)).astype(np.float32)
    if absent:
        tensor[:] = 0
    key = f"{name}_{rng.integers(2**31)}"
    item = {"name": name, "tensor": key, "mask": key + "_mask", "negative": negative}
    return item, {key: tensor, key + "_mask": mask}


def conditions(config, rows, rng, options):
    """Conditions of every row, and with guidance what it leads away from: other values, or absence."""
    lists, arrays = [], {}
    guided = options.get("cfg_coef", 1.0) != 1.0
    for row in range(rows):
        items = []
        for name, shape in config.get("conditioners", {}).items():
            for negative in (False, True) if guided else (False,):
                item, more = _condition(name, shape, rng, negative, absent=(row % 2 == 0) == negative)
                if more or "text" in item or rng.random() < 0.5:  # what is not named is absent too
                    items.append(item)
                arrays |= more
        lists.append(items)
    return {"options": np.array(json.dumps(options | {"conditions": lists})), **arrays}


def _mask(run, rng, busy=0.7, resets=0.03):
    """Rows that take part in random steps, are reset at random, and join or leave in the middle."""
    steps, rows = run["exec"].shape
    run["exec"] = rng.random((steps, rows)) < busy
    run["reset"] = rng.random((steps, rows)) < resets
    for row in range(1, rows):
        first, last = sorted(rng.integers(0, steps, 2))
        run["exec"][:first, row] = False  # joins here, as a new conversation,
        run["reset"][first, row] = True
        if last - first > steps // 3:
            run["exec"][last:, row] = False  # leaves here
    run["exec"][:, 0] = rng.random(steps) < 0.9  # row 0 goes on to the end: its ring is full while others are reset
    run["reset"][:, 0] = False
    run["exec"][0, 0] = True
    return run


def _force(config, run, rng, share=1.0):
    """Tokens of the caller in the place of the model's; with a share below 1 now and then the zero token."""
    def choose(most, shape, zero):
        tokens = rng.integers(0, most, shape)
        tokens[rng.random(shape) >= share] = GENERATE
        if zero and share < 1:
            tokens[rng.random(shape) < 0.05] = -1
        return tokens.astype(np.int32)

    run["forced_text"] = choose(text_tokens(config), run["forced_text"].shape, True)
    run["forced_audio"] = choose(config["card"], run["forced_audio"].shape, True)
    return run


def _hooks(config, run, rng):
    """Forced tokens here and there, steps of text alone, a bias."""
    _force(config, run, rng, 0.3)
    run["text_only"] = rng.random(len(run["exec"])) < 0.2
    # Early, whatever is drawn: a text token of both streams, where there are two, which the depth transformer hears, too.
    run["forced_text"][4::9], run["text_only"][4::9] = text_tokens(config) // 2, False
    run["forced_text"][5::9] = 2  # end of stream: some models hear padding instead
    run["bias"] = rng.normal(0, 1, run["bias"].shape).astype(np.float32)
    return run


def make_runs(config, rng):
    """The runs of one shape by name."""
    context = config["context"]
    runs = {"long": run_of(config, context + BEYOND, 1, rng)}
    if not user_streams(config):  # nothing from outside: left alone, such a model repeats itself
        tokens = rng.integers(0, text_tokens(config), runs["long"]["forced_text"].shape)
        runs["long"]["forced_text"] = np.where(rng.random(tokens.shape) < 0.3, tokens, GENERATE).astype(np.int32)
    runs["batch"] = _mask(run_of(config, context + 60, 4, rng), rng)
    runs["hooks"] = _hooks(config, run_of(config, context + 40, 1, rng), rng)
    if config["dep_q"] > 1 and not config.get("depformer_norm", "").startswith("rms"):  # the pass cannot do these
        runs["whole"] = _force(config, run_of(config, context + 30, 1, rng), rng)
        runs["whole"]["whole"] = np.array(True)
        runs["whole"]["user"][runs["whole"]["user"] < 0] = 0
    guided = {"guided-notext": {"cfg_coef": 1.7, "cfg_no_text": True}}
    if "conditioners" in config:
        guided["guided"] = {"cfg_coef": 2.5}
    for key, options in guided.items():
        runs[key] = _mask(run_of(config, context + 20, 2, rng, **options), rng, busy=0.85)
    masked = {"cfg_coef": 0.6, "cfg_masked_until": [3, context // 2 + max_delay(config)]}
    runs["guided-masked"] = run_of(config, context + 10, 2, rng, **masked)
    return runs


def sampled_run(config, rng):
    """A run whose tokens are drawn: the reference draws others, but the core must always draw the same."""
    sampling = {"temperature": 1.1, "text_temperature": 1.3, "top_k": 40, "text_top_k": 0,
                "seed": int(rng.integers(2**31))}
    return _mask(run_of(config, config["context"] // 2 + 20, 3, rng, sampling=sampling), rng)

# SPDX-License-Identifier: MIT
"""Makes the language models' conformance vectors anew, with the oracle: make_lm_vectors.py BUILD_DIR [NAME...], in the
oracle's Python. As make_vectors.py: only when the generator of weights changes.
"""

import argparse
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch

import make_vectors
import vector_format as vf

sys.path.insert(0, os.path.join(vf.HERE, "..", "parity"))
import lm_compare  # noqa: E402
import lm_configs  # noqa: E402
import lm_runs  # noqa: E402
import oracle_lm  # noqa: E402

MODELS = {  # seed, configuration in tests/configs/lm, type of the weights, coefficient of guidance
    "lm-moshi": (20250711, "mid", "bf16", 1.0),
    "lm-stt": (20250712, "stt", "f32", 1.0),
    "lm-tts": (20250713, "tts", "bf16", 1.0),
    "lm-hibiki": (20250714, "hibiki", "f32", 2.5),
}
BEYOND = 30  # steps after the context is full
LOGITS = 4  # of each step and kind that are kept
ROWS = 5  # of a tensor condition


def make_model(build, name, directory):
    seed, config, dtype, _ = MODELS[name]
    path = os.path.join(vf.HERE, "..", "configs", "lm", config + ".json")
    command = [os.path.join(build, "lib", "moshi-random-lm"), "--seed", str(seed), "--dtype", dtype]
    subprocess.run(command + ["--config", path, "--output", directory], check=True, timeout=600,
                   stdout=subprocess.DEVNULL)
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def conditions_of(config, guided, rng):
    """Conditions as the file has them: tensors as whole numbers of 1/64."""
    listed = []
    for name, shape in config.get("conditioners", {}).items():
        for negative in (False, True) if guided else (False,):
            item = {"name": name, "negative": negative}
            if shape["type"] == "lut":
                values = shape["lut"]["possible_values"]
                item["text"] = values[0 if negative else len(values) - 1]
            else:
                item["tensor"] = rng.integers(-100, 101, (ROWS, shape["tensor"]["dim"])).tolist()
                item["mask"] = [1] * (ROWS - 1) + [0]
            listed.append(item)
    return listed


def run_of(config, conditions, coefficient, rng):
    """The conversation as the oracle's run. Without user streams, text is forced now and then."""
    run = lm_runs.run_of({**config, "conditioners": {}}, config["context"] + BEYOND, 1, rng)
    if not lm_configs.user_streams(config):
        tokens = rng.integers(0, lm_configs.text_tokens(config), run["forced_text"].shape)
        run["forced_text"] = np.where(rng.random(tokens.shape) < 0.3, tokens, lm_runs.GENERATE).astype(np.int32)
    items = []
    for number, condition in enumerate(conditions):
        item = dict(condition)
        if "tensor" in item:
            run[f"tensor{number}"] = np.array(item["tensor"], np.float32) / 64
            run[f"mask{number}"] = np.array(item["mask"], bool)
            item |= {"tensor": f"tensor{number}", "mask": f"mask{number}"}
        items.append(item)
    run["options"] = np.array(json.dumps({"cfg_coef": coefficient, "conditions": [items]}))
    return run


def check_gaps(name, run, result):
    """That no token is a matter of rounding: ten times farther from the next one than what may be excused."""
    for step in range(len(run["exec"])):
        rows = [] if run["forced_text"][step, 0] != lm_runs.GENERATE else [result["text_logits"][step, 0]]
        for logits in [*rows, *result["audio_logits"][step, 0]]:
            if lm_compare.gap(logits, int(np.argsort(logits)[-2])) < 10 * lm_compare.GAP:
                raise SystemExit(f"{name}: step {step} has two tokens that are nearly as likely; take another seed")


def describe(logits):
    """The greatest of each step and LOGITS others; `logits` [step, token]."""
    count = logits.shape[1]
    values = [[float(f"{row[(index * count // LOGITS + 7 * step) % count]:.7g}") for index in range(LOGITS)]
              for step, row in enumerate(logits)]
    return {"greatest": [float(f"{np.abs(row).max():.7g}") for row in logits], "values": values}


def make_vector(build, name):
    seed, _, dtype, coefficient = MODELS[name]
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as directory:
        config = make_model(build, name, directory)
        with open(os.path.join(directory, "config.json"), encoding="utf-8") as file:
            sha256 = vf.sha256_file(os.path.join(directory, json.load(file)["moshi_name"]))
        model = oracle_lm.load(directory)
    conditions = conditions_of(config, coefficient != 1, rng)
    run = run_of(config, conditions, coefficient, rng)
    result = oracle_lm.perform(model, oracle_lm.Sampler(), run)
    cardinalities = [lm_configs.text_logits(config)] + [config["card"]] * config["dep_q"]
    monotony = lm_compare.monotony(result["sampled"], run["exec"], cardinalities)
    if monotony:
        raise SystemExit(f"{name}: the model's tokens would hide defects: {monotony}")
    check_gaps(name, run, result)
    steps, own = len(run["exec"]), config["dep_q"]
    audio = [result["audio_logits"][step, 0, step % own] for step in range(steps)] if own else []
    return {
        "format": 1,
        "name": name,
        "reference": {package: importlib.metadata.version(package) for package in ("moshi", "torch")},
        "model": {"seed": seed, "dtype": dtype, "config": config, "sha256": sha256},
        "cfg_coef": coefficient,
        "conditions": conditions,
        "steps": steps,
        "user": run["user"][:, 0].tolist(),
        "forced_text": [None if token == lm_runs.GENERATE else int(token) for token in run["forced_text"][:, 0]],
        "sampled": result["sampled"][:, 0].tolist(),
        "text_logits": describe(result["text_logits"][:, 0]),
        "audio_logits": describe(np.stack(audio)) if own else {"greatest": [], "values": []},
        "extra_heads": [[float(f"{value:.6g}") for value in step.reshape(-1)] for step in result["extra_heads"][:, 0]],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.names or list(MODELS):
        vector = make_vector(os.path.abspath(arguments.build), name)
        make_vectors.write(vector)
        distinct = [len({step[stream] for step in vector["sampled"]}) for stream in (0, -1)]
        print(f"{name}: {vector['steps']} steps, {distinct} distinct tokens")


if __name__ == "__main__":
    main()

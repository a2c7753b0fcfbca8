# SPDX-License-Identifier: MIT
"""Makes the conformance vectors anew, with the oracle: make_vectors.py BUILD_DIR [NAME...], in the oracle's Python.

Run it only when the generator of weights changes; the vectors are what keeps the core where it is.
"""

import argparse
import glob
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch

import vector_format as vf

sys.path.insert(0, os.path.join(vf.HERE, "..", "parity"))
import compare  # noqa: E402
import configs  # noqa: E402
import oracle_mimi  # noqa: E402
import weights  # noqa: E402

SEEDS = {"default": 20250701, "small": 20250702}
FRAMES = 180
DECODED = {"default": [8, 32], "small": [1, 8, 32]}
GAINS = [1.0, -0.75, 0.5]


def make_model(build, name, config, directory):
    command = [os.path.join(build, "lib", "moshi-random-mimi"), "--seed", str(SEEDS[name])]
    if config is not None:
        path = os.path.join(directory, "shape.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(config, file)
        command += ["--config", path]
    subprocess.run(command + ["--output", os.path.join(directory, "model")], check=True, timeout=600)
    return glob.glob(os.path.join(directory, "model", "*.safetensors"))[0]


def ties_of(quantizer, result):
    """Codes whose margin is too small to be asked for: [frame, codebook, the other code]."""
    ties = []
    for frame, codes in enumerate(result["codes"][:, 0]):
        for level, code in enumerate(codes):
            distances = quantizer.distances(result["residual"][frame, 0, level], level)
            order = np.argsort(distances)[:2]
            if (distances[order[1]] - distances[order[0]]) / distances[order[0]] < compare.MARGIN:
                ties.append([frame, level, int(order[1] if order[0] == code else order[0])])
    return ties


def describe_audio(audio):
    offsets, distance = vf.offsets_of(audio)
    if distance < vf.AUDIO:
        raise SystemExit(f"no rounding keeps a distance of {vf.AUDIO} from every sample, only {distance}")
    spots = [[float(f"{value:.7g}") for value in frame[vf.spot_positions(index, audio.shape[1])]]
             for index, frame in enumerate(audio)]
    return {"sha256": vf.rounded_hash(audio, offsets), "offsets": offsets, "spots": spots}


def make_vector(build, name):
    config = None if name == "default" else configs.CONFIGS[name]
    full = configs.CONFIGS[name]
    speech = {"file": "speech.mulaw", "sha256": vf.sha256_file(os.path.join(vf.HERE, "speech.mulaw")), "gains": GAINS}
    pcm = vf.speech_frames(speech, configs.frame_samples(full), FRAMES)
    with tempfile.TemporaryDirectory() as directory:
        path = make_model(build, name, config, directory)
        sha256, quantizer = vf.sha256_file(path), weights.Quantizer(path)
        model = oracle_mimi.load(os.path.join(directory, "model"))
    active, most = np.ones((FRAMES, 1), bool), full["quantizer"]["n_q"]
    run = {"pcm": pcm[:, None], "exec": active, "reset": ~active, "decode": DECODED[name],
           "whole": np.array(False)}
    result = oracle_mimi.perform(model, oracle_mimi.Recorder(model), run)
    monotony = compare.monotony(result["codes"], active, full["quantizer"]["bins"])
    if monotony:
        raise SystemExit(f"{name}: the model's codes would hide defects: {monotony}")
    latent = result["latent"][:, 0]
    return {
        "format": 1,
        "name": name,
        "reference": {package: importlib.metadata.version(package) for package in ("moshi", "torch")},
        "model": {"seed": SEEDS[name], "config": config, "sha256": sha256},
        "speech": speech,
        "frames": FRAMES,
        "codebooks": most,
        "codes": result["codes"][:, 0].tolist(),
        "ties": ties_of(quantizer, result),
        "latent": {
            "values": [[float(f"{value:.8g}") for value in frame[vf.channel_positions(index, len(frame))]]
                       for index, frame in enumerate(latent)],
            "greatest": [float(f"{np.abs(frame).max():.8g}") for frame in latent],
        },
        "audio": {str(count): describe_audio(result[f"audio_{count}"][:, 0]) for count in run["decode"]},
    }


def as_text(value, indent=0):
    """JSON with one frame a line: a list of plain values is never broken."""
    inner = " " * (indent + 1)
    if isinstance(value, dict):
        parts = [f"{inner}{json.dumps(key)}: {as_text(item, indent + 1)}" for key, item in value.items()]
        return "{\n" + ",\n".join(parts) + "\n" + " " * indent + "}"
    if isinstance(value, list) and any(isinstance(item, (list, dict)) for item in value):
        return "[\n" + ",\n".join(inner + as_text(item, indent + 1) for item in value) + "\n" + " " * indent + "]"
    return json.dumps(value)


def write(vector):
    with open(os.path.join(vf.HERE, vector["name"] + ".json"), "w", encoding="utf-8") as file:
        file.write(as_text(vector) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build")
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.names or list(SEEDS):
        vector = make_vector(os.path.abspath(arguments.build), name)
        write(vector)
        distinct = [len({frame[level] for frame in vector["codes"]}) for level in (0, -1)]
        print(f"{name}: {vector['frames']} frames, {distinct} distinct codes, {len(vector['ties'])} ties")


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: MIT
"""The reference implementation's side of the language model's benchmark: PyTorch on CPU.

Arguments: MODEL_DIRECTORY [--threads N] [--precision f32|bf16] JOB..., with JOB = step:ROWS:CALLS. Output: see
bench.py. Its attention always covers the whole ring, so that a few steps warm it up.
"""
import bench  # first: its clock starts with the process

import argparse
import json
import os
import pathlib

parser = argparse.ArgumentParser()
parser.add_argument("model", type=pathlib.Path)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--precision", choices=("f32", "bf16"), default="f32")
parser.add_argument("--fill", type=int, help="not used here")
parser.add_argument("jobs", nargs="+")
args = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(args.threads)

import moshi  # noqa: E402
import torch  # noqa: E402
from moshi.models import loaders  # noqa: E402
from moshi.models.lm import LMGen  # noqa: E402

WARM_UP_STEPS = 3
# What the loader of a whole repository takes out of its configuration.
NOT_OF_THE_MODEL = ("moshi_name", "mimi_name", "tokenizer_name", "mimi_config_name", "lora_name", "model_type",
                    "lm_gen_config", "tts_config", "stt_config", "model_id")

torch.set_num_threads(args.threads)


def step_job(lm, name):
    _, rows, calls = name.split(":")
    generator = LMGen(lm, use_sampling=True)
    user = torch.randint(0, lm.card, (int(rows), lm.n_q - lm.dep_q, 1))
    with generator.streaming(int(rows)):
        bench.measure(name, int(calls), WARM_UP_STEPS, lambda: generator.step(user))


with torch.no_grad():
    config = json.loads((args.model / "config.json").read_text())
    for key in NOT_OF_THE_MODEL:
        config.pop(key, None)
    dtype = torch.bfloat16 if args.precision == "bf16" else torch.float32
    model = loaders.get_moshi_lm(args.model / "model.safetensors", lm_kwargs=config, device="cpu", dtype=dtype)
    bench.ready(f"moshi {moshi.__version__}, torch {torch.__version__.split('+')[0]}")
    for job in args.jobs:
        step_job(model, job)
bench.end()

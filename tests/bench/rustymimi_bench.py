# SPDX-License-Identifier: MIT
"""rustymimi's side of the benchmark. See bench.py."""
import bench  # first: its clock starts with the process

import os
from importlib.metadata import version

args = bench.arguments()
os.environ["RAYON_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(args.threads)

import numpy as np  # noqa: E402
import rustymimi  # noqa: E402

FRAME_SAMPLES, CARDINALITY = 1920, 2048
random = np.random.default_rng(1)


def codec_job(mimi, name, kind, rows, frames, calls):
    if rows > 1:  # its streaming calls take one stream
        return
    if kind == "encode":
        data = 0.1 * random.standard_normal((1, 1, frames * FRAME_SAMPLES), dtype=np.float32)
        call = mimi.encode_step if frames == 1 else mimi.encode
    else:
        data = random.integers(0, CARDINALITY, (1, args.codebooks, frames), dtype=np.uint32)
        call = mimi.decode_step if frames == 1 else mimi.decode
    mimi.reset()
    bench.measure(name, calls, min(5, calls) if frames == 1 else 0, lambda: call(data))


tokenizer = rustymimi.Tokenizer(args.model, num_codebooks=args.codebooks)
bench.ready(f"rustymimi {version('rustymimi')}")
for job in args.jobs:
    codec_job(tokenizer, *job)
bench.end()

# SPDX-License-Identifier: MIT
"""The reference implementation's side of the benchmark: PyTorch on CPU in float32. See bench.py."""
import bench  # first: its clock starts with the process

import os

args = bench.arguments()
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(args.threads)

import moshi  # noqa: E402
import torch  # noqa: E402
from moshi.models import loaders  # noqa: E402

torch.set_num_threads(args.threads)


def codec_job(mimi, name, kind, rows, frames, calls):
    if kind == "encode":
        data, call = 0.1 * torch.randn(rows, 1, frames * mimi.frame_size), mimi.encode
    else:
        data, call = torch.randint(0, mimi.cardinality, (rows, args.codebooks, frames)), mimi.decode
    if frames > 1:  # a whole file at once: the reference's own way to do that has no streaming state
        bench.measure(name, calls, 0, lambda: call(data))
        return
    with mimi.streaming(rows):  # its attention always covers the whole ring, so a few frames warm it up
        bench.measure(name, calls, min(5, calls), lambda: call(data))


with torch.no_grad():
    model = loaders.get_mimi(args.model, device="cpu", num_codebooks=args.codebooks)
    bench.ready(f"moshi {moshi.__version__}, torch {torch.__version__.split('+')[0]}")
    for job in args.jobs:
        codec_job(model, *job)
bench.end()

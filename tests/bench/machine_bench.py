# SPDX-License-Identifier: MIT
"""The arithmetic that the machine can do at best, measured with PyTorch's own sgemm. See bench.py."""
import argparse
import os
import statistics
import time

parser = argparse.ArgumentParser()
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--calls", type=int, default=7)
args = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(args.threads)

import torch  # noqa: E402

import bench  # noqa: E402

torch.set_num_threads(args.threads)
SIDE = 2048


def median_seconds(call):
    call()
    times = []
    for _ in range(args.calls):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


with torch.no_grad():
    a, b = torch.randn(SIDE, SIDE), torch.randn(SIDE, SIDE)
    gemm = median_seconds(lambda: torch.mm(a, b))
bench.say(gflops=round(2 * SIDE**3 / gemm / 1e9, 1))

# SPDX-License-Identifier: MIT
"""What the Python sides of the benchmark share: the protocol that codec_bench.cpp and lm_bench.cpp speak too.

Arguments: MODEL_FILE [--threads N] [--codebooks K] JOB..., with JOB = encode|decode:ROWS:FRAMES:CALLS.
Output, one JSON object a line:
  {"event": "ready", "load_ms": from the process's start until frames can be given, "what": versions}
  {"job": JOB, "ms": [time of each call]}       a job that the implementation cannot do gives no line
  {"event": "end", "peak_kb": the process's peak resident memory}
"""
import argparse
import json
import resource
import time

START = time.perf_counter()


def say(**fields):
    print(json.dumps(fields), flush=True)


def parse_job(text):
    kind, rows, frames, calls = text.split(":")
    if kind not in ("encode", "decode"):
        raise argparse.ArgumentTypeError(f"{text} is not encode|decode:ROWS:FRAMES:CALLS")
    return text, kind, int(rows), int(frames), int(calls)


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--codebooks", type=int, default=8)
    parser.add_argument("jobs", nargs="+", type=parse_job)
    return parser.parse_args()


def ready(what):
    say(event="ready", load_ms=round(1000 * (time.perf_counter() - START), 1), what=what)


def measure(name, calls, warm_up, call):
    for _ in range(warm_up):
        call()
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        call()
        times.append(round(1000 * (time.perf_counter() - start), 4))
    say(job=name, ms=times)


def end():
    say(event="end", peak_kb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

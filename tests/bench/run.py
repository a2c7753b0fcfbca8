#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the benchmark and writes the tables of docs/benchmarks.md. `make bench` calls it with the oracle's Python.

Every implementation runs in a process of its own, never two at once. A round runs each of them once for each number
of threads, in an order that rotates from round to round, so that a slow minute of the machine hits all alike; a figure
is the median over rounds of the median over calls.
"""
import argparse
import collections
import datetime
import glob
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

import report

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FILE_FRAMES = 200  # 16 s
# Rows, frames a call, calls. The slow ones get fewer calls: their own length averages.
SHAPES = [(1, 1, 60), (4, 1, 30), (16, 1, 12), (1, FILE_FRAMES, 2)]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--model", help="a model directory; default: a random model of the true size, seed 1")
    parser.add_argument("--threads", default="1,2", help="numbers of threads, default 1,2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--codebooks", type=int, default=8)
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the numbers of calls")
    parser.add_argument("--only", help="comma-separated: gst-moshi, reference, rustymimi")
    parser.add_argument("--output", default=str(ROOT / "docs" / "benchmarks.md"), help="'-' only prints")
    return parser.parse_args()


def random_model(build):
    """A random model of the published Mimi's size."""
    done = subprocess.run([ROOT / ".ci" / "random-mimi", build], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def weight_file(model):
    found = sorted(glob.glob(os.path.join(model, "*.safetensors")))
    mimi = [name for name in found if "mimi" in name.lower() or "tokenizer" in os.path.basename(name)] or found
    if not mimi:
        sys.exit(f"bench: there is no .safetensors file in {model}")
    return mimi[0]


def implementations(args, model, scratch):
    python, weights = sys.executable, weight_file(model)
    fused = os.path.join(scratch, "fused.safetensors")
    build = (ROOT / args.build).resolve()
    core = build / "lib" / "libmoshi-core.so"
    commands = {
        "gst-moshi": [build / "tests" / "bench" / "codec-bench", core, model],
        "reference": [python, HERE / "oracle_bench.py", weights],
        "rustymimi": [python, HERE / "rustymimi_bench.py", fused],
    }
    if args.only:
        commands = {name: commands[name] for name in args.only.split(",")}
    if "rustymimi" in commands:
        subprocess.run([python, HERE / "fused.py", weights, fused], check=True)
    return commands


def run_process(command, threads):
    """The JSON lines of a process, and the seconds from its start to the line of the first job."""
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads), HF_HUB_OFFLINE="1")
    start, first, lines = time.perf_counter(), None, []
    with subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True, env=environment) as process:
        for line in process.stdout:
            if not line.startswith("{"):
                continue
            fields = json.loads(line)
            if "job" in fields and first is None:
                first = time.perf_counter() - start
            lines.append(fields)
    if process.returncode != 0:
        print(f"bench: failed: {' '.join(map(str, command))}", file=sys.stderr)
    return lines, first


def machine_limits(build, threads):
    """What the machine can do at best: {"gflops": ..., "gbytes": ...}."""
    arithmetic, _ = run_process([sys.executable, HERE / "machine_bench.py", "--threads", threads], threads)
    memory, _ = run_process([build / "tests" / "bench" / "memory-bench", "--threads", threads], threads)
    return arithmetic[0] | memory[0]


def run_all(args, commands):
    """results[implementation, threads][job key] = list of medians in ms, plus what the process said of itself."""
    scale = lambda calls: max(1, round(calls * args.scale))  # noqa: E731
    jobs = [f"{kind}:{rows}:{frames}:{scale(calls)}" for rows, frames, calls in SHAPES for kind in ("encode", "decode")]
    results = collections.defaultdict(lambda: collections.defaultdict(list))
    machine = collections.defaultdict(list)
    names = list(commands)
    for turn in range(args.rounds):
        for threads in map(int, args.threads.split(",")):
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                print(f"round {turn + 1} of {args.rounds}, {threads} thread(s): {name}", file=sys.stderr)
                options = ["--threads", threads, "--codebooks", args.codebooks]
                lines, _ = run_process(commands[name] + options + jobs, threads)
                store(results[name, threads], lines)
                lines, first = run_process(commands[name] + options + ["encode:1:1:1", "decode:1:1:1"], threads)
                results[name, threads]["start_s"] += [first] if first else []
                results[name, threads]["peak_mb"] += [line["peak_kb"] / 1024 for line in lines if "peak_kb" in line]
            machine[threads].append(machine_limits((ROOT / args.build).resolve(), threads))
    return results, machine


def store(result, lines):
    for line in lines:
        if "job" in line:
            result[line["job"].rsplit(":", 1)[0]].append(statistics.median(line["ms"]))
        elif line.get("event") == "ready":
            result["what"] = line["what"]


def facts(args):
    """What a reader must know to compare: the machine, the day, the tree."""
    cpu = platform.processor() or "unknown CPU"
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    git = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return {
        "cpu": f"{cpu}, {os.cpu_count()} logical cores",
        "date": datetime.date.today().isoformat(),
        "commit": git.stdout.strip(),
        "command": "make bench" + (f" BENCH_ARGS='{' '.join(sys.argv[3:])}'" if len(sys.argv) > 3 else ""),
        "rounds": args.rounds,
        "codebooks": args.codebooks,
    }


def main():
    args = parse_arguments()
    model = args.model or random_model(args.build)
    with tempfile.TemporaryDirectory() as scratch:
        results, machine = run_all(args, implementations(args, model, scratch))
    text = report.tables(facts(args), results, machine, FILE_FRAMES)
    print(text)
    if args.output != "-":
        report.write(pathlib.Path(args.output), text)


if __name__ == "__main__":
    main()

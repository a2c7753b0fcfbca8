#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the language model's benchmark and writes its tables of docs/benchmarks.md. `make bench` calls it with the
oracle's Python.

As in run.py every implementation runs in a process of its own, never two at once, in rounds that take turns. Models
are random ones in bf16, of the shapes in lm/. `--models moshi-7b --threads 2 --precisions bf16 --conversations 1 --fill 20
--rounds 1` measures the full size; that needs 16 GB of disk and 20 GB of memory.
"""
import argparse
import collections
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

import lm_report
import report
import run

HERE = pathlib.Path(__file__).resolve().parent
CALLS = 40  # of one conversation; of more, as many fewer
PRECISIONS = ("f32", "bf16")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--models", default="moshi-300m,stt-1b", help="shapes of tests/bench/lm, comma-separated")
    parser.add_argument("--threads", default="1,2", help="numbers of threads, default 1,2")
    parser.add_argument("--conversations", default="1,4", help="numbers of conversations at once, default 1,4")
    parser.add_argument("--precisions", default=",".join(PRECISIONS))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the numbers of calls")
    parser.add_argument("--fill", type=int, help="steps before the measurement; default: until the ring is full")
    parser.add_argument("--only", help="comma-separated: gst-moshi, reference")
    parser.add_argument("--output", default=str(run.ROOT / "docs" / "benchmarks.md"), help="'-' only prints")
    return parser.parse_args()


def random_model(build, shape, scratch):
    model = pathlib.Path(scratch) / shape
    tool = build / "lib" / "moshi-random-lm"
    subprocess.run([tool, "--config", HERE / "lm" / f"{shape}.json", "--seed", "1", "--output", model], check=True,
                   stdout=subprocess.DEVNULL)
    return model


def step_bytes(model):
    """Bytes of weights that one step reads: all matrices but the embedding tables, of which it reads some rows."""
    with open(model / "model.safetensors", "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    total = 0
    for name, tensor in header.items():
        if name != "__metadata__" and not name.split(".")[0].endswith("emb"):
            total += tensor["data_offsets"][1] - tensor["data_offsets"][0]
    return total


def commands(args, build, model, precision):
    options = ["--precision", precision] + (["--fill", args.fill] if args.fill is not None else [])
    all_of_them = {
        "gst-moshi": [build / "tests" / "bench" / "lm-bench", build / "lib" / "libmoshi-core.so", model] + options,
        "reference": [sys.executable, HERE / "oracle_lm_bench.py", model] + options,
    }
    return {name: all_of_them[name] for name in (args.only.split(",") if args.only else all_of_them)}


def measure(args, build, model, results):
    rows = map(int, args.conversations.split(","))
    jobs = [f"step:{count}:{max(3, round(CALLS * args.scale / count))}" for count in rows]
    for turn in range(args.rounds):
        for threads in map(int, args.threads.split(",")):
            for precision in args.precisions.split(","):
                todo = commands(args, build, model, precision)
                names = list(todo)
                for name in names[turn % len(names):] + names[:turn % len(names)]:
                    print(f"{model.name}, round {turn + 1}, {threads} thread(s), {precision}: {name}", file=sys.stderr)
                    lines, _ = run.run_process(todo[name] + ["--threads", threads] + jobs, threads)
                    store(results[model.name, name, precision, threads], lines)


def store(result, lines):
    for line in lines:
        if "job" in line:
            result[line["job"].rsplit(":", 1)[0]].append(statistics.median(line["ms"]))
        elif line.get("event") == "ready":
            result["what"] = line["what"]
            result["load_s"].append(line["load_ms"] / 1000)
        elif line.get("event") == "end":
            result["peak_mb"].append(line["peak_kb"] / 1024)


def main():
    args = parse_arguments()
    build = (run.ROOT / args.build).resolve()
    results = collections.defaultdict(lambda: collections.defaultdict(list))
    machine = collections.defaultdict(list)
    sizes = {}
    for shape in args.models.split(","):
        with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as scratch:
            model = random_model(build, shape, scratch)
            sizes[shape] = step_bytes(model)
            measure(args, build, model, results)
    for threads in map(int, args.threads.split(",")):
        machine[threads].append(run.machine_limits(build, threads))
    facts = run.facts(argparse.Namespace(rounds=args.rounds, codebooks=0))
    text = lm_report.tables(facts, results, machine, sizes)
    print(text)
    if args.output != "-":
        report.write(pathlib.Path(args.output), text, lm_report.MARKS)


if __name__ == "__main__":
    main()

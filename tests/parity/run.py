# SPDX-License-Identifier: MIT
"""Compares the core with the reference, live: run.py BUILD_DIR ORACLE_PYTHON. The last line counts the checks.

Environment: MOSHI_PARITY_SEED (default: drawn and printed), MOSHI_PARITY_SHAPES (names, default: all),
MOSHI_PARITY_JOBS (shapes at a time, default 2), MOSHI_PARITY_KEEP (a folder to leave all files in).
"""

import argparse
import concurrent.futures
import glob
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

import abi_check
import compare
import configs
import embedded
import hub_client
import lm_configs
import lm_pipelines
import pipelines
import sensitivity
from lm_shape import LmShape
from processes import HERE, ProcessFailed, Processes
from report import Report
from shape import Shape
from speech import SpeechError


DRAWS = ("moshi", "stt", "lora")  # language models whose sampling is held against its probabilities
LM_PIPELINES = ("moshi", "stt", "hibiki", "odd", "int8", "embedded")


def check_rules(report, what, script):
    """That each rule can fail."""
    done = subprocess.run([sys.executable, os.path.join(HERE, script)], capture_output=True, timeout=120, check=False)
    report.check(f"each rule of the {what} can fail", done.stderr.decode()[-500:] if done.returncode else None)


def check_the_checks(report):
    """The comparison's own tests, and the layout of the C table as Python sees it."""
    check_rules(report, "comparison", "test_compare.py")
    wrong = abi_check.differences(os.path.join(HERE, "..", "..", "lib"))
    report.check("the C table's layout", "; ".join(wrong))


def check_random_models(report, processes):
    """The models of tests and demonstrations, whose layout the core defines itself, are ones of the reference's."""
    problem = None
    try:
        processes.lm_names(sorted(glob.glob(os.path.join(HERE, "..", "configs", "lm", "*.json"))))
    except ProcessFailed as error:
        problem = str(error)
    report.check("the reference loads random language models", problem)


def check_servers(report, build, oracle, seed, folder):
    """The conversations through servers, which need more packages than the reference's models do."""
    began = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)  # a kept one: its files would be written on
    os.makedirs(folder)
    try:
        import server_parity
    except ImportError as error:
        report.check("server", f"{error}: set PYTHONPATH to the folder of `.ci/setup --path oracle-server`")
        return
    check_rules(report, "servers' comparison", "test_server_compare.py")
    server_parity.check(report, build, oracle, seed, folder)
    print(f"     server: {time.monotonic() - began:.0f} s", flush=True)


def perform(shape):
    """Everything for one shape."""
    began = time.monotonic()
    shape.prepare()
    shape.run_reference(list(shape.runs))
    shape.check_reference()
    middle = time.monotonic()
    failed = shape.run_core()
    between = time.monotonic()
    shape.compare_all(failed)
    pipelines.check(shape)
    if shape.name == "embedded":
        embedded.check_pipeline(shape)
    if shape.name == "small":
        sensitivity.check(shape)
    print(f"     {shape.name}: oracle {middle - began:.0f} s, core {between - middle:.0f} s, "
          f"comparison and pipelines {time.monotonic() - between:.0f} s", flush=True)


def perform_lm(shape):
    """Everything for one language model."""
    began = time.monotonic()
    shape.prepare()
    shape.check_reference()
    middle = time.monotonic()
    failed = shape.run_core()
    between = time.monotonic()
    shape.compare_all(failed)
    if shape.name in DRAWS:
        shape.check_draws()
    if shape.name in LM_PIPELINES:
        lm_pipelines.check(shape)
    print(f"     {shape.title}: oracle {middle - began:.0f} s, core {between - middle:.0f} s, "
          f"comparison and pipelines {time.monotonic() - between:.0f} s", flush=True)


def guarded(shape):
    try:
        if isinstance(shape, LmShape):
            perform_lm(shape)
        else:
            perform(shape)
    except (ProcessFailed, SpeechError) as error:
        shape.report.check(f"{shape.name}: ran to its end", str(error))
    except Exception as error:  # a defect of the tests must count as a failure
        traceback.print_exc()
        shape.report.check(f"{shape.name}: ran to its end", repr(error))


def make_shape(name, folder, processes, report, seed):
    if name in embedded.SHAPES:
        return embedded.SHAPES[name](folder, processes, report, seed)
    if not name.startswith("lm-"):
        return Shape(name, folder, processes, report, seed)
    return LmShape(name.removeprefix("lm-"), folder, processes, report, seed, corpus(folder))


def corpus(folder):
    """A file of text to make a tokenizer from: this repository's pages and the licenses that Debian has."""
    path = os.path.join(folder, "corpus.txt")
    if not os.path.exists(path):
        pages = sorted(glob.glob(os.path.join(HERE, "..", "..", "docs", "*.md")))
        pages += sorted(glob.glob("/usr/share/common-licenses/*GPL-3"))
        with open(path, "w", encoding="utf-8") as out:
            for page in pages:
                with open(page, encoding="utf-8") as file:
                    out.write(file.read() + "\n")
            out.write("Grüße aus Köln, l’été à la plage, año nuevo, 東京で会いましょう.\n")
    return path


def check_excused(report, what, parts):
    total = compare.Codes()
    for part in parts:
        total.add(part)
    if not total.compared:
        return
    numbers = f"{total.excused} of {total.compared}, at most {total.allowed()}"
    report.check(f"excused {what}", numbers if total.excused > total.allowed() else None, numbers)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("oracle", help="a Python with torch and moshi")
    arguments = parser.parse_args()
    seed = int(os.environ.get("MOSHI_PARITY_SEED") or secrets.randbelow(2**31))
    print(f"MOSHI_PARITY_SEED={seed}", flush=True)
    everything = [*configs.CONFIGS, *(f"lm-{name}" for name in lm_configs.CONFIGS), *embedded.SHAPES]
    names = os.environ.get("MOSHI_PARITY_SHAPES", " ".join(["hub", "server", *everything])).split()
    jobs = int(os.environ.get("MOSHI_PARITY_JOBS", "2"))
    report = Report()
    check_the_checks(report)
    if "hub" in names:
        hub_client.check(report, os.path.abspath(arguments.build))
    keep = os.environ.get("MOSHI_PARITY_KEEP")
    folder = keep or tempfile.mkdtemp(prefix="moshi-parity-")
    os.makedirs(folder, exist_ok=True)
    try:
        if "server" in names:
            check_servers(report, os.path.abspath(arguments.build), arguments.oracle, seed, f"{folder}/servers")
        processes = Processes(os.path.abspath(arguments.build), arguments.oracle)
        if any(name.startswith("lm-") for name in names):
            check_random_models(report, processes)
        shapes = [make_shape(name, folder, processes, report, seed + everything.index(name))
                  for name in names if name not in ("hub", "server")]
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            list(pool.map(guarded, shapes))
        check_excused(report, "codes", [shape.codes for shape in shapes if isinstance(shape, Shape)])
        check_excused(report, "tokens", [shape.tokens for shape in shapes if isinstance(shape, LmShape)])
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    print(report.last_line())
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: MIT
"""Compares the core with the reference, live: run.py BUILD_DIR ORACLE_PYTHON. The last line counts the checks.

Environment: MOSHI_PARITY_SEED (default: drawn and printed), MOSHI_PARITY_SHAPES (names, default: all),
MOSHI_PARITY_JOBS (shapes at a time, default 2), MOSHI_PARITY_KEEP (a folder to leave all files in).
"""

import argparse
import concurrent.futures
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
import pipelines
import sensitivity
from processes import HERE, ProcessFailed, Processes
from report import Report
from shape import Shape
from speech import SpeechError


def check_the_checks(report):
    """The comparison's own tests, and the layout of the C table as Python sees it."""
    done = subprocess.run([sys.executable, os.path.join(HERE, "test_compare.py")], capture_output=True, timeout=120,
                          check=False)
    report.check("each rule of the comparison can fail", done.stderr.decode()[-500:] if done.returncode else None)
    wrong = abi_check.differences(os.path.join(HERE, "..", "..", "lib"))
    report.check("the C table's layout", "; ".join(wrong))


def perform(shape):
    """Everything for one shape."""
    began = time.monotonic()
    shape.make_model()
    shape.run_reference(list(shape.runs))
    shape.check_reference()
    middle = time.monotonic()
    failed = shape.run_core()
    between = time.monotonic()
    shape.compare_all(failed)
    pipelines.check(shape)
    if shape.name == "small":
        sensitivity.check(shape)
    print(f"     {shape.name}: oracle {middle - began:.0f} s, core {between - middle:.0f} s, "
          f"comparison and pipelines {time.monotonic() - between:.0f} s", flush=True)


def guarded(shape):
    try:
        perform(shape)
    except (ProcessFailed, SpeechError) as error:
        shape.report.check(f"{shape.name}: ran to its end", str(error))
    except Exception as error:  # a defect of the tests must count as a failure
        traceback.print_exc()
        shape.report.check(f"{shape.name}: ran to its end", repr(error))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build")
    parser.add_argument("oracle", help="a Python with torch and moshi")
    arguments = parser.parse_args()
    seed = int(os.environ.get("MOSHI_PARITY_SEED") or secrets.randbelow(2**31))
    print(f"MOSHI_PARITY_SEED={seed}", flush=True)
    names = os.environ.get("MOSHI_PARITY_SHAPES", " ".join(configs.CONFIGS)).split()
    jobs = int(os.environ.get("MOSHI_PARITY_JOBS", "2"))
    report = Report()
    check_the_checks(report)
    keep = os.environ.get("MOSHI_PARITY_KEEP")
    folder = keep or tempfile.mkdtemp(prefix="moshi-parity-")
    try:
        processes = Processes(os.path.abspath(arguments.build), arguments.oracle)
        shapes = [Shape(name, folder, processes, report, seed + i) for i, name in enumerate(names)]
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            list(pool.map(guarded, shapes))
        total = compare.Codes()
        for shape in shapes:
            total.add(shape.codes)
        many = total.excused > total.allowed()
        numbers = f"{total.excused} of {total.compared}, at most {total.allowed()}"
        report.check("excused codes", numbers if many else None, numbers)
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    print(report.last_line())
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())

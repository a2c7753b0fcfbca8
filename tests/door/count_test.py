# SPDX-License-Identifier: MIT
"""The counts at the end of `make test` are those of the cases inside the programs, and a failure cannot hide."""
import json
import subprocess

import door

HEAD, TAIL = '<?xml version="1.0"?><testsuites>', "</testsuites>"


def count(folder, runs, suites="", status=0):
    logs = folder / "meson-logs"
    logs.mkdir()
    lines = [json.dumps({"name": n, "result": r, "stdout": o}) for n, r, o in runs]
    (logs / "testlog.json").write_text("\n".join(lines) + "\n")
    (logs / "testlog.junit.xml").write_text(HEAD + suites + TAIL)
    done = subprocess.run([door.ROOT / ".ci" / "count", folder, str(status)], capture_output=True, text=True, check=False)
    return done.stdout.splitlines()[-1], done.returncode


def suite(name, *cases):
    return f'<testsuite name="{name}">' + "".join(f"<testcase {c}</testcase>" for c in cases) + "</testsuite>"


def cases_of_gtest(folder):
    both = suite("p.p:unit / a.X", 'status="run">', 'status="notrun">', 'status="run"><skipped/>') + suite(
        "p.p:unit / a.Y", 'status="run"><failure/>', 'status="run">')  # fmt: skip
    assert count(folder, [("p:unit / a", "FAIL", "")], both, 1) == ("2 passed, 1 failed, 1 skipped", 1)


def checks_of_libcheck(folder):
    runs = [("p:check / c", "FAIL", "80%: Checks: 5, Failures: 0, Errors: 1\n"), ("p / d", "OK", "")]
    assert count(folder, runs, status=1) == ("5 passed, 1 failed, 0 skipped", 1)


def all_well(folder):
    runs = [("p / a", "OK", ""), ("p / b", "SKIP", ""), ("p / c", "EXPECTEDFAIL", "")]
    assert count(folder, runs) == ("2 passed, 0 failed, 1 skipped", 0)


def crash_after_the_cases(folder):
    passed = suite("p.a.X", 'status="run">')
    assert count(folder, [("a", "FAIL", "")], passed, 1) == ("1 passed, 1 failed, 0 skipped", 1)


def names_that_begin_alike(folder):
    suites = suite("p.a.X", 'status="run">') + suite("p.ab.X", 'status="run">', 'status="run">')
    assert count(folder, [("a", "OK", ""), ("ab", "OK", "")], suites) == ("3 passed, 0 failed, 0 skipped", 0)


def time_out(folder):
    assert count(folder, [("a", "TIMEOUT", ""), ("b", "OK", "")], status=1) == ("1 passed, 1 failed, 0 skipped", 1)


def meson_failed_otherwise(folder):
    assert count(folder, [("a", "OK", "")], status=1) == ("1 passed, 0 failed, 0 skipped", 1)


def nothing_ran(folder):
    assert count(folder, []) == ("0 passed, 0 failed, 0 skipped", 1)


def only_skipped(folder):
    assert count(folder, [("a", "SKIP", "")]) == ("0 passed, 0 failed, 1 skipped", 1)


door.main([
    (function.__name__.replace("_", " "), function)
    for function in (cases_of_gtest, checks_of_libcheck, all_well, crash_after_the_cases, names_that_begin_alike, time_out,
                     meson_failed_otherwise, nothing_ran, only_skipped)
])  # fmt: skip

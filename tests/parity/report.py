# SPDX-License-Identifier: MIT
"""Counts and prints the outcome of checks. May be used from several threads."""

import threading


class Report:
    def __init__(self):
        self.passed, self.failed, self.skipped = 0, 0, 0
        self._lock = threading.Lock()

    def check(self, name, problem, detail=""):
        """`problem` is None or empty when the check holds, else a sentence. Returns whether it holds."""
        with self._lock:
            if problem:
                self.failed += 1
                print(f"FAIL {name}: {problem}", flush=True)
            else:
                self.passed += 1
                print(f"ok   {name}" + (f": {detail}" if detail else ""), flush=True)
        return not problem

    def skip(self, name, why):
        with self._lock:
            self.skipped += 1
            print(f"skip {name}: {why}", flush=True)

    def last_line(self):
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"

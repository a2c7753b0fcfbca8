# SPDX-License-Identifier: MIT
"""tool.py NAME ARGUMENTS...: runs a tool that only tests of the page need, or says in TAP that there is none. Its own
output is TAP, too, or else nothing while all is well."""
import shutil
import subprocess
import sys

PACKAGES = {"node": "nodejs", "tsc": "node-typescript"}

name, *arguments = sys.argv[1:]
program = shutil.which(name)
if not program:
    print(f"1..0 # SKIP there is no {name} (Debian: {PACKAGES[name]})")
    sys.exit(0)
done = subprocess.run([program, *arguments], stdout=subprocess.PIPE, text=True, errors="replace", check=False)
if done.stdout.startswith("TAP "):
    print(done.stdout, end="")
else:
    print("1..1")
    print("".join(f"# {line}\n" for line in done.stdout.splitlines()), end="")
    print(f"{'not ok' if done.returncode else 'ok'} 1 {name}")
sys.exit(done.returncode)

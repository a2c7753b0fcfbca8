# SPDX-License-Identifier: MIT
"""The processes of a parity run: the oracle's and the core's, never both in one."""

import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ORACLE_SECONDS = 900
CORE_SECONDS = 900


class ProcessFailed(RuntimeError):
    pass


def run(command, seconds, environment=None):
    """Runs to the end or raises ProcessFailed with the last lines that it wrote. Returns what it wrote."""
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ProcessFailed(f"{os.path.basename(command[1])} took longer than {seconds} s") from error
    text = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        tail = " | ".join(text.strip().splitlines()[-4:])
        raise ProcessFailed(f"{os.path.basename(command[1])} ended with {done.returncode}: {tail}")
    return text


class Processes:
    def __init__(self, build, oracle):
        self.library = os.path.join(build, "lib", "libmoshi-core.so")
        self.random_lm = os.path.join(build, "lib", "moshi-random-lm")
        self.oracle = oracle

    def _oracle(self, script, *arguments):
        environment = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NO_TORCH_COMPILE": "1"}
        return run([self.oracle, os.path.join(HERE, script), *arguments], ORACLE_SECONDS, environment)

    def make_model(self, directory, config_file, speech_file, seed):
        arguments = ["--speech", speech_file, "--seed", str(seed), "--output", directory]
        if config_file:
            arguments += ["--config", config_file]
        self._oracle("oracle_checkpoint.py", *arguments)

    def reference(self, model, runs):
        self._oracle("oracle_mimi.py", model, *runs)

    def core(self, model, output, work, threads=1, kernels=None, backend=0, frames=None, seed=0):
        """One process with one setting of the core; `work` is a list of MODE:NAME.in.npz."""
        command = [sys.executable, os.path.join(HERE, "core_run.py"), "--library", self.library, "--model", model]
        command += ["--threads", str(threads), "--backend", str(backend), "--seed", str(seed), "--output", output]
        if frames:
            command += ["--frames", str(frames)]
        environment = {"OMP_NUM_THREADS": "1"}
        if kernels:
            environment["MOSHI_KERNELS"] = kernels
        run(command + work, CORE_SECONDS, environment)

    def make_lm(self, directory, name, seed, corpus):
        arguments = ["--shape", name, "--seed", str(seed), "--output", directory]
        self._oracle("oracle_lm_checkpoint.py", *arguments, *(["--corpus", corpus] if corpus else []))

    def lm_names(self, configs):
        self._oracle("lm_names.py", self.random_lm, *configs)

    def lm_reference(self, model, runs):
        self._oracle("oracle_lm.py", model, *runs)

    def lm_sensitivity(self, model, runs):
        """Names of the tensors that the runs do not depend on."""
        return self._oracle("lm_sensitivity.py", model, *runs).split()

    def lm_core(self, model, output, work, script="lm_core_run.py", kernels=None, seed=0, **options):
        """One process with one setting of the core; `work` is a list of MODE:NAME.in.npz."""
        command = [sys.executable, os.path.join(HERE, script), "--library", self.library, "--model", model]
        command += ["--seed", str(seed), "--output", output]
        for name, value in options.items():
            command += ["--" + name.replace("_", "-"), str(value)]
        environment = {"OMP_NUM_THREADS": "1"}
        if kernels:
            environment["MOSHI_KERNELS"] = kernels
        return run(command + work, CORE_SECONDS, environment)

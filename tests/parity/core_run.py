# SPDX-License-Identifier: MIT
"""Performs the runs of run.py on the core and writes results in the reference's layout (see oracle_mimi.py).

One process is one setting of threads, backend and MOSHI_KERNELS, since these are fixed for a process. Each mode takes
another way through the core to the same result:

  lockstep  all rows of a step submitted together, one frame per call: the reference's batch
  grouped   rows next to each other, each in calls of 1 to 40 frames
  alone     one row at a time, one frame per call, fewer codebooks
  crowd     among a dozen other sessions of both classes
  forked    from a fork, and from a saved and loaded state, taken in mid-stream
  roundtrip as lockstep, but decodes its own codes, not the reference's
"""

import argparse

import numpy as np

import moshi_core

MOST_FRAMES = 40


class Row:
    """One row of a run as a session's calls: lists of steps, each with whether the stream starts anew before it."""

    def __init__(self, run, row, group):
        self.row, self.calls = row, []
        fresh = False
        for step in range(len(run["exec"])):
            fresh = fresh or bool(run["reset"][step, row])
            if not run["exec"][step, row]:
                continue
            if fresh or not self.calls or len(self.calls[-1][0]) >= self.calls[-1][2]:
                self.calls.append(([], fresh, group()))
            self.calls[-1][0].append(step)
            fresh = False


class Store:
    """Results of one direction, laid out as the reference's."""

    def __init__(self, run, codebooks, info, direction):
        steps, rows = run["exec"].shape
        width = codebooks if direction == "encode" else info.frame_samples
        dtype = np.uint16 if direction == "encode" else np.float32
        self.main = np.zeros((steps, rows, width), dtype)
        self.latent = np.zeros((steps, rows, info.latent_width), np.float32)

    def put(self, row, steps, arrays):
        self.main[steps, row] = arrays["codes_out"] if "codes_out" in arrays else arrays["pcm_out"]
        self.latent[steps, row] = arrays["latent_out"]


def renew(engine, session, rng):
    """The session as new, in one of the three ways that the core offers; and the flags of its next job."""
    way = rng.integers(3)
    if way == 0:
        session.reset()
    elif way == 1:
        session.close()
        return engine.session(), 0
    return session, moshi_core.JOB_RESET if way == 2 else 0


def submit(session, run, codes, count, row, steps, flags):
    if codes is None:
        return session.encode(run["pcm"][steps, row], count, flags)
    return session.decode(codes[steps, row, :count].astype(np.uint16), flags)


def rounds(rows, lockstep):
    """Which calls are submitted together: those of the same step, or the next call of every row."""
    if not lockstep:
        longest = max((len(row.calls) for row in rows), default=0)
        return [[(row, row.calls[i]) for row in rows if i < len(row.calls)] for i in range(longest)]
    by_step = {}
    for row in rows:
        for call in row.calls:
            by_step.setdefault(call[0][0], []).append((row, call))
    return [by_step[step] for step in sorted(by_step)]


def stream(engine, run, codes, count, rng, group=lambda: 1, lockstep=True, order=None):
    """Runs all rows in one direction; `codes` None encodes. Returns the Store."""
    rows = [Row(run, row, group) for row in range(run["exec"].shape[1])]
    rows = [rows[i] for i in order] if order is not None else rows
    store = Store(run, count, engine.info, "encode" if codes is None else "decode")
    sessions = {row.row: engine.session() for row in rows}
    for together in rounds(rows, lockstep):
        work = []
        for row, (steps, fresh, _) in together:
            flags = 0
            if fresh:
                sessions[row.row], flags = renew(engine, sessions[row.row], rng)
            work.append((row.row, steps, submit(sessions[row.row], run, codes, count, row.row, steps, flags)))
        for row, steps, job in work:
            store.put(row, steps, job.wait())
    for session in sessions.values():
        session.close()
    return store


def result_of(encoded, decoded):
    result = {"codes": encoded.main, "latent": encoded.latent}
    for count, store in decoded.items():
        result[f"audio_{count}"], result[f"declat_{count}"] = store.main, store.latent
    return result


def counts_of(run):
    return [int(count) for count in run["decode"]]


def lockstep(engine, run, codes, rng):
    encoded = stream(engine, run, None, codes.shape[2], rng)
    return result_of(encoded, {count: stream(engine, run, codes, count, rng) for count in counts_of(run)})


def grouped(engine, run, codes, rng):
    sizes = iter((MOST_FRAMES, 1))
    options = {"group": lambda: next(sizes, None) or int(rng.integers(1, MOST_FRAMES + 1)), "lockstep": False}
    order = rng.permutation(run["exec"].shape[1])
    encoded = stream(engine, run, None, codes.shape[2], rng, order=order, **options)
    decoded = {count: stream(engine, run, codes, count, rng, order=order, **options) for count in counts_of(run)}
    return result_of(encoded, decoded)


def single_row(run, row):
    return {**run, **{name: run[name][:, row : row + 1] for name in ("pcm", "exec", "reset")}}


def alone(engine, run, codes, rng):
    """Rows one after another; the number of codebooks asked for changes from row to row."""
    parts = []
    for row in range(run["exec"].shape[1]):
        count = (8, 1, codes.shape[2])[row % 3]
        encoded = stream(engine, single_row(run, row), None, min(count, codes.shape[2]), rng)
        most = counts_of(run)[-1]
        decoded = stream(engine, single_row(run, row), codes[:, row : row + 1], most, rng)
        parts.append((encoded, decoded))
    result = {f"audio_{most}": np.concatenate([decoded.main for _, decoded in parts], axis=1)}
    result["latent"] = np.concatenate([encoded.latent for encoded, _ in parts], axis=1)
    for row, (encoded, _) in enumerate(parts):
        result[f"codes_row{row}"] = encoded.main
    return result


def crowd(engine, run, codes, rng, frames=30):
    """The first frames of row 0 while a dozen other sessions keep the engine busy."""
    count, most, info = counts_of(run)[-1], codes.shape[2], engine.info
    run = {name: run[name][:frames, :1] for name in ("pcm", "exec", "reset")}
    noise = rng.normal(0, 0.3, (12, 3, info.frame_samples)).astype(np.float32)
    bad = rng.integers(0, info.cardinality, (12, 3, most)).astype(np.uint16)
    others = [engine.session(work_class=moshi_core.LIVE if i % 2 else moshi_core.FILE) for i in range(12)]
    encoded, decoded = Store(run, most, info, "encode"), Store(run, count, info, "decode")
    with engine.session() as session:
        for step in range(len(run["exec"])):
            work = [other.encode(noise[i, : 1 + i % 3], 1 + i % most) for i, other in enumerate(others)]
            encoding = session.encode(run["pcm"][[step], 0], most)
            work += [other.decode(bad[i, : 1 + i % 3]) for i, other in enumerate(others)]
            decoding = session.decode(codes[[step], 0, :count].astype(np.uint16))
            encoded.put(0, [step], encoding.wait())
            decoded.put(0, [step], decoding.wait())
            for job in work:
                job.wait()
    for other in others:
        other.close()
    return result_of(encoded, {count: decoded})


def forked(engine, run, codes, rng):
    """Row 0, moved to a fork and to a new session with the saved state, while the old session goes on elsewhere."""
    count, most, steps = counts_of(run)[-1], codes.shape[2], len(run["exec"])
    encoded, decoded = Store(run, most, engine.info, "encode"), Store(run, count, engine.info, "decode")
    marks = sorted(int(mark) for mark in rng.choice(np.arange(1, steps), 4, replace=False))
    session, start = engine.session(), 0
    for turn, end in enumerate(marks + [steps]):
        for step in range(start, end, 7):
            part = list(range(step, min(end, step + 7)))
            encoding = session.encode(run["pcm"][part, 0], most)
            decoding = session.decode(codes[part, 0, :count].astype(np.uint16))
            encoded.put(0, part, encoding.wait())
            decoded.put(0, part, decoding.wait())
        start, old = end, session
        session = old.fork() if turn % 2 == 0 else engine.session()
        if turn % 2:
            session.load(old.save())
        old.encode(run["pcm"][:2, 0], 1).wait()  # must not reach the copy
        old.decode(codes[:2, 0].astype(np.uint16)).wait()
        old.close()
    session.close()
    return result_of(encoded, {count: decoded})


def roundtrip(engine, run, codes, rng):
    """Encodes, and decodes what it encoded."""
    count = codes.shape[2]
    encoded = stream(engine, run, None, count, rng)
    return result_of(encoded, {count: stream(engine, run, encoded.main, count, rng)})


MODES = {"lockstep": lockstep, "grouped": grouped, "alone": alone, "crowd": crowd, "forked": forked,
         "roundtrip": roundtrip}


def shorten(run, frames):
    return {name: value[:frames] if name in ("pcm", "exec", "reset") else value for name, value in run.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--backend", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frames", type=int, help="only so many steps of each run")
    parser.add_argument("--output", required=True, help="suffix: NAME.in.npz gives NAME.MODE.OUTPUT.npz")
    parser.add_argument("work", nargs="+", help="MODE:NAME.in.npz")
    arguments = parser.parse_args()
    options = {"threads": arguments.threads, "backend": arguments.backend}
    with moshi_core.opened(arguments.library, arguments.model, **options) as engine:
        for item in arguments.work:
            mode, path = item.split(":", 1)
            with np.load(path) as loaded:
                run = shorten(dict(loaded), arguments.frames)
            with np.load(path.replace(".in.npz", ".ref.npz")) as reference:
                codes = reference["codes"][: len(run["exec"])]
            rng = np.random.default_rng([arguments.seed, len(item)])
            result = MODES[mode](engine, run, codes, rng)
            result["kernels"] = np.array(engine.info.kernels.decode())
            result["threads"] = np.array(engine.info.threads)
            np.savez(path.replace(".in.npz", f".{mode}.{arguments.output}.npz"), **result)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: MIT
"""Performs the runs of lm_runs.py on the core and writes results in the reference's layout (see oracle_lm.py).

One process is one setting of threads, precision and MOSHI_KERNELS. Each mode takes another way to the same result:

  greedy    all rows of a step submitted together, one step per call: the reference's batch. Where a token differs from
            the reference's and is excused, the reference's is forced and everything is run again
  teacher   every token is the reference's, forced; calls of 1 to 40 steps
  lockstep  as greedy, but with what greedy had to force, if anything
  grouped   rows next to each other, each in calls of 1 to 40 steps
  alone     one row at a time
  crowd     among other sessions of both classes
  forked    from forks, and from saved and loaded states, taken in mid-conversation
"""

import argparse
import json

import numpy as np

import lm_compare
import moshi_core
import moshi_lm

MOST_STEPS = 40
MOST_EXCUSED = 12
KEYS = {"tokens": "tokens_out", "sampled": "sampled_out", "text_logits": "text_logits_out",
        "audio_logits": "audio_logits_out", "extra_heads": "extra_heads_out"}


class Conversation:
    """How sessions of one row of a run are made: settings and conditions."""

    def __init__(self, engine, run, row):
        self.engine, self.options = engine, json.loads(str(run["options"]))
        self.row = row
        self.conditions = []
        for item in self.options["conditions"][row]:
            tensor = {key: run[item[key]] for key in ("tensor", "mask") if key in item}
            self.conditions.append({**item, **tensor})

    def open(self, work_class=moshi_core.FILE):
        session = moshi_lm.new_session(self.engine, work_class=work_class, seed=self.row)
        sampling = self.options.get("sampling")
        if sampling:
            session.set(**sampling | {"sampling": 1, "seed": sampling["seed"] + self.row})
        else:
            session.set(sampling=0)
        if self.options.get("cfg_coef", 1.0) != 1.0:
            until = self.options.get("cfg_masked_until")
            session.set(cfg_text=0 if self.options.get("cfg_no_text") else 1,
                        cfg_masked_until=until[self.row] if until else -1, cfg_coef=self.options["cfg_coef"])
        if self.conditions:
            session.set_conditions(self.conditions)
        return session

    def renew(self, session, rng):
        """The session as new, in one of the three ways that the core offers; and the flags of its next job."""
        way = rng.integers(3)
        if way == 0:
            session.reset()
        elif way == 1:
            session.close()
            return self.open(), 0
        return session, moshi_core.JOB_RESET if way == 2 else 0


def calls_of(run, row, group):
    """The row's calls: (steps, whether the conversation starts anew before them). Text-only steps go by themselves."""
    calls, fresh, size = [], False, 0
    for step in np.flatnonzero(run["exec"][:, row] | run["reset"][:, row]):
        fresh = fresh or bool(run["reset"][step, row])
        if not run["exec"][step, row]:
            continue
        new = fresh or not calls or len(calls[-1][0]) >= size
        if new or run["text_only"][calls[-1][0][-1]] != run["text_only"][step]:
            calls.append(([], fresh))
            size = group()
        calls[-1][0].append(int(step))
        fresh = False
    return calls


class Store:
    def __init__(self, run, info):
        steps, rows = run["exec"].shape
        shapes = {"tokens": (1 + info.own_streams,), "sampled": (1 + info.own_streams,),
                  "text_logits": (info.text_logits,), "audio_logits": (info.own_streams, info.cardinality),
                  "extra_heads": (info.extra_heads, info.extra_head_width)}
        self.arrays = {}
        for name, shape in shapes.items():
            dtype = np.int32 if name in ("tokens", "sampled") else np.float32
            self.arrays[name] = np.zeros((steps, rows, *shape), dtype)

    def put(self, row, steps, arrays):
        for name, source in KEYS.items():
            self.arrays[name][steps, row] = arrays[source]
        skipped = [step for i, step in enumerate(steps) if np.isnan(arrays["audio_logits_out"][i]).all()]
        self.arrays["audio_logits"][skipped, row] = 0  # steps of text alone leave them as they were


def submit(session, run, row, steps, flags=0):
    if run["text_only"][steps[0]]:
        flags |= moshi_core.JOB_TEXT_ONLY
    bias = run["bias"] if run["bias"].any() else None
    user = run["user"][steps, row]
    return session.step(len(steps), user if user.shape[1] else None, run["forced_text"][steps, row],
                        run["forced_audio"][steps, row], bias, flags)


def rounds(calls, lockstep):
    """Which calls are submitted together: those of the same step, or the next call of every row."""
    if not lockstep:
        longest = max(len(row) for row in calls.values())
        return [[(row, listed[i]) for row, listed in calls.items() if i < len(listed)] for i in range(longest)]
    by_step = {}
    for row, listed in calls.items():
        for call in listed:
            by_step.setdefault(call[0][0], []).append((row, call))
    return [by_step[step] for step in sorted(by_step)]


def stream(engine, run, rng, group=lambda: 1, together=True, rows=None):
    rows = range(run["exec"].shape[1]) if rows is None else rows
    store = Store(run, engine.lm)
    makers = {row: Conversation(engine, run, row) for row in rows}
    sessions = {row: maker.open() for row, maker in makers.items()}
    calls = {row: calls_of(run, row, group) for row in rows}
    for batch in rounds(calls, together):
        work = []
        for row, (steps, fresh) in batch:
            flags = 0
            if fresh:
                sessions[row], flags = makers[row].renew(sessions[row], rng)
            work.append((row, steps, submit(sessions[row], run, row, steps, flags)))
        for row, steps, job in work:
            store.put(row, steps, job.wait())
    for session in sessions.values():
        session.close()
    return store.arrays


def forced(run, places, tokens):
    """The run with the reference's tokens forced at these places."""
    run = {**run, "forced_text": run["forced_text"].copy(), "forced_audio": run["forced_audio"].copy()}
    for step, row, name in places:
        if name == 0:
            run["forced_text"][step, row] = tokens[step, row, 0]
        else:
            run["forced_audio"][step, row, name - 1] = tokens[step, row, name]
    return run


def greedy(engine, run, reference, rng):
    excused, wrong = [], []
    original = run
    while True:
        result = stream(engine, run, rng)
        if reference is None:
            break
        places = lm_compare.first_differences(result["sampled"], reference["sampled"], run["exec"])
        for place in places:
            problem, _ = lm_compare.judge(result["sampled"], reference, place, run["bias"])
            if problem:
                wrong.append(problem)
            else:
                excused.append(place)
        if not places or wrong or len(excused) > MOST_EXCUSED:
            break
        run = forced(original, excused, reference["sampled"])
    result["excused"] = np.array(excused, np.int64).reshape(-1, 3)
    result["wrong"] = np.array(wrong, str)
    return result


def sizes(rng):
    first = iter((MOST_STEPS, 1))
    return lambda: next(first, None) or int(rng.integers(1, MOST_STEPS + 1))


def teacher(engine, run, reference, rng):
    run = {**run, "forced_text": reference["sampled"][:, :, 0], "forced_audio": reference["sampled"][:, :, 1:]}
    return stream(engine, run, rng, sizes(rng), together=False)


def lockstep(engine, run, _reference, rng):
    return stream(engine, run, rng)


def grouped(engine, run, _reference, rng):
    return stream(engine, run, rng, sizes(rng), together=False, rows=rng.permutation(run["exec"].shape[1]).tolist())


def alone(engine, run, _reference, rng):
    parts = [stream(engine, run, rng, rows=[row]) for row in range(run["exec"].shape[1])]
    return {name: sum(part[name] for part in parts) for name in parts[0]}


def crowd(engine, run, _reference, rng, steps=25, others=6):
    """The first steps of row 0 while other sessions keep the engine busy."""
    run = {name: value[:steps] if name in ("exec", "user", "reset", "forced_text", "forced_audio", "text_only")
           else value for name, value in run.items()}
    maker, store, info = Conversation(engine, run, 0), Store(run, engine.lm), engine.lm
    busy = [maker.open(moshi_core.LIVE if i % 2 else moshi_core.FILE) for i in range(others)]
    for session in busy:
        session.set(sampling=1, temperature=2.0, text_temperature=2.0)
    with maker.open() as session:
        for step in np.flatnonzero(run["exec"][:, 0]):
            work = []
            for i, other in enumerate(busy):
                frames = 1 + (i + step) % 3
                user = rng.integers(0, info.cardinality, (frames, info.user_streams))
                work.append(other.step(int(frames), user if info.user_streams else None))
            job = submit(session, run, 0, [int(step)])
            store.put(0, [int(step)], job.wait())
            for other in work:
                other.wait()
    for session in busy:
        session.close()
    return {name: value[:, :1] for name, value in store.arrays.items()}


def forked(engine, run, _reference, rng):
    """Row 0, moved to a fork or to a new session with the saved state, while the old session goes on elsewhere."""
    maker, store = Conversation(engine, run, 0), Store(run, engine.lm)
    calls = calls_of(run, 0, lambda: int(rng.integers(1, 8)))
    marks = set(rng.choice(np.arange(1, len(calls)), min(5, len(calls) - 1), replace=False).tolist())
    session = maker.open()
    for index, (steps, fresh) in enumerate(calls):
        if index in marks:
            old = session
            if len(marks) % 2:
                session = old.fork()
            else:
                session = maker.open()
                session.load(old.save())
            marks.remove(index)
            submit(old, run, 0, calls[0][0]).wait()  # must not reach the copy
            old.close()
        flags = moshi_core.JOB_RESET if fresh else 0
        store.put(0, steps, submit(session, run, 0, steps, flags).wait())
    session.close()
    return {name: value[:, :1] for name, value in store.arrays.items()}


MODES = {"greedy": greedy, "teacher": teacher, "lockstep": lockstep, "grouped": grouped, "alone": alone,
         "crowd": crowd, "forked": forked}


def load(path):
    try:
        with np.load(path) as data:
            return dict(data)
    except FileNotFoundError:
        return None


def perform(engine, item, seed):
    mode, path = item.split(":", 1)
    run, reference = load(path), load(path.replace(".in.npz", ".ref.npz"))
    if mode not in ("greedy", "teacher") and reference is not None:
        base = load(path.replace(".in.npz", ".greedy.base.npz"))
        if base is not None:
            run = forced(run, base["excused"].tolist(), reference["sampled"])
    result = MODES[mode](engine, run, reference, np.random.default_rng([seed, len(item)]))
    result["kernels"] = np.array(engine.info.kernels.decode())
    result["threads"] = np.array(engine.info.threads)
    return path, mode, result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", type=int, default=moshi_core.F32)
    parser.add_argument("--lora-separate", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", required=True, help="suffix: NAME.in.npz gives NAME.MODE.OUTPUT.npz")
    parser.add_argument("work", nargs="+", help="MODE:NAME.in.npz")
    arguments = parser.parse_args()
    options = {"threads": arguments.threads, "precision": arguments.precision,
               "lora_separate": arguments.lora_separate}
    with moshi_lm.opened(arguments.library, arguments.model, **options) as engine:
        for item in arguments.work:
            path, mode, result = perform(engine, item, arguments.seed)
            np.savez(path.replace(".in.npz", f".{mode}.{arguments.output}.npz"), **result)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: MIT
"""What the core draws and shows, in one process: the distribution of sampled tokens against the probabilities that its
own logits give, and the pieces of a tokenizer. Prints one line of JSON: a list of [name, problem or null, detail].
"""

import argparse
import json
import os

import numpy as np

import lm_compare
import moshi_core
import moshi_lm

DRAWS = 3000
WARM_UP = 9  # steps before the one that is drawn again and again
SETTINGS = (
    {"temperature": 4.0, "text_temperature": 0.7, "top_k": 250, "text_top_k": 25},
    {"temperature": 8.0, "text_temperature": 1.5, "top_k": 0, "text_top_k": 0},
    {"temperature": 6.0, "text_temperature": 3.0, "top_k": 3, "text_top_k": 4},
)


def probabilities(logits, temperature, top_k):
    """The reference's: softmax, then the most likely ones alone. In f64."""
    scaled = logits.astype(np.float64) / temperature
    values = np.exp(scaled - scaled.max())
    if 0 < top_k < len(values):
        values[np.argsort(values)[: len(values) - top_k]] = 0
    return values / values.sum()


def draw(engine, settings, rng):
    """Counts of text and of first audio tokens over many seeds of one step, and the logits that they come from."""
    info = engine.lm
    def user(steps):
        return rng.integers(0, info.cardinality, (steps, info.user_streams)) if info.user_streams else None

    with moshi_lm.new_session(engine, seed=1) as session:
        session.set(sampling=0)
        session.step(WARM_UP, user(WARM_UP)).wait()
        state, step = session.save(), user(1)
        session.set(sampling=1, **settings)
        text, audio = np.zeros(info.text_logits), np.zeros(info.cardinality)
        first = None
        for seed in range(DRAWS):
            session.load(state)
            session.set(seed=seed)
            drawn = session.step(1, step, forced_text=None if seed % 2 else np.array([7])).wait()
            if first is None and seed % 2 == 0:
                first = {key: drawn[key][0].copy() for key in ("text_logits_out", "audio_logits_out")}
            if seed % 2:
                text[drawn["sampled_out"][0, 0]] += 1
            elif info.own_streams:
                audio[drawn["sampled_out"][0, 1]] += 1
    return text, audio, first


def check_draws(engine, rng):
    found = []
    for number, settings in enumerate(SETTINGS):
        text, audio, logits = draw(engine, settings, rng)
        parts = {"text": (text, logits["text_logits_out"], "text_temperature", "text_top_k")}
        if engine.lm.own_streams:
            parts["audio"] = (audio, logits["audio_logits_out"][0], "temperature", "top_k")
        for name, (counts, values, temperature, top_k) in parts.items():
            chances = probabilities(values, settings[temperature], settings[top_k])
            problem = lm_compare.chi_square(counts, chances)
            found.append([f"draws of {name}, setting {number}", problem, f"{int((counts > 0).sum())} distinct"])
    return found


def check_pieces(engine, path, padding):
    """Every token's piece as the reference's server shows it, byte pieces as their byte."""
    with open(path, encoding="utf-8") as file:
        expected = json.load(file)
    wrong = []
    for token, shown in enumerate(expected):
        if token in padding:
            wanted = (moshi_core.PIECE_NONE, b"")
        elif len(shown) == 6 and shown.startswith("<0x") and shown.endswith(">"):
            wanted = (moshi_core.PIECE_BYTE, bytes([int(shown[3:5], 16)]))
        else:
            wanted = (moshi_core.PIECE_TEXT, shown.replace("\u2581", " ").encode())
        ours = moshi_lm.piece(engine, token)
        if ours != wanted:
            wrong.append(f"token {token}: {ours}, expected {wanted}")
    return [["pieces of text", wrong[0] if wrong else None, f"{len(expected)} tokens"]]


def check_hooks(engine, rng):
    """Callbacks that change logits and tokens against jobs that ask for the same."""
    info, steps = engine.lm, 6
    user = rng.integers(0, info.cardinality, (steps, info.user_streams)) if info.user_streams else None
    bias = rng.normal(0, 3, info.text_logits).astype(np.float32)
    text, audio = (step_tokens(rng, steps, width, most) for width, most in
                   ((1, info.text_logits), (info.own_streams, info.cardinality)))

    def run(**job):
        with moshi_lm.new_session(engine, seed=1) as session:
            session.set(sampling=0)
            return session.step(steps, user, **job).wait()

    found, step = [], iter(range(steps))
    wanted = {"text_logits": run(bias=bias), "text": run(forced_text=text[:, 0]), "audio": None}
    changes = {"text_logits": lambda data: data.__iadd__(bias), "text": lambda data: data.fill(text[next(step), 0]),
               "audio": lambda data: np.copyto(data[0], audio[next(step)])}
    for name, change in changes.items():
        if name == "audio" and not info.own_streams:
            continue
        step = iter(range(steps))
        with moshi_lm.hooked(engine, **{name: change}):
            ours = run()
        if name == "audio":  # the depth transformer has run: its tokens are replaced before they are kept
            same = (ours["sampled_out"][:, 1:] == audio).all()
        else:
            same = (ours["sampled_out"] == wanted[name]["sampled_out"]).all()
        found.append([f"callback on {name}", None if same else "not the same tokens as a job that asks for them", ""])
    return found


def step_tokens(rng, steps, width, most):
    return rng.integers(0, most, (steps, width)).astype(np.int32)


def check_seeds(engine):
    with moshi_lm.new_session(engine, seed=-1) as one, moshi_lm.new_session(engine, seed=-1) as other:
        seeds = [one.seed(), other.seed()]
    with moshi_lm.new_session(engine, seed=77) as given:
        seeds.append(given.seed())
    right = seeds[0] != seeds[1] and min(seeds) >= 0 and seeds[2] == 77
    return [["seeds are drawn and told", None if right else f"{seeds}", ""]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", required=True, help="not used")
    arguments = parser.parse_args()
    with moshi_lm.opened(arguments.library, arguments.model) as engine:
        rng = np.random.default_rng(arguments.seed)
        found = check_draws(engine, rng) + check_seeds(engine) + check_hooks(engine, rng)
        pieces = os.path.join(arguments.model, "text.json")
        if os.path.exists(pieces):
            found += check_pieces(engine, pieces, (engine.lm.text_padding, engine.lm.text_end_padding))
    print(json.dumps(found))


if __name__ == "__main__":
    main()

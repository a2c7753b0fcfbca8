# SPDX-License-Identifier: MIT
"""Turns the figures of the evaluation into the tables of docs/quality.md."""

from dataclasses import dataclass, field
from pathlib import Path

from quality_clips import HELD_OUT, UNSEEN
from quality_measures import NAMES

MARKS = ("<!-- measured: begin -->", "<!-- measured: end -->")
HEADS = {"stoi": "STOI", "estoi": "ESTOI", "pesq": "PESQ", "si_sdr": "SI-SDR, dB", "mel": "mel distance, dB"}
DIGITS = {"stoi": 3, "estoi": 3, "pesq": 2, "si_sdr": 1, "mel": 1}
# STOI to reach on held-out speech and on unseen speakers, by the number of codebooks, and what was aimed at.
GOALS = {8: (0.75, 0.85), 16: (None, 0.90)}
PERPLEXITY_GOAL = 200


@dataclass
class System:
    """One codec at one rate."""

    name: str
    codebooks: int | None  # of the embedded codec; None: another codec
    bits: float = 0
    seconds: float = 0
    scores: dict[str, dict[str, list[float]]] = field(default_factory=dict)  # by group or speaker, then by measure
    word_errors: tuple[float, float] | None = None

    def add(self, key: str, measured: dict[str, float]) -> None:
        for name, value in measured.items():
            self.scores.setdefault(key, {}).setdefault(name, []).append(value)

    def mean(self, key: str, name: str) -> float:
        values = self.scores[key][name]
        return sum(values) / len(values)

    def rate(self) -> float:
        return self.bits / self.seconds


@dataclass
class Results:
    systems: list[System]
    clean_word_errors: tuple[float, float]
    perplexities: list[float]
    used: list[int]  # entries of every codebook that occurred
    bins: int
    frames: int
    speakers: dict[str, list[str]]  # by group
    minutes: dict[str, float]
    weights: str  # file, size, checksum


def row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [row(head), "| --- " + "| ---: " * (len(head) - 1) + "|", *map(row, rows), ""]


def measures(results: Results, group: str) -> list[str]:
    rows = []
    for system in results.systems:
        cells = [f"{system.mean(group, name):.{DIGITS[name]}f}" for name in NAMES]
        rows.append([system.name, f"{system.rate():.0f}", *cells])
    return table(["", "bit/s", *[HEADS[name] for name in NAMES]], rows)


def recognition(results: Results) -> list[str]:
    def cells(name: str, errors: tuple[float, float]) -> list[str]:
        return [name, *[f"{100 * error:.0f} %" for error in errors]]

    rows = [cells("the original", results.clean_word_errors)]
    rows += [cells(system.name, system.word_errors) for system in results.systems if system.word_errors]
    return table(["", "sentences", "single words"], rows)


def by_speaker(results: Results) -> list[str]:
    chosen = [system for system in results.systems if system.codebooks in GOALS or system.codebooks is None]
    rows = [
        [speaker, *[f"{system.mean(speaker, 'stoi'):.3f}" for system in chosen]]
        for group in (HELD_OUT, UNSEEN)
        for speaker in results.speakers[group]
    ]
    return table(["STOI", *[system.name for system in chosen]], rows)


def usage(results: Results) -> list[str]:
    rows = [
        [str(level + 1), f"{perplexity:.0f}", f"{100 * used / results.bins:.0f} %"]
        for level, (perplexity, used) in enumerate(zip(results.perplexities, results.used, strict=True))
    ]
    return table(["codebook", "perplexity", "entries used"], rows)


def verdict(value: float, goal: float | None, aim: float | None) -> str:
    """How `value` stands to what had to be reached and what was aimed at."""
    if aim is not None and value >= aim:
        return "goal and aim met" if goal is not None else "aim met"
    if goal is None:
        return "aim not met"
    return ("goal met" + (", aim not" if aim is not None else "")) if value >= goal else "**goal not met**"


def goals(results: Results) -> list[str]:
    rows = []
    by_count = {system.codebooks: system for system in results.systems if system.codebooks}
    for count, (goal, aim) in GOALS.items():
        for group in (HELD_OUT, UNSEEN) if count in by_count else ():
            value = by_count[count].mean(group, "stoi")
            wanted = f"at least {goal:.2f}, aim {aim:.2f}" if goal else f"aim {aim:.2f}"
            rows.append([f"STOI, {count} codebooks, {group}", wanted, f"{value:.3f}", verdict(value, goal, aim)])
    for group in (HELD_OUT, UNSEEN):
        line = [system.mean(group, "stoi") for _, system in sorted(by_count.items())]
        rises = all(more > less for less, more in zip(line, line[1:], strict=False))
        found = ", ".join(f"{value:.3f}" for value in line)
        met = "goal met" if rises else "**goal not met**"
        rows.append([f"more codebooks, higher STOI, {group}", "always", found, met])
    least = min(results.perplexities)
    wanted = f"above {PERPLEXITY_GOAL}"
    met = verdict(least, PERPLEXITY_GOAL, None)
    rows.append(["perplexity of the least used codebook", wanted, f"{least:.0f}", met])
    return table(["", "wanted", "measured", ""], rows)


def report(results: Results) -> str:
    lines = [f"{results.weights}.", "", "### Goals", "", *goals(results)]
    for group in (HELD_OUT, UNSEEN):
        lines += [f"### {group.capitalize()}: {results.minutes[group]:.1f} minutes", "", *measures(results, group)]
    lines += ["### Words a recognizer gets wrong", "", *recognition(results)]
    lines += ["### By speaker", "", *by_speaker(results)]
    lines += [f"### Use of the codebooks, over {results.frames} frames", "", *usage(results)]
    return "\n".join(lines).rstrip()


def write(path: Path, measured: str) -> None:
    """Puts the tables between the marks of the page and leaves the rest of it alone."""
    page = path.read_text("utf-8")
    begin, end = MARKS
    before, rest = page.split(begin, 1)
    after = rest.split(end, 1)[1]
    path.write_text(f"{before}{begin}\n\n{measured}\n\n{end}{after}", "utf-8")

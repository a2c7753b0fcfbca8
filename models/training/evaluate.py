# SPDX-License-Identifier: MIT
"""Judges the embedded codec on speech it was not trained on, beside Opus and Codec2; rewrites docs/quality.md."""

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np

from quality_clips import HELD_OUT, UNSEEN, Clip, all_clips, quick_clips
from quality_codec import BITS_A_SECOND, Codec, stoi_by_codebooks
from quality_measures import SAMPLE_RATE, measure, perplexity
from quality_others import check_alignment, others
from quality_pictures import spectrograms, stoi_by_rate
from quality_recognizer import Recognition
from quality_report import Results, System, report, write

ROOT = Path(__file__).resolve().parents[2]
CODEBOOKS = (1, 2, 4, 8, 12, 16)
QUICK_CODEBOOKS = [8, 16]
SHOWN = ("sense_and_sensibility_01_austen_64kb-0890", "it-0")  # clips of the pictures
PANELS = ("8 codebooks", "16 codebooks", "Opus 6 kbit/s", "Codec2 2400")
CHECKED = 4  # clips, on which the alignment of the other codecs is checked


def plural(count: int) -> str:
    return f"{count} codebook{'s' * (count > 1)}"


def describe(folder: Path) -> str:
    data = (folder / "mimi.safetensors").read_bytes()
    return f"`mimi.safetensors`, {len(data) / 1e6:.2f} MB, sha256 `{hashlib.sha256(data).hexdigest()[:16]}`"


def add(system: System, clip: Clip, decoded: np.ndarray, bits: float) -> None:
    measured = measure(clip.samples, decoded)
    system.bits += bits
    system.seconds += len(clip.samples) / SAMPLE_RATE
    for key in (clip.group, clip.speaker):
        system.add(key, measured)


class Evaluation:
    def __init__(self, embedded: Path, speech: Path):
        self.codec = Codec(embedded)
        self.clips = all_clips(speech)
        self.systems: list[System] = []
        self.shown: dict[str, list[tuple[str, np.ndarray]]] = {
            clip.name: [("original", clip.samples)] for clip in self.clips if clip.name in SHOWN
        }

    def keep(self, clip: Clip, name: str, decoded: np.ndarray) -> None:
        if clip.name in self.shown and name in PANELS:
            self.shown[clip.name].append((name, decoded))

    def embedded_codec(self) -> np.ndarray:
        """Measures the codec; returns the codes of all clips, [codebooks, frames]."""
        systems = [System(plural(count), count) for count in CODEBOOKS]
        all_codes = []
        for clip in self.clips:
            codes = self.codec.encode(clip.samples)
            all_codes.append(codes.numpy())
            for system in systems:
                decoded = self.codec.decode(codes, system.codebooks, len(clip.samples))
                seconds = len(clip.samples) / SAMPLE_RATE
                add(system, clip, decoded, system.codebooks * BITS_A_SECOND * seconds)
                self.keep(clip, system.name, decoded)
        self.systems += systems
        return np.concatenate(all_codes, axis=1)

    def other_codecs(self) -> None:
        for name, process in others().items():
            system = System(name, None)
            decoded = []
            for clip in self.clips:
                samples, bits = process(clip.samples)
                decoded.append(samples)
                add(system, clip, samples, bits)
                self.keep(clip, name, samples)
            chosen = slice(None, None, max(1, len(self.clips) // CHECKED))
            check_alignment(name, [clip.samples for clip in self.clips][chosen], decoded[chosen])
            self.systems.append(system)
            print(f"{name}: STOI {system.mean(UNSEEN, 'stoi'):.3f}", flush=True)

    def recognizer(self) -> tuple[float, float]:
        """Fills in the word error rates; returns those of the originals."""
        recognition = Recognition()
        for system in self.systems:
            if system.codebooks:
                process = lambda x, k=system.codebooks: self.codec.decode(self.codec.encode(x), k, len(x))  # noqa: E731
            else:
                process = lambda x, name=system.name: others()[name](x)[0]  # noqa: E731
            system.word_errors = recognition.word_error_rates(process)
            print(f"{system.name}: word error rates {system.word_errors}", flush=True)
        return recognition.word_error_rates(lambda x: x)

    def results(self, embedded: Path) -> Results:
        codes = self.embedded_codec()
        for system in self.systems:
            print(f"{system.name}: STOI {system.mean(UNSEEN, 'stoi'):.3f}", flush=True)
        self.other_codecs()
        groups = {group: [clip for clip in self.clips if clip.group == group] for group in (HELD_OUT, UNSEEN)}
        return Results(
            systems=self.systems,
            clean_word_errors=self.recognizer(),
            perplexities=[perplexity(level, self.codec.bins) for level in codes],
            used=[len(np.unique(level)) for level in codes],
            bins=self.codec.bins,
            frames=codes.shape[1],
            speakers={group: list(dict.fromkeys(clip.speaker for clip in clips)) for group, clips in groups.items()},
            minutes={group: sum(len(c.samples) for c in clips) / SAMPLE_RATE / 60 for group, clips in groups.items()},
            weights=describe(embedded),
        )

    def pictures(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        titles = {
            SHOWN[0]: ("unseen-speaker", "A speaker who is not in the training set"),
            SHOWN[1]: ("held-out-speech", "A speaker of the training set, words that are not"),
        }
        for clip, (name, title) in titles.items():
            spectrograms(folder / f"quality-{name}.png", title, self.shown[clip])
        series: dict[str, list[tuple[float, float]]] = {}
        for system in self.systems:
            family = "embedded codec" if system.codebooks else system.name.split()[0]
            for group in (HELD_OUT, UNSEEN):
                series.setdefault(f"{family}, {group}", []).append((system.rate(), system.mean(group, "stoi")))
        stoi_by_rate(folder / "quality-stoi.png", series)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--embedded", type=Path, default=ROOT / "models" / "embedded", help="the shipped files")
    parser.add_argument("--speech", type=Path, required=True, help="what speech.py prepared")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "quality.md", help="the page to rewrite")
    parser.add_argument("--quick", action="store_true", help="only print the STOI of a minute of clips, in seconds")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if options.quick:
        print(json.dumps(stoi_by_codebooks(options.embedded, quick_clips(options.speech), QUICK_CODEBOOKS)))
        return
    evaluation = Evaluation(options.embedded, options.speech)
    measured = report(evaluation.results(options.embedded))
    print(measured)
    write(options.output, measured)
    evaluation.pictures(options.output.parent / "pictures")


if __name__ == "__main__":
    main()

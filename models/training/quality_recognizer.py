# SPDX-License-Identifier: MIT
"""A recognizer's word error rate: how much of what was said a machine still understands.

PocketSphinx with its own acoustic model of American English, and small closed vocabularies, in which it understands
undamaged speech well: sentences of a LibriVox reader, with a trigram model of these very sentences, and single words,
with a grammar of these words.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pocketsphinx import Decoder
from pocketsphinx.lm import ArpaBoLM
from scipy.signal import resample_poly

from quality_clips import english_words, librivox, sentences
from quality_others import to_int16

Process = Callable[[np.ndarray], np.ndarray]  # 24 kHz in, decoded 24 kHz out
QUIET = 7200  # samples of silence around a word, 300 ms: the recognizer wants a beginning and an end


def sentence_decoder(text: list[str]) -> Decoder:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "closed.arpa"
        model = ArpaBoLM(add_start=True)
        model.read_corpus(text)
        model.compute()
        model.write_file(str(path))
        return Decoder(lm=str(path), loglevel="FATAL")


def word_decoder(words: list[str]) -> Decoder:
    decoder = Decoder(lm=None, loglevel="FATAL")
    decoder.add_jsgf_string("words", f"#JSGF V1.0; grammar words; public <word> = {' | '.join(sorted(set(words)))};")
    decoder.activate_search("words")
    return decoder


def recognize(decoder: Decoder, samples: np.ndarray) -> list[str]:
    decoder.start_utt()
    decoder.process_raw(to_int16(resample_poly(samples, 2, 3)).tobytes(), full_utt=True)
    decoder.end_utt()
    return decoder.hyp().hypstr.split() if decoder.hyp() else []


def errors(said: list[str], heard: list[str]) -> int:
    """The least number of words to replace, insert or delete."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            before, row[j] = row[j], min(before + (word != other), row[j] + 1, row[j - 1] + 1)
    return row[-1]


class Recognition:
    """The test's recordings, read once."""

    def __init__(self) -> None:
        said = sentences()
        self.sentences = [(said[clip.name], clip.samples) for clip in librivox()]
        self.words = [(word, np.pad(samples, QUIET)) for word, samples in english_words()]

    def word_error_rates(self, process: Process) -> tuple[float, float]:
        """Of sentences and of single words, 0 to 1 and more. A new decoder each time: it adapts to what it hears."""
        said = [text for text, _ in self.sentences]
        words = [word for word, _ in self.words]
        return (
            self.rate(sentence_decoder(said), self.sentences, process),
            self.rate(word_decoder(words), self.words, process),
        )

    def rate(self, decoder: Decoder, recordings: list[tuple[str, np.ndarray]], process: Process) -> float:
        wrong = sum(errors(text.split(), recognize(decoder, process(samples))) for text, samples in recordings)
        return wrong / sum(len(text.split()) for text, _ in recordings)

# SPDX-License-Identifier: MIT
"""Writes the embedded language model: computed, not trained, for the codec that lies beside it.

It repeats the codes that it hears 25 frames later, and says in words when its speech begins and ends: PARROT.md.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

import words
from parrot_model import CONFIG, EVIDENCE_LIMIT, parrot
from parrot_speech import load_codec, silence_codes, speech_evidence

LIMIT = 11_000_000  # bytes
# One entry: with more of them, the file would differ from run to run in their order.
METADATA = {
    "description": "parrot: repeats the codes it hears 25 frames later, and marks speech and silence with words"
}


def write(embedded: Path, speech: Path) -> None:
    codec = load_codec(embedded)
    silence = silence_codes(codec)
    print(f"silence: {' '.join(map(str, silence))}")
    tensors = parrot(silence, speech_evidence(codec, speech, EVIDENCE_LIMIT))
    weights = embedded / CONFIG["moshi_name"]
    save_file({n: torch.from_numpy(t).bfloat16().contiguous() for n, t in tensors.items()}, weights, METADATA)
    if weights.stat().st_size > LIMIT:
        raise SystemExit(f"{weights} has {weights.stat().st_size} bytes, more than {LIMIT}")
    (embedded / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    (embedded / CONFIG["tokenizer_name"]).write_bytes(words.tokenizer())
    print(f"{weights}: {weights.stat().st_size} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--speech", type=Path, required=True, help="what speech.py prepared")
    parser.add_argument("--embedded", type=Path, required=True, help="where the codec lies and the model goes")
    options = parser.parse_args()
    write(options.embedded, options.speech)


if __name__ == "__main__":
    main()

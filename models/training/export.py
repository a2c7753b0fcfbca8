# SPDX-License-Identifier: MIT
"""Writes a training checkpoint as the files that are shipped: f16 weights under the published names, and the shape."""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from codec import FULL_SCALE, Codec
from shape import CONFIG

LIMIT = 6_000_000  # bytes
# Attention is stored fused in published files; the reference's modules hold it as a list of one.
ON_DISK = {"in_projs.0.weight": "in_proj_weight", "out_projs.0.weight": "out_proj.weight"}


def on_disk(name: str) -> str:
    for module, disk in ON_DISK.items():
        name = name.replace(module, disk)
    return name


def fill_codebooks(codec: Codec) -> None:
    """A stored codebook is its rows times how often each is used; one use each keeps the rows as they are."""
    for side, books in codec.quantizers():
        for level, rows in zip(side.vq.layers, books.rows):
            level._codebook.embedding_sum.copy_(rows)
            level._codebook.cluster_usage.fill_(1.0)
            level._codebook._initialized.fill_(1.0)


def fold_scale(codec: Codec) -> None:
    first, last = codec.mimi.encoder.model[0].conv.conv, codec.mimi.decoder.model[-1].conv.conv
    first.weight.div_(FULL_SCALE)
    last.weight.mul_(FULL_SCALE)
    last.bias.mul_(FULL_SCALE)


@torch.no_grad()
def export(checkpoint: Path, embedded: Path) -> None:
    codec = Codec()
    codec.load_state_dict(torch.load(checkpoint, weights_only=False)["codec"])
    if not codec.rest.rows.any():
        raise SystemExit(f"{checkpoint} has no codebooks yet: let train_mimi.py reach its stage codes")
    fill_codebooks(codec)
    fold_scale(codec)
    tensors = {on_disk(name): value.half().contiguous() for name, value in codec.mimi.state_dict().items()}
    broken = [name for name, value in tensors.items() if not torch.isfinite(value).all()]
    if broken:
        raise SystemExit(f"not finite in f16: {', '.join(broken)}")
    embedded.mkdir(parents=True, exist_ok=True)
    weights = embedded / "mimi.safetensors"
    save_file(tensors, weights, metadata={"format": "pt"})
    if weights.stat().st_size > LIMIT:
        raise SystemExit(f"{weights} has {weights.stat().st_size} bytes, more than {LIMIT}")
    (embedded / "mimi.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    print(f"{weights}: {weights.stat().st_size} bytes, {sum(t.numel() for t in tensors.values())} elements")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="where train_mimi.py keeps its checkpoint")
    parser.add_argument("--embedded", type=Path, required=True, help="where the shipped files go")
    options = parser.parse_args()
    export(options.work / "checkpoint.pt", options.embedded)


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: MIT
"""Random language models have the names and shapes of the reference's own modules: it loads them, every tensor.

Usage: lm_names.py MOSHI_RANDOM_LM CONFIG...
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import torch
from moshi.models import loaders

NOT_FOR_THE_MODEL = (
    "moshi_name", "mimi_name", "mimi_config_name", "tokenizer_name", "lora_name", "model_type", "lm_gen_config",
    "tts_config", "stt_config", "model_id",
)  # fmt: skip


def load(directory):
    """The reference's model of a directory, in f32."""
    config = json.loads((directory / "config.json").read_text())
    lora = directory / config["lora_name"] if "lora_name" in config else None
    arguments = {key: value for key, value in config.items() if key not in NOT_FOR_THE_MODEL}
    weights = directory / config["moshi_name"]
    return loaders.get_moshi_lm(weights, arguments, dtype=torch.float32, lora_weights=lora, fuse_lora=False)


def check(tool, config, extra):
    with tempfile.TemporaryDirectory() as name:
        directory = pathlib.Path(name)
        arguments = [tool, "--config", config, "--seed", "1", "--output", name, *extra]
        subprocess.run(arguments, check=True, stdout=subprocess.DEVNULL, timeout=120)
        state = load(directory).state_dict()
    for key, value in state.items():
        if value.is_meta or not torch.isfinite(value).all():
            raise SystemExit(f"{config} {extra}: {key} was not loaded or is not finite")
    return len(state)


def main():
    tool, *configs = sys.argv[1:]
    if not configs:
        raise SystemExit(__doc__)
    for config in configs:
        for extra in (["--dtype", "f32"], ["--dtype", "bf16"], ["--dtype", "f32", "--lora", "4"]):
            count = check(tool, config, extra)
            print(f"{pathlib.Path(config).stem} {' '.join(extra)}: {count} tensors load")


if __name__ == "__main__":
    main()

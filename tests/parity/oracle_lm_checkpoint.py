# SPDX-License-Identifier: MIT
"""Makes a random language model of one shape of lm_configs.py, with the oracle's own modules, in the layouts of
published files: attention weights fused or split, f32, bf16, f16, int8 with scales, adapters in a file of their own.

Weights are normal with deviation 1.5 / sqrt(inputs), embeddings with deviation 1: tokens then vary as they should. The
directory also gets `oracle.safetensors`, what the reference loads: the same, except for int8 as f32 numbers.
"""

import argparse
import json
import os

import sentencepiece
import torch
from moshi.models import loaders
from safetensors.torch import save_file

import lm_configs

TYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16, "int8": torch.bfloat16}


def lm_arguments(config):
    return json.loads(json.dumps({key: value for key, value in config.items() if key not in lm_configs.OTHER_KEYS}))


def random_tensor(name, shape, generator):
    noise = torch.randn(shape, generator=generator)
    if name.endswith(".scale"):
        return torch.rand(shape, generator=generator) * 0.5 + 0.3
    if "norm" in name and (name.endswith(".alpha") or name.endswith(".weight")):
        return 1 + 0.2 * noise
    if name.endswith(".bias"):
        return 0.3 * noise
    if name.endswith("learnt_padding") or _is_table(name):
        return noise
    return noise * 1.5 * shape[1] ** -0.5


def _is_table(name):
    parts = name.split(".")
    if name.startswith("condition_provider."):
        return name.endswith(".embed.weight")
    return parts[0].endswith("emb") and parts[-2] not in ("low_rank", "out1", "out2") and parts[-1] == "weight"


def random_state(model, generator):
    return {name: random_tensor(name, tensor.shape, generator) for name, tensor in model.state_dict().items()}


def fused(state):
    """Attention weights under the names of published files, one tensor for all steps."""
    result, parts = {}, {}
    for name, tensor in state.items():
        for split, whole in ((".in_projs.", ".in_proj"), (".out_projs.", ".out_proj")):
            if split in name:
                head, tail = name.split(split)
                index, tail = tail.split(".", 1)
                tail = "_weight" if whole == ".in_proj" and tail == "weight" else "." + tail
                if whole == ".in_proj" and tail == ".weight_scb":
                    tail = "_weight_scb"
                parts.setdefault(head + whole + tail, {})[int(index)] = tensor
                break
        else:
            result[name] = tensor
    for name, blocks in parts.items():
        result[name] = torch.cat([blocks[i] for i in range(len(blocks))])
    return result


def keeps_f32(name):
    return name.startswith("condition_provider.")


def quantized(model, state):
    """int8 weights with scales for every linear layer, and the same numbers as f32."""
    linear = {name + ".weight" for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    stored, plain = {}, {}
    for name, tensor in state.items():
        if name not in linear:
            stored[name] = plain[name] = tensor
            continue
        scale = tensor.float().abs().amax(dim=1)
        codes = torch.round(127 * tensor.float() / scale[:, None]).to(torch.int8)
        stored[name], stored[name + "_scb"] = codes, scale
        plain[name] = codes.float() * scale[:, None] / 127
    return stored, plain


def save(path, state):
    save_file({name: tensor.contiguous().clone() for name, tensor in state.items()}, path)


def write_lora(directory, config, kind, generator):
    """An adapter on every linear layer, its attention weights fused."""
    arguments = lm_arguments(config) | {"lora": False}
    base = loaders.get_moshi_lm(None, arguments, dtype=torch.float32)
    rank, state = config["lora_rank"], {}
    for name, module in base.named_modules():
        if isinstance(module, torch.nn.Linear):
            down = torch.randn((rank, module.in_features), generator=generator) * module.in_features ** -0.5
            up = torch.randn((module.out_features, rank), generator=generator) * 0.7 * rank ** -0.5
            state[name + ".lora_A.weight"], state[name + ".lora_B.weight"] = down, up
    state = fused({name: tensor.to(TYPES[kind]) for name, tensor in state.items()})
    save(os.path.join(directory, "lora.safetensors"), state)


def train_tokenizer(path, pieces, corpus):
    """A tokenizer, and `PATH.json`: what the reference's server takes from it for each token."""
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus), model_prefix=path, vocab_size=pieces, byte_fallback=True,
        character_coverage=0.98, hard_vocab_limit=True, minloglevel=2, model_type="unigram",
        unk_id=0, bos_id=1, eos_id=2, pad_id=3)
    os.remove(path + ".vocab")
    tokenizer = sentencepiece.SentencePieceProcessor(path + ".model")
    with open(path + ".json", "w", encoding="utf-8") as file:
        json.dump([tokenizer.id_to_piece(token) for token in range(tokenizer.get_piece_size())], file)


@torch.no_grad()
def write_model(directory, name, seed, corpus=None):
    os.makedirs(directory, exist_ok=True)
    config, (names, kind) = dict(lm_configs.CONFIGS[name]), lm_configs.FILES[name]
    generator = torch.Generator().manual_seed(seed)
    model = loaders.get_moshi_lm(None, lm_arguments(config) | {"lora": False}, dtype=torch.float32)
    state = random_state(model, generator)
    state = {key: value if keeps_f32(key) else value.to(TYPES[kind]) for key, value in state.items()}
    stored = plain = state
    config |= {"moshi_name": "model.safetensors", "tokenizer_name": "text.model"}
    if kind == "int8":
        stored, plain = quantized(model, state)
        config["quantize"] = True
    save(os.path.join(directory, "oracle.safetensors"), plain)
    save(os.path.join(directory, "model.safetensors"), fused(stored) if names == "fused" else stored)
    if config.get("lora"):
        config["lora_name"] = "lora.safetensors"
        write_lora(directory, config, kind, generator)
    if corpus:
        train_tokenizer(os.path.join(directory, "text"), config["text_card"], corpus)
    else:
        del config["tokenizer_name"]
    with open(os.path.join(directory, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file, indent=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--corpus", help="text to make a tokenizer from; none: no tokenizer")
    parser.add_argument("--output", required=True, help="directory to write")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    corpus = None
    if arguments.corpus:
        with open(arguments.corpus, encoding="utf-8") as file:
            corpus = [line for line in file.read().splitlines() if line.strip()]
    write_model(arguments.output, arguments.shape, arguments.seed, corpus)


if __name__ == "__main__":
    main()

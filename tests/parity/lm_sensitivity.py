# SPDX-License-Identifier: MIT
"""Shows that the comparison notices a defect in any tensor of a language model: the reference itself, with one tensor
off by a little, must fail it. Prints what is not noticed, one name a line: lm_sensitivity.py MODEL RUN.in.npz...
"""

import argparse

import numpy as np
import torch

import lm_compare
import oracle_lm

STEPS = 10
CHANGE = 0.02  # deviation of what each number is multiplied by


def noticed(result, expected, run):
    for name in ("text_logits", "audio_logits"):
        if lm_compare.logit_error(result[name], expected[name], run["exec"]) > lm_compare.LOGITS:
            return True
    return lm_compare.probability_error(result["extra_heads"], expected["extra_heads"], run["exec"]) > lm_compare.EXTRA


@torch.no_grad()
def unnoticed(model, runs):
    sampler = oracle_lm.Sampler()
    expected = [oracle_lm.perform(model, sampler, run) for run in runs]
    for run, result in zip(runs, expected):
        run["forced_text"], run["forced_audio"] = result["sampled"][:, :, 0], result["sampled"][:, :, 1:]
    names = []
    for name, parameter in model.named_parameters():
        kept = parameter.data.clone()
        parameter.data = kept * (1 + CHANGE * torch.randn(kept.shape, generator=torch.Generator().manual_seed(0)))
        found = any(noticed(oracle_lm.perform(model, sampler, run), result, run)
                    for run, result in zip(runs, expected))
        parameter.data = kept
        if not found:
            names.append(name)
    return names


def shortened(path, steps):
    """The first steps of a run, all rows always taking part."""
    with np.load(path) as data:
        run = dict(data)
    for name in ("user", "exec", "reset", "forced_text", "forced_audio", "text_only"):
        run[name] = run[name][:steps]
    run["exec"] |= True
    run["reset"] &= False
    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="model directory")
    parser.add_argument("runs", nargs="+", help="NAME.in.npz files")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = oracle_lm.load(arguments.model)
    for name in unnoticed(model, [shortened(path, STEPS) for path in arguments.runs]):
        print(name)


if __name__ == "__main__":
    main()

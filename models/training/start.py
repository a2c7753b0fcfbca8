# SPDX-License-Identifier: MIT
"""Weights to begin from: every convolution scaled so that speech comes out of it with a known deviation. As PyTorch
draws them, twenty layers one after another leave nothing of the speech, and nothing is learned from nothing."""

import torch
from torch import nn

from codec import Codec

RESIDUAL = 0.4  # deviation of what a residual block adds
SPEECH = 0.6  # deviation of the decoder's output, in FULL_SCALE


def targets(codec: Codec) -> dict[nn.Module, float]:
    found = {m: 1.0 for m in codec.mimi.modules() if isinstance(m, (nn.Conv1d, nn.ConvTranspose1d))}
    named = dict(codec.mimi.named_modules())
    for name, module in named.items():
        if ".block.3.conv.conv" in name and module in found:
            found[module] = RESIDUAL
    found[named["decoder.model.14.conv.conv"]] = SPEECH
    return found


@torch.no_grad()
def standardize(codec: Codec, speech: torch.Tensor) -> None:
    """speech: [batch, 1, samples]. Runs it through once, scaling each convolution as it is reached."""

    def hook_for(deviation: float):
        def hook(module: nn.Module, _inputs: tuple, output: torch.Tensor) -> torch.Tensor:
            if module.bias is not None:
                output = output - module.bias[:, None]
                module.bias.zero_()
            scale = deviation / output.std().clamp_min(1e-8)
            module.weight.mul_(scale)
            return output * scale

        return hook

    hooks = [module.register_forward_hook(hook_for(deviation)) for module, deviation in targets(codec).items()]
    codec.decode(codec.encode(speech))
    for hook in hooks:
        hook.remove()

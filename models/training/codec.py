# SPDX-License-Identifier: MIT
"""Mimi as training runs it: the reference's parameters, with gradients, without streaming state."""

import torch
import torch.nn.functional as F
from torch import nn

from moshi.models.compression import MimiModel
from moshi.modules.conv import StreamingConv1d, StreamingConvTranspose1d
from quantizer import ResidualCodebooks, straight_through
from shape import BINS, CODE_DIMENSION, CODEBOOKS, new_model

# Samples are held as multiples of this while learning, so that the first and the last convolution have weights of the
# size that the rate of learning is made for; the shipped weights have it multiplied in.
FULL_SCALE = 0.1


def causal_conv(self: StreamingConv1d, x: torch.Tensor) -> torch.Tensor:
    """The reference's convolution on a fresh stream; its own forward copies a state of another precision each time."""
    conv = self.conv.conv
    reach = (conv.kernel_size[0] - 1) * conv.dilation[0] + 1
    mode = "replicate" if self.pad_mode == "replicate" else "constant"
    return conv(F.pad(x, (reach - conv.stride[0], 0), mode=mode))


def causal_conv_transpose(self: StreamingConvTranspose1d, x: torch.Tensor) -> torch.Tensor:
    conv = self.convtr.convtr
    return conv(x)[..., : x.shape[-1] * conv.stride[0]]


StreamingConv1d.forward = causal_conv
StreamingConvTranspose1d.forward = causal_conv_transpose


class Codec(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mimi: MimiModel = new_model()
        for parameter in self.mimi.quantizer.parameters():
            parameter.requires_grad = True
        self.first = ResidualCodebooks(1, BINS, CODE_DIMENSION)
        self.rest = ResidualCodebooks(CODEBOOKS - 1, BINS, CODE_DIMENSION)

    def quantizers(self):
        quantizer = self.mimi.quantizer
        return ((quantizer.rvq_first, self.first), (quantizer.rvq_rest, self.rest))

    def encoder_parameters(self) -> list[nn.Parameter]:
        m = self.mimi
        parts = (m.encoder, m.encoder_transformer, m.downsample)
        inputs = (m.quantizer.rvq_first.input_proj, m.quantizer.rvq_rest.input_proj)
        return [p for part in (*parts, *inputs) for p in part.parameters()]

    def decoder_parameters(self) -> list[nn.Parameter]:
        m = self.mimi
        outputs = (m.quantizer.rvq_first.output_proj, m.quantizer.rvq_rest.output_proj)
        return [p for part in (m.decoder, m.decoder_transformer, m.upsample, *outputs) for p in part.parameters()]

    def encode(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The two quantizers' inputs, each [batch, frames, CODE_DIMENSION]."""
        (z,) = self.mimi.encoder_transformer(self.mimi.encoder(x / FULL_SCALE))
        z = self.mimi.downsample(z)
        return [side.input_proj(z).transpose(1, 2).float() for side, _ in self.quantizers()]

    def decode(self, sides: list[torch.Tensor]) -> torch.Tensor:
        """[batch, samples] of what the quantizers' outputs say."""
        z = sum(side.output_proj(s.transpose(1, 2)) for (side, _), s in zip(self.quantizers(), sides))
        (z,) = self.mimi.decoder_transformer(self.mimi.upsample(z))
        return self.mimi.decoder(z)[:, 0] * FULL_SCALE

    def quantize(
        self, sides: list[torch.Tensor], codebooks: torch.Tensor, learn: torch.Generator | None
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Both sides as the first codebooks[batch] codes of a frame say them; with `learn` the codebooks follow."""
        said, loss = [], torch.zeros(())
        with torch.autocast("cpu", enabled=False):  # in bf16 other rows would be the nearest
            for x, (_, books), levels in zip(sides, self.quantizers(), (torch.ones_like(codebooks), codebooks - 1)):
                flat = x.detach().reshape(-1, x.shape[-1])
                codes, parts = books.quantize(flat)
                if learn is not None:
                    books.follow(flat, codes, parts, learn)
                out, commitment = straight_through(x, parts.reshape(len(parts), *x.shape), levels)
                said.append(out)
                loss = loss + commitment
        return said, loss

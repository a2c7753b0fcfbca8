# SPDX-License-Identifier: MIT
"""Residual vector quantization while it learns: straight-through codes and codebooks that follow their residuals."""

import torch
from torch import nn

DECAY = 0.99
DEAD = 0.02  # of the average use: a row that is used less is drawn anew
START = 0.1  # uses a step, what a fresh row is credited with: about the average


def nearest(x: torch.Tensor, codebook: torch.Tensor) -> torch.Tensor:
    """Indices of the rows of codebook [n, d] nearest to x [m, d]."""
    return (codebook.square().sum(1) * 0.5 - x @ codebook.T).argmin(1)


class ResidualCodebooks(nn.Module):
    """Levels of one residual quantizer on vectors [m, dimension]."""

    def __init__(self, levels: int, bins: int, dimension: int):
        super().__init__()
        self.levels, self.bins = levels, bins
        self.register_buffer("rows", torch.zeros(levels, bins, dimension))
        self.register_buffer("sums", torch.zeros(levels, bins, dimension))
        self.register_buffer("uses", torch.zeros(levels, bins))

    @torch.no_grad()
    def fit(self, x: torch.Tensor, iterations: int, generator: torch.Generator) -> None:
        """k-means, level after level on the residuals of x."""
        residual = x.clone()
        for level in range(self.levels):
            rows = residual[torch.randperm(len(residual), generator=generator)[: self.bins]].clone()
            for _ in range(iterations):
                codes = nearest(residual, rows)
                uses = torch.bincount(codes, minlength=self.bins).float()
                sums = torch.zeros_like(rows).index_add_(0, codes, residual)
                empty = uses == 0
                rows = sums / uses.clamp_min(1.0)[:, None]
                fresh = torch.randint(len(residual), (int(empty.sum()),), generator=generator)
                rows[empty] = residual[fresh]
            self.set_rows(level, rows)
            residual -= rows[nearest(residual, rows)]

    def set_rows(self, level: int, rows: torch.Tensor) -> None:
        self.rows[level] = rows
        self.uses[level] = START
        self.sums[level] = rows * START

    @torch.no_grad()
    def quantize(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """codes [levels, m], and what each level adds [levels, m, dimension]."""
        residual, codes, parts = x, [], []
        for rows in self.rows:
            code = nearest(residual, rows)
            codes.append(code)
            parts.append(rows[code])
            residual = residual - parts[-1]
        return torch.stack(codes), torch.stack(parts)

    @torch.no_grad()
    def follow(self, x: torch.Tensor, codes: torch.Tensor, parts: torch.Tensor, generator: torch.Generator) -> None:
        """Moves each row to the average of what chose it, and rows that nothing chooses to where something is."""
        residual = x
        for level in range(self.levels):
            uses = torch.bincount(codes[level], minlength=self.bins).float()
            sums = torch.zeros_like(self.rows[level]).index_add_(0, codes[level], residual)
            self.uses[level].lerp_(uses, 1.0 - DECAY)
            self.sums[level].lerp_(sums, 1.0 - DECAY)
            self.rows[level] = self.sums[level] / self.uses[level].clamp_min(1e-5)[:, None]
            dead = self.uses[level] < DEAD * len(x) / self.bins
            if dead.any():
                fresh = residual[torch.randint(len(residual), (int(dead.sum()),), generator=generator)]
                self.rows[level, dead] = fresh
                self.uses[level, dead] = START
                self.sums[level, dead] = fresh * START
            residual = residual - parts[level]


def straight_through(x: torch.Tensor, parts: torch.Tensor, levels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """x [batch, frames, d] as its first levels[batch] codes say, with the gradient of x; and the commitment loss."""
    used = (torch.arange(len(parts), device=x.device)[:, None] < levels).float()  # [levels, batch]
    said = torch.einsum("lbtd,lb->btd", parts, used)
    # To what all levels say: what the first few leave is not the encoder's to avoid.
    commitment = (x - parts.sum(0)).square().mean() / x.detach().square().mean().clamp_min(1e-6)
    return x + (said - x).detach(), commitment

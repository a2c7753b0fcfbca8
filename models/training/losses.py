# SPDX-License-Identifier: MIT
"""What training minimizes: distances between the spectra of the speech and of what the decoder made of it."""

import math

import torch
from torch import nn

SAMPLE_RATE = 24000


def mel_bank(n_fft: int, bands: int, low: float = 40.0, high: float = 12000.0) -> torch.Tensor:
    """[bands, n_fft / 2 + 1]: triangles of height 1, equally wide on the mel scale (2595 log10(1 + f / 700))."""

    def mel(f: float) -> float:
        return 2595.0 * math.log10(1.0 + f / 700.0)

    edges = 700.0 * (10.0 ** (torch.linspace(mel(low), mel(high), bands + 2) / 2595.0) - 1.0)
    bins = torch.linspace(0.0, SAMPLE_RATE / 2, n_fft // 2 + 1)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp_min(0.0)


def third_octaves(n_fft: int) -> torch.Tensor:
    """[15, n_fft / 2 + 1]: the bands from 150 Hz to 4.3 kHz by which intelligibility is judged, one of 0 and 1."""
    centers = 150.0 * 2.0 ** (torch.arange(15) / 3.0)
    bins = torch.linspace(0.0, SAMPLE_RATE / 2, n_fft // 2 + 1)
    low, high = centers[:, None] * 2.0 ** (-1 / 6), centers[:, None] * 2.0 ** (1 / 6)
    return ((bins >= low) & (bins < high)).float()


class Spectrum(nn.Module):
    """Power spectra [batch, bins, frames] at one resolution."""

    def __init__(self, n_fft: int, hop: int):
        super().__init__()
        self.n_fft, self.hop = n_fft, hop
        self.register_buffer("window", torch.hann_window(n_fft))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = torch.stft(x, self.n_fft, self.hop, window=self.window, center=False, return_complex=True)
        power = torch.view_as_real(z).square().sum(-1)
        return power * (4.0 / self.window.sum() ** 2)  # a full-scale sine has power 1 in its bin


class SpectralDistance(nn.Module):
    """Mean distance of mel bands at one resolution: of their logarithms and, so that loud parts count more, of their
    magnitudes relative to the clip's."""

    FLOOR = 3e-4  # of magnitude, -70 dB: below it all is silence
    QUIET = 1e-3  # a pause must not weigh as much as speech does

    def __init__(self, n_fft: int, bands: int):
        super().__init__()
        self.spectrum = Spectrum(n_fft, n_fft // 4)
        bank = mel_bank(n_fft, bands)
        self.register_buffer("bank", bank[bank.sum(1) > 0])

    def bands(self, x: torch.Tensor) -> torch.Tensor:
        return (self.bank @ self.spectrum(x) + self.FLOOR**2).sqrt()

    def forward(self, made: torch.Tensor, meant: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            target = self.bands(meant)
            scale = target.square().mean((1, 2), keepdim=True).sqrt() + self.QUIET
        got = self.bands(made)
        return (got.log() - target.log()).abs().mean() + ((got - target).abs() / scale).mean()


class EnvelopeDistance(nn.Module):
    """1 - the correlation of third-octave envelopes over segments of 0.4 s, the idea behind STOI (Taal et al., 2011):
    the shape of a band's envelope carries speech whatever the band's level."""

    SEGMENT = 30

    def __init__(self) -> None:
        super().__init__()
        self.spectrum = Spectrum(640, 320)
        self.register_buffer("bank", third_octaves(640))

    def segments(self, x: torch.Tensor) -> torch.Tensor:
        envelope = (self.bank @ self.spectrum(x) + 1e-10).sqrt()
        parts = envelope.unfold(2, self.SEGMENT, self.SEGMENT // 3)
        return parts - parts.mean(-1, keepdim=True)

    def forward(self, made: torch.Tensor, meant: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            b = self.segments(meant)
            b_norm = b.norm(dim=-1)
            loudest = b_norm.amax((1, 2), keepdim=True)
            weight = (b_norm > 0.01 * loudest).float() * (loudest > 1e-3).float()
        a = self.segments(made)
        correlation = (a * b).sum(-1) / (a.norm(dim=-1) * b_norm + 1e-6)
        return ((1.0 - correlation) * weight).sum() / weight.sum().clamp_min(1.0)


class SpeechLoss(nn.Module):
    RESOLUTIONS = ((2048, 80), (1024, 80), (512, 64), (256, 32))
    ENVELOPE_WEIGHT = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.spectral = nn.ModuleList(SpectralDistance(n, bands) for n, bands in self.RESOLUTIONS)
        self.envelope = EnvelopeDistance()

    def forward(self, made: torch.Tensor, meant: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
        """made, meant: [batch, samples]."""
        spectral = torch.stack([part(made, meant) for part in self.spectral]).mean()
        envelope = self.envelope(made, meant)
        total = spectral + self.ENVELOPE_WEIGHT * envelope
        return total, {"spectral": spectral.item(), "envelope": envelope.item()}

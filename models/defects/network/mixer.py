"""Training batches: library patterns with new amorphous humps, background and noise at every step."""

from __future__ import annotations

import numpy as np
import torch
from streamproc.models.defects.network.library import DefectLibrary, DefectSystem

__all__ = ["Mixer"]

_FOREIGN, _FOREIGN_FWHM_DEG = 3, (0.2, 1.2)
_HUMPS = ((1.02, 0.13, 1.0), (1.75, 0.14, 0.3))
"""Place and width over the first line's s, and weight, of the humps of amorphous metals."""


class Mixer:
    """Mixes batches from a library.

    Parameters
    ----------
    library : DefectLibrary
        Rendered patterns.
    system : DefectSystem
        Whose axis and ranges.
    seed : int
        Seed of all chance here.
    """

    def __init__(self, library: DefectLibrary, system: DefectSystem, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self._patterns = torch.from_numpy(library.patterns)
        self._targets = torch.from_numpy(library.targets)
        self._ranges = system.ranges
        axis = system.axis()
        s = 20 / system.instrument.wavelength_A * np.sin(np.deg2rad(axis) / 2)
        first = float(system.material.norm[0]) / system.material.a_nm
        self._s = torch.from_numpy((s / first).astype(np.float32))
        self._t = torch.linspace(-1, 1, axis.size)
        self._half_deg = (system.stop_deg - system.start_deg) / 2

    def batch(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return inputs (b, points), square roots of counts over their maximum, and targets (b, k)."""
        b = len(rows)
        clean = self._patterns[rows].float() ** 2
        amorphous = self._uniform(b, *self._ranges.amorphous)
        amorphous = amorphous * (self._uniform(b, 0, 1) > self._ranges.absent_share)
        hump = self._hump(b)
        scale = clean.sum(1) / hump.sum(1) * amorphous / (1 - amorphous)
        expected = clean + hump * scale[:, None]
        top = expected.max(1, keepdim=True).values
        expected = expected / top + self._background(b)
        if self._ranges.foreign > 0:
            expected = expected + self._foreign(b)
        counts = self._log_uniform(b, *self._ranges.counts)[:, None]
        # rounded normal deviates for Poisson ones: a tenth of the time, and alike from a few counts on
        mean = expected * counts
        noise = torch.randn(mean.shape, generator=self.generator)
        seen = (mean + mean.sqrt() * noise).round().clamp(min=0)
        targets = self._targets[rows].clone()
        targets[:, -1] = amorphous
        return (seen / seen.max(1, keepdim=True).values.clamp(min=1)).sqrt(), targets

    def _uniform(self, n: int, low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(n, generator=self.generator)

    def _log_uniform(self, n: int, low: float, high: float) -> torch.Tensor:
        return self._uniform(n, float(np.log(low)), float(np.log(high))).exp()

    def _hump(self, b: int) -> torch.Tensor:
        total = torch.zeros(b, len(self._s))
        for place, width, weight in _HUMPS:
            at = place * self._uniform(b, 0.96, 1.04)[:, None]
            wide = width * self._uniform(b, 0.7, 1.4)[:, None] / 2.355
            total += weight * torch.exp(-0.5 * ((self._s - at) / wide) ** 2)
        return total / self._s

    def _foreign(self, b: int) -> torch.Tensor:
        """Small peaks of something else, of the substrate say; each is there in half of the patterns."""
        total = torch.zeros(b, len(self._t))
        for _ in range(_FOREIGN):
            height = self._uniform(b, -self._ranges.foreign, self._ranges.foreign).clamp(min=0)[:, None]
            at = self._uniform(b, -1, 1)[:, None]
            wide = self._log_uniform(b, *_FOREIGN_FWHM_DEG)[:, None] / 2.355 / self._half_deg
            total += height * torch.exp(-0.5 * ((self._t - at) / wide) ** 2)
        return total

    def _background(self, b: int) -> torch.Tensor:
        """Level, slope and curvature, and a rise towards small angles."""
        level = self._log_uniform(b, *self._ranges.background)[:, None]
        slope, bend = (self._uniform(b, -0.4, 0.4)[:, None] for _ in range(2))
        rise = self._uniform(b, 0, 1)[:, None] * torch.exp(
            -(self._t + 1) / self._uniform(b, 0.1, 0.6)[:, None]
        )
        return level * (1 + slope * self._t + bend * (self._t**2 - 0.5) + rise)

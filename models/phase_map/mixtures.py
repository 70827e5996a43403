"""Training patterns mixed fresh at every step (torch): composition, unknowns, glass, background, counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from streamproc.models.phase_map.library import Library
from streamproc.models.powder.optics import brindley_tau

__all__ = ["PLAIN", "Batch", "MixSettings", "Mixer"]


_FEW = 6
_MOST_CONTRAST, _TAU_NODES = 1.0, 401
"""Beyond it Brindley calls particles coarse: no correction is trusted there, and no training either."""

_COUNTS = {False: (0.1, 0.25, 0.3, 0.35, 0.2, 0.1), True: (0.2, 0.3, 0.3, 0.15, 0.05)}
"""Odds of one, two, ... phases in a pattern, for systems of few phases and of many."""


@dataclass(frozen=True, slots=True)
class MixSettings:
    """How often what is mixed in.

    Attributes
    ----------
    unknown_share, amorphous_share : float
        Probability that a pattern holds an unknown or an amorphous material.
    only_unknown_share, only_amorphous_share, empty_share : float
        Probability that it holds nothing else, or nothing but background (counted as amorphous only).
    cut_share, hole_share : float
        Probability that an end of the axis is missing, and that regions inside are (module gaps, masks).
    trace_share : float
        Probability that one of several phases is a trace (0.3 to 5 % of the weight).
    contrast : float
        Standard deviation of the error of each phase's scale (occupancies, displacement parameters).
    """

    unknown_share: float = 0.5
    amorphous_share: float = 0.35
    only_unknown_share: float = 0.05
    only_amorphous_share: float = 0.03
    empty_share: float = 0.02
    cut_share: float = 0.5
    hole_share: float = 0.12
    trace_share: float = 0.3
    contrast: float = 0.02


PLAIN = MixSettings(0.0, 0.3, 0.0, 0.0, 0.0)
"""What the model is meant for: known phases with or without glass; sets out-of-domain limits."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs and truth; p phases, k points.

    Attributes
    ----------
    x : Tensor, shape (b, k)
        Network input.
    fractions : Tensor, shape (b, p)
        Weight fractions among the known phases.
    unknown : Tensor, shape (b,)
        Share of the unknown material in the crystalline intensity.
    amorphous : Tensor, shape (b,)
        Weight share of glass in glass and known phases.
    has_known : Tensor of bool, shape (b,)
        Whether there is anything to read fractions from.
    state : Tensor, shape (b, 3, p)
        Strain, ln of size and ln of March-Dollase r of each phase, whether it is there or not.
    """

    x: torch.Tensor
    fractions: torch.Tensor
    unknown: torch.Tensor
    amorphous: torch.Tensor
    has_known: torch.Tensor
    state: torch.Tensor


class Mixer:
    """Mixes a library's rows.

    Parameters
    ----------
    library : Library
        Phases rendered alone.
    seed : int
        Seed of everything drawn here.
    settings : MixSettings
        How often what is mixed in.
    """

    def __init__(self, library: Library, seed: int, settings: MixSettings | None = None) -> None:
        self.settings = settings or MixSettings()
        self.known = torch.from_numpy(library.known)
        self.height = torch.from_numpy(library.height)
        self.state_ = torch.from_numpy(library.state)
        self.unknown = torch.from_numpy(library.unknown)
        self.glass = torch.from_numpy(library.glass)
        self.area = torch.from_numpy(library.area)
        self.density = torch.from_numpy(library.density_g_cm3).float()
        self.absorption = torch.from_numpy(library.absorption_per_um).float()
        self.particle_um = tuple(map(float, library.particle_um))
        contrast = np.linspace(-_MOST_CONTRAST, _MOST_CONTRAST, _TAU_NODES)
        self.tau_ = torch.tensor([brindley_tau(c) for c in contrast]).float()
        self.place = torch.linspace(0, 1, len(library.axis))
        self.generator = torch.Generator().manual_seed(seed)

    def state(self) -> torch.Tensor:
        """Return the generator's state."""
        return self.generator.get_state()

    def restore(self, state: torch.Tensor) -> None:
        """Take the generator's state up again."""
        self.generator.set_state(state)

    def _uniform(self, *shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=self.generator)

    def _log_uniform(self, n: int, low: float, high: float) -> torch.Tensor:
        return torch.exp(self._uniform(n, 1) * (torch.tensor(high / low).log()) + torch.tensor(low).log())

    def batch(self, rows: torch.Tensor) -> Batch:
        """Mix one pattern per row.

        Parameters
        ----------
        rows : Tensor of int, shape (b,)
            Rows of the library.
        """
        n = len(rows)
        chosen, weights = self._composition(n)
        fractions = torch.zeros(n, self.known.shape[1]).scatter_(1, chosen, weights)
        unknown, amorphous, only_unknown = self._shares(n)
        crystal = self._crystal(rows, chosen, weights)
        glass = self.glass[torch.randint(len(self.glass), (n,), generator=self.generator)]
        glass = glass * torch.exp(0.15 * torch.randn(n, 1, generator=self.generator))
        total = (1 - amorphous)[:, None] * crystal + amorphous[:, None] * glass
        total = torch.where(only_unknown[:, None], torch.zeros_like(total), total)
        area = (1 - amorphous) * crystal.mean(1)
        odds = torch.where(only_unknown, crystal.mean(1), area * unknown / (1 - unknown).clamp(min=1e-3))
        foreign = self.unknown[rows].float()
        total = total + (odds / foreign.mean(1))[:, None] * foreign
        empty = (amorphous > 0.98) & (self._uniform(n) < self._empty_odds())
        total = torch.where(empty[:, None], torch.full_like(total, 1e-30), total)
        has_known = ~only_unknown & (amorphous < 0.98)
        x = self._detect(total, self.area[rows], empty)
        share = torch.where(only_unknown, torch.ones(n), unknown)
        return Batch(x, fractions, share, amorphous, has_known, self.state_[rows])

    def _crystal(self, rows: torch.Tensor, chosen: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Sum of the chosen phases; their scales are wrong by a little."""
        shape = weights.shape
        scale = weights * torch.exp(self.settings.contrast * torch.randn(shape, generator=self.generator))
        scale = scale * self._tau(chosen, weights)
        scale = scale * self.height[rows[:, None], chosen]
        parts = self.known[rows[:, None], chosen].float()
        return torch.bmm(scale[:, None, :], parts)[:, 0]

    def _tau(self, chosen: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Absorption factor of each chosen phase, shape (n, m), with particles of its own size.

        Those that absorb more than the mixture (mean by volume, glass left out) show less of themselves
        (Brindley 1945, Phil. Mag. 36, 347).
        """
        low, high = self.particle_um
        radius = low * (high / low) ** self._uniform(*weights.shape)
        own, volume = self.absorption[chosen], weights / self.density[chosen]
        mean = (volume * own).sum(1, keepdim=True) / volume.sum(1, keepdim=True)
        contrast = ((own - mean) * radius).clamp(-_MOST_CONTRAST, _MOST_CONTRAST)
        at = (contrast + _MOST_CONTRAST) * ((_TAU_NODES - 1) / (2 * _MOST_CONTRAST))
        left = at.floor().long().clamp(max=_TAU_NODES - 2)
        return torch.lerp(self.tau_[left], self.tau_[left + 1], at - left)

    def _composition(self, n: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw up to five phases and their weights, shape (n, m): even, sharper, or with a trace."""
        phases = self.known.shape[1]
        most = min(phases, len(_COUNTS[phases > _FEW]))
        chosen = self._uniform(n, phases).argsort(1)[:, :most]
        weights = -torch.log(self._uniform(n, most).clamp(min=1e-9))
        sharper = self._uniform(n, 1) < 0.25
        weights = torch.where(sharper, weights**2, weights)
        odds = torch.tensor(_COUNTS[phases > _FEW][:most])
        count = torch.multinomial(odds, n, True, generator=self.generator) + 1
        weights = weights * (torch.arange(most) < count[:, None])
        trace = (self._uniform(n) < self.settings.trace_share) & (count > 1)
        amount = self._log_uniform(n, 0.003, 0.05)[:, 0]
        rest = weights[:, 1:].sum(1)
        weights[:, 0] = torch.where(trace, rest * amount / (1 - amount), weights[:, 0])
        return chosen, weights / weights.sum(1, keepdim=True)

    def _shares(self, n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        s = self.settings
        draw = self._uniform(n)
        unknown = torch.where(draw < s.unknown_share, self._uniform(n) ** 1.5 * 0.98, torch.zeros(n))
        only_unknown = draw < s.only_unknown_share
        draw = self._uniform(n)
        amorphous = torch.where(draw < s.amorphous_share, self._uniform(n) * 0.95, torch.zeros(n))
        only_amorphous = (draw < s.only_amorphous_share + s.empty_share) & ~only_unknown
        amorphous = torch.where(only_amorphous, torch.ones(n), amorphous)
        amorphous = torch.where(only_unknown, torch.zeros(n), amorphous)
        unknown = torch.where(only_amorphous, torch.zeros(n), unknown)
        return unknown, amorphous, only_unknown

    def _empty_odds(self) -> float:
        s = self.settings
        return s.empty_share / max(1e-9, s.empty_share + s.only_amorphous_share)

    def _detect(self, total: torch.Tensor, area: torch.Tensor, empty: torch.Tensor) -> torch.Tensor:
        """Background, counting noise (rounded normal: Poisson but for means below five), missing parts."""
        n = len(total)
        peak = total.max(1, keepdim=True).values
        total = torch.where(empty[:, None], torch.zeros_like(total), total / peak) + self._background(n)
        total = total / total.max(1, keepdim=True).values
        counts = torch.where(area[:, None], self._log_uniform(n, 3e3, 3e6), self._log_uniform(n, 300.0, 5e4))
        pixel = 1 + torch.where(area[:, None], 0.006, 0.0) * torch.randn(
            total.shape, generator=self.generator
        )
        mean = total * pixel.clamp(min=0.5) * counts
        noisy = mean + mean.sqrt() * torch.randn(total.shape, generator=self.generator)
        noisy = noisy.round_().clamp_(min=0)
        x = torch.sqrt(noisy) * self._window(n) * self._holes(n)
        return x / x.max(1, keepdim=True).values.clamp(min=1e-6)

    def _background(self, n: int) -> torch.Tensor:
        """Constant, air scatter falling with angle, and a slow wave; 0.2 to 50 % of the highest peak."""
        t = self.place[None, :]
        level = self._log_uniform(n, 0.001, 0.5)
        air = 1.5 * self._uniform(n, 1) ** 2 * torch.exp(-t / self._log_uniform(n, 0.1, 0.5))
        air = air + 0.5 * self._uniform(n, 1) ** 4 * torch.exp(-t / 0.04)
        phase = 6.2832 * self._uniform(n, 1)
        wave = 0.2 * self._uniform(n, 1) * torch.sin(phase + (1 + 3 * self._uniform(n, 1)) * t)
        slope = (self._uniform(n, 1) - 0.5) * t
        return level * (1 + air + wave + slope).clamp(min=0.05)

    def _window(self, n: int) -> torch.Tensor:
        """Zero what a shorter scan would not have measured: up to an eighth before, three eighths behind."""
        cut = self._uniform(n, 2) < self.settings.cut_share
        first = torch.where(cut[:, :1], 0.125 * self._uniform(n, 1), torch.full((n, 1), -1.0))
        last = torch.where(cut[:, 1:], 0.625 + 0.375 * self._uniform(n, 1), torch.full((n, 1), 2.0))
        return ((self.place >= first) & (self.place <= last)).float()

    def _holes(self, n: int) -> torch.Tensor:
        """Zero up to three regions of at most 3 % of the axis."""
        kept = torch.ones(n, len(self.place), dtype=torch.bool)
        some = self._uniform(n, 1) < self.settings.hole_share
        for _ in range(3):
            centre, half = self._uniform(n, 1), 0.015 * self._uniform(n, 1)
            used = some & (self._uniform(n, 1) < 0.7)
            kept &= ~(used & ((self.place - centre).abs() < half))
        return kept.float()

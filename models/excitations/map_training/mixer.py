"""Spoil rendered maps as an instrument would: counts, background, spurious scattering, gaps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from streamproc.models.excitations.mapmodel.tables import MeasurementTable
from streamproc.models.excitations.maps.channels import BINS, SMOOTHING, smoothing_matrix
from streamproc.models.excitations.maps.inputs import FEWEST_COLUMNS, RELATIVE, SHARPNESS
from streamproc.models.excitations.maps.library import Library

__all__ = ["Mixed", "Mixer"]

_WHOLE, _PREFIX = 0.5, 0.3
"""Shares of maps with all columns, and with the first ones (a scan under way); the rest has some columns."""


@dataclass(frozen=True, slots=True)
class Mixed:
    """A batch.

    Attributes
    ----------
    x : Tensor, shape (b, layout.width)
        Inputs.
    unit : Tensor, shape (b, p)
        True places in the prior.
    counts, sigma, measured : Tensor, shape (b, n, m)
        The spoiled maps themselves.
    rows : Tensor, shape (b,)
        Rows of the library.
    """

    x: torch.Tensor
    unit: torch.Tensor
    counts: torch.Tensor
    sigma: torch.Tensor
    measured: torch.Tensor
    rows: torch.Tensor


class Mixer:
    """Makes batches of spoiled maps from a library.

    Parameters
    ----------
    library : Library
        Rendered maps.
    table : MeasurementTable
        Ranges of counts and background.
    seed : int
        Of everything random in it.
    first : float
        Energy of the first channel over the window's end, and so the steps of the axis.
    stop : float
        The window's end, in the unit of the library's widths.
    """

    def __init__(
        self, library: Library, table: MeasurementTable, seed: int, first: float = 0.0, stop: float = 1.0
    ) -> None:
        self.units = torch.tensor(library.units).float()
        self.signal = torch.from_numpy(library.signal)
        self.bins, self.weights = torch.from_numpy(library.bins), torch.from_numpy(library.weights)
        self.look = torch.from_numpy(library.look)
        self.unit = torch.from_numpy(library.unit)
        self.fwhm = torch.from_numpy(library.fwhm) / stop
        self.counts, self.background = table.counts, table.background
        self.generator = torch.Generator().manual_seed(seed)
        m = self.signal.shape[2]
        self.smooth = [torch.tensor(smoothing_matrix(m, s)).float() for s in SMOOTHING]
        self.energy = first + (1 - first) * (torch.arange(m) + 0.5) / m

    def batch(self, rows: torch.Tensor) -> Mixed:
        """Spoil some maps afresh."""
        signal = self.signal[rows]
        strength = self._log(len(rows), *self.counts)[:, None, None]
        bare = self._background(signal.shape, rows) + self._spurious(signal.shape)
        expected = strength * (self._seen(signal) + bare).clamp(min=0) + 1e-3
        counts = self._noisy(expected)
        sigma = counts.clamp(min=1.0).sqrt() * torch.exp(0.1 * self._normal(len(rows), 1, 1))
        gain = torch.exp(0.5 * self._normal(len(rows), 1, 1)) / strength
        subtracted = counts - (self._uniform(len(rows), 1, 1) < 0.15) * strength * bare.mean(1, keepdim=True)
        measured = self._measured(signal.shape)
        y, sigma = subtracted * gain, sigma * gain
        x = self._input(y, sigma, measured, rows)
        return Mixed(x, self.unit[rows], y, sigma, measured, rows)

    def state(self) -> torch.Tensor:
        """Return the generator's state."""
        return self.generator.get_state()

    def restore(self, state: torch.Tensor) -> None:
        """Take up a generator's state."""
        self.generator.set_state(state)

    # -- nuisances ----------------------------------------------------------------------------------------

    def _seen(self, signal: torch.Tensor) -> torch.Tensor:
        """Intensities as an instrument distorts them: a tilt in energy, gains of columns."""
        b, n, _ = signal.shape
        tilt = torch.exp(1.2 * self._centred(b, 1, 1) * (self.energy - 0.5))
        gain = torch.exp(0.08 * self._normal(b, n, 1))
        return signal * tilt * gain

    def _background(self, shape: torch.Size, rows: torch.Tensor) -> torch.Tensor:
        b, n, m = shape
        level = self._log(b, *self.background)[:, None, None]
        decay = self._log(b, 0.06, 0.6)[:, None, None]
        flat = self._uniform(b, 1, 1)
        falling = torch.exp(-(self.energy - 0.5) / decay).clamp(max=60.0)
        walk = torch.cumsum(0.06 * self._normal(b, n, 1), 1)
        common = (
            level
            * (flat + (1 - flat) * falling)
            * torch.exp((walk - walk.mean(1, keepdim=True)).clamp(-1, 1))
        )
        width = (self.fwhm[rows, None, None] / 2.3548).clamp(min=0.5 / m)
        elastic = self._log(b, 0.3, 300.0)[:, None, None] * torch.exp(-0.5 * (self.energy / width) ** 2)
        return common + elastic

    def _spurious(self, shape: torch.Size) -> torch.Tensor:
        """Flat lines (an optic phonon, the sample holder), a band of no mode, a line across, a spot."""
        b, n, _m = shape
        place, energy = (torch.arange(n) / n)[None, :, None], self.energy
        total = torch.zeros(shape)
        width = self._log(b, 0.012, 0.05)[:, None, None]
        level = self._uniform(b, 1, 1)
        swing = 0.3 * self._uniform(b, 1, 1) * torch.sin(12 * self._uniform(b, 1, 1) * place + 6 * level)
        shapes = (
            energy - 0.7 * level + 0 * place,
            energy - (0.5 * level + swing.abs()),
            energy - (level + 3 * self._centred(b, 1, 1) * (place - 0.5)),
        )
        for share, away in zip((0.35, 0.25, 0.15), shapes, strict=True):
            amount = self._log(b, 0.05, 1.0)[:, None, None] * (self._uniform(b, 1, 1) < share)
            total = total + amount * torch.exp(-0.5 * (away / width) ** 2)
        spot = ((place - self._uniform(b, 1, 1)) / 0.04) ** 2 + (
            (energy - self._uniform(b, 1, 1)) / 0.03
        ) ** 2
        amount = self._log(b, 0.3, 30.0)[:, None, None] * (self._uniform(b, 1, 1) < 0.2)
        return total + amount * torch.exp(-0.5 * spot)

    def _noisy(self, expected: torch.Tensor) -> torch.Tensor:
        return torch.poisson(expected, generator=self.generator)

    def _measured(self, shape: torch.Size) -> torch.Tensor:
        """What is measured: columns that came, energies above a start, below an end that changes with Q."""
        b, n, _m = shape
        place, energy = (torch.arange(n) / n)[None, :, None], self.energy
        start = 0.45 * self._uniform(b, 1, 1) ** 1.5 * (self._uniform(b, 1, 1) < 0.8)
        wedge = self._uniform(b, 1, 1) < 0.3
        bend = 1 + torch.where(wedge, 1.6 * self._centred(b, 1, 1) * (place - 0.5) - 0.3, 0.0)
        keep = (energy >= start) & (energy <= bend)
        dead = (place - self._uniform(b, 1, 1)).abs() < 0.06 * self._uniform(b, 1, 1)
        cut = self._uniform(b, 1, 1) < 0.3
        keep = keep & ~(cut & dead & (energy > self._uniform(b, 1, 1) - 0.3))
        return keep & self._columns(b, n)[:, :, None]

    def _columns(self, b: int, n: int) -> torch.Tensor:
        kind = self._uniform(b, 1)
        number = torch.arange(n)[None]
        most = torch.ceil(n * self._uniform(b, 1) ** 1.5).clamp(min=2)
        prefix = number < most
        rank = torch.argsort(torch.argsort(self._uniform(b, n), 1), 1)
        some = rank < most
        return torch.where(kind < _WHOLE, True, torch.where(kind < _WHOLE + _PREFIX, prefix, some))

    # -- the input, as inputs.Preparer makes it
    # ---------------------------------------------------------------

    def _input(
        self, y: torch.Tensor, sigma: torch.Tensor, measured: torch.Tensor, rows: torch.Tensor
    ) -> torch.Tensor:
        _b, n, _ = y.shape
        mask = measured.float()
        level, noise = _common_level(y, sigma, measured)
        found = 2 * torch.asinh((y - level[:, None]) / (2 * sigma)) * mask
        any_seen = measured.any(1)
        ratio = (_middle(noise, any_seen)[:, None, None] / sigma).clamp(0.05, 20.0) * mask
        shared = self.bins.shape[1] == 1
        sums = self._sums_of_all if shared else self._sums_of_few
        parts: list[torch.Tensor] = []
        guesses: list[torch.Tensor] = []
        for smooth in self.smooth:
            near = ((found * ratio) @ smooth).flatten(1)
            amount = (ratio.square() @ smooth.square()).flatten(1)
            total, square = sums(near, amount, n, rows)
            significance = total / torch.sqrt(square + 1e-3)
            parts += [torch.asinh(significance), _relative(significance) if shared else torch.log1p(square)]
            guesses += self._guesses(significance)
        columns = torch.log1p(measured.any(2).sum(1, keepdim=True).float())
        seen = any_seen.float()
        background = _shape(level, seen) if shared else torch.asinh(level / (2 * noise)) * seen
        return torch.cat([*parts, columns, background, seen, *guesses], 1)

    def _sums_of_few(
        self, near: torch.Tensor, amount: torch.Tensor, n: int, rows: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Sums over the few places at which each trial looks, in columns that each map has for itself."""
        looks = self.look[rows]
        bins, weights = self.bins[looks].long(), self.weights[looks].float()
        column = torch.arange(n).repeat_interleave(bins.shape[2] // n)
        flat = (column * (BINS + 1) + bins).flatten(1)
        seen, noise = (v.gather(1, flat).reshape(weights.shape) for v in (near, amount))
        return (weights * seen).sum(2), (weights.square() * noise).sum(2)

    def _sums_of_all(
        self, near: torch.Tensor, amount: torch.Tensor, n: int, rows: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Sums over places that all trials look at: a product for each set of columns."""
        total = torch.zeros(len(rows), self.weights.shape[1])
        square, looks = torch.zeros_like(total), self.look[rows]
        for k in looks.unique():
            chosen = looks == k
            bins, weights = self.bins[k, 0].long(), self.weights[k].float().T
            flat = torch.arange(n).repeat_interleave(len(bins) // n) * (BINS + 1) + bins
            total[chosen] = near[chosen][:, flat] @ weights
            square[chosen] = amount[chosen][:, flat] @ weights.square()
        return total, square

    def _guesses(self, significance: torch.Tensor) -> list[torch.Tensor]:
        best = significance.max(1, keepdim=True).values.clamp(min=1e-3)
        found = []
        for sharpness in SHARPNESS:
            weight = torch.softmax(sharpness * (significance / best - 1), 1)
            mean = weight @ self.units
            found += [mean, (weight @ self.units.square() - mean.square()).clamp(min=0).sqrt()]
        return found

    # -- random numbers
    # ---------------------------------------------------------------------------------------

    def _uniform(self, *shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=self.generator)

    def _centred(self, *shape: int) -> torch.Tensor:
        return 2 * self._uniform(*shape) - 1

    def _normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self.generator)

    def _log(self, n: int, low: float, high: float) -> torch.Tensor:
        return low * (high / low) ** self._uniform(n)


def _relative(significance: torch.Tensor) -> torch.Tensor:
    best = significance.max(1, keepdim=True).values.clamp(min=1e-3)
    return (RELATIVE * (significance / best - 1)).clamp(-3.0, 0.0)


def _shape(level: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
    number = seen.sum(1, keepdim=True).clamp(min=1)
    away = (level - (level * seen).sum(1, keepdim=True) / number) * seen
    return away / ((away.square()).sum(1, keepdim=True) / number + 1e-12).sqrt()


def _common_level(
    y: torch.Tensor, sigma: torch.Tensor, measured: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    count = measured.sum(1)
    at = ((count - 1).clamp(min=0) // 2)[:, None]
    infinite = torch.tensor(float("inf"))
    ordered = torch.sort(torch.where(measured, y, infinite), 1).values
    median = ordered.gather(1, at)[:, 0]
    least = torch.sort(ordered[:, 0], 1).values  # infinite where nothing is measured, and so last
    usual = least.gather(1, ((count > 0).sum(1, keepdim=True) - 1).clamp(min=0) // 2)
    lowest = torch.minimum(ordered[:, 0], usual)
    level = torch.where(count >= FEWEST_COLUMNS, median, lowest)
    level = torch.where(count > 0, level, 0.0)
    noise = (sigma * measured).sum(1) / count.clamp(min=1)
    return level, torch.where(count > 0, noise, 1.0)


def _middle(values: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Median of what is kept in each row; the lower of two middles."""
    ordered = torch.sort(torch.where(kept, values, torch.tensor(float("inf"))), 1).values
    at = (kept.sum(1, keepdim=True) - 1).clamp(min=0) // 2
    return ordered.gather(1, at)[:, 0]

"""What the network reads of a map: how well each trial of the bank explains it, and the background."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.mapmodel.case import MapCase
from streamproc.models.excitations.maps.channels import BINS, SMOOTHING, channels_of, smoothing_matrix
from streamproc.models.excitations.maps.container import SqeMap, averaged
from streamproc.models.excitations.maps.kinds import physics_of

from streamproc.errors import FrameFailed

__all__ = [
    "FEWEST_COLUMNS",
    "RELATIVE",
    "SHARPNESS",
    "Layout",
    "Prepared",
    "Preparer",
    "common_level",
    "rebinned",
]

Array = npt.NDArray[np.float64]

SHARPNESS = (6.0, 25.0, 100.0)
"""Weights of trials are exp(sharpness (significance / best - 1))."""

RELATIVE = 10.0
"""Trials that look at the same places differ by a few per cent: the network reads so many times that."""

_APART = 0.08
"""Trials whose places are nearer than this are one."""

FEWEST_COLUMNS = 4
"""Background common to all columns is told from magnons only with so many of them in a channel."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things lie in the flat input of t trials, m channels.

    For each smoothing t significances and t amounts of what was measured there (where all trials look at the
    same places: how far each is behind the best); the logarithm of the number of columns; m background values
    (their shape, where trials share places) and m flags (measured); then for each smoothing and each
    sharpness mean and standard deviation of the p places in the prior, over trials weighted by how near their
    significance is to the best one.
    """

    trials: int
    channels: int
    parameters: int

    @property
    def width(self) -> int:
        """Numbers of the whole input."""
        return self.estimates + 2 * len(SMOOTHING) * len(SHARPNESS) * self.parameters

    @property
    def estimates(self) -> int:
        """Where the means begin."""
        return 2 * len(SMOOTHING) * self.trials + 1 + 2 * self.channels

    @property
    def guess(self) -> int:
        """Where the p means begin that are nearest to the answer: fine smoothing, middle sharpness."""
        return self.estimates + 2 * self.parameters


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A map made ready.

    Attributes
    ----------
    x : ndarray of float32, shape (layout.width,)
        The network's input.
    coarse : SqeMap
        The map on the model's channels and no more columns than it takes, energies in the model's unit.
    unit_meV : float
        One unit of the model's energy, in meV.
    coverage : float
        Measured cells over all cells of the columns that are there.
    """

    x: npt.NDArray[np.float32] = field(repr=False)
    coarse: SqeMap = field(repr=False)
    unit_meV: float
    coverage: float


class Preparer:
    """Makes inputs for one model.

    Parameters
    ----------
    case : MapCase
        Model.
    """

    def __init__(self, case: MapCase) -> None:
        self.case, self.bank = case, physics_of(case).trials()
        self.layout = Layout(self.bank.size, case.file.energy.channels, len(case.parameters.free))
        self._looked: tuple[bytes, npt.NDArray[np.uint8], Array, Array] | None = None
        self._smooth = [smoothing_matrix(self.layout.channels, s) for s in SMOOTHING]

    def prepare(self, measured: SqeMap) -> Prepared:
        """Bring a map to the model's unit of energy, channels and number of columns, and look at it.

        Raises
        ------
        FrameFailed
            Nothing of it lies in the model's energy window.
        """
        table = self.case.file.energy
        unit = window_end(measured) / table.stop if table.scale_free else 1.0
        scaled = averaged(measured.scaled(1 / unit), self.case.file.q.columns)
        coarse = rebinned(scaled, channels_of(self.case))
        if not coarse.measured.any():
            raise FrameFailed(
                f"nothing of the map lies between {table.start:g} and {table.stop:g} meV, the model's "
                f"window; its energies go from {measured.energy_meV[0]:g} to {measured.energy_meV[-1]:g} meV"
            )
        coarse = coarse.columns(coarse.measured.any(1))
        return Prepared(self.input_of(coarse), coarse, unit, float(coarse.measured.mean()))

    def input_of(self, coarse: SqeMap) -> npt.NDArray[np.float32]:
        """Return the flat input of a map on the model's channels."""
        bins, w, w2 = self._look(coarse.q_rlu)
        n = len(coarse.q_rlu)
        mask = coarse.measured.astype(float)
        level, noise = common_level(coarse.intensity, coarse.sigma, coarse.measured)
        found = 2 * np.arcsinh((coarse.intensity - level) / (2 * coarse.sigma)) * mask
        any_seen = coarse.measured.any(0)
        ordered = np.sort(np.where(any_seen, noise, np.inf))
        usual = ordered[max(int(any_seen.sum()) - 1, 0) // 2]
        ratio = np.clip(usual / coarse.sigma, 0.05, 20.0) * mask
        rows = np.repeat(np.arange(n), bins.shape[1] // n)
        flat = (rows * (BINS + 1) + bins).astype(np.int64)
        parts, guesses = [], []
        for smooth in self._smooth:
            near = ((found * ratio) @ smooth).ravel()[flat]
            amount = (ratio**2 @ smooth**2).ravel()[flat]
            if self.bank.shared:
                total, square = w @ near[0], w2 @ amount[0]
            else:
                total, square = (w * near).sum(1), (w2 * amount).sum(1)
            significance = total / np.sqrt(square + 1e-3)
            beside = self._relative(significance) if self.bank.shared else np.log1p(square)
            parts += [np.arcsinh(significance), beside]
            guesses += self._guesses(significance)
        background = np.arcsinh(level / (2 * noise)) * any_seen
        if self.bank.shared:
            background = _shape(level, any_seen)
        return np.concatenate([*parts, [np.log1p(n)], background, any_seen, *guesses]).astype(np.float32)

    def _look(self, q_rlu: Array) -> tuple[npt.NDArray[np.uint8], Array, Array]:
        """Where the bank looks, its weights and their squares; those of the last columns are kept.

        The map of a run grows on the same columns.
        """
        key, known = q_rlu.tobytes(), self._looked
        if known is None or known[0] != key:
            bins, weights = self.bank.look(q_rlu)
            w = weights.astype(float)
            known = self._looked = (key, bins, w, w**2)
        return known[1:]

    def best_trials(self, prepared: Prepared, most: int = 4) -> list[Array]:
        """Return the places of the trials that explain most, each apart from those before it."""
        t = self.layout.trials
        found: list[Array] = []
        for first in range(0, 2 * len(self._smooth) * t, 2 * t):
            for k in np.argsort(-prepared.x[first : first + t], kind="stable")[: most // 2]:
                place = self.bank.units[k]
                if all(np.abs(place - f).max() > _APART for f in found):
                    found.append(place)
        return found

    @staticmethod
    def _relative(significance: Array) -> Array:
        """How far each trial is behind the best one, in steps that a network feels."""
        best = max(float(significance.max()), 1e-3)
        return np.asarray(np.clip(RELATIVE * (significance / best - 1), -3.0, 0.0))

    def _guesses(self, significance: Array) -> list[Array]:
        """Mean and standard deviation of the trials' places, for each sharpness."""
        best = max(float(significance.max()), 1e-3)
        found = []
        for sharpness in SHARPNESS:
            power = sharpness * (significance / best - 1)
            weight = np.exp(power - power.max())
            weight /= weight.sum()
            mean = weight @ self.bank.units
            found += [mean, np.sqrt(np.maximum(weight @ self.bank.units**2 - mean**2, 0.0))]
        return found


def _shape(level: Array, seen: npt.NDArray[np.bool_]) -> Array:
    """Return a spectrum less its mean, over its standard deviation: a density of states knows no scale."""
    number = max(int(seen.sum()), 1)
    away = np.where(seen, level - (level * seen).sum() / number, 0.0)
    return np.asarray(away / np.sqrt((away**2).sum() / number + 1e-12))


def window_end(measured: SqeMap) -> float:
    """Return the highest energy that was measured anywhere, to the end of its channel."""
    at = int(np.flatnonzero(measured.measured.any(0))[-1])
    return float(measured.energy_meV[at] + np.median(np.diff(measured.energy_meV)) / 2)


def rebinned(measured: SqeMap, channels: Array) -> SqeMap:
    """Average a map into equidistant channels; finer ones take what covers them.

    A channel counts as measured where half of it is.
    """
    step = channels[1] - channels[0]
    edges = np.append(channels - step / 2, channels[-1] + step / 2)
    e = measured.energy_meV
    middle = (e[1:] + e[:-1]) / 2
    own = np.concatenate([[e[0] - (middle[0] - e[0])], middle, [e[-1] + (e[-1] - middle[-1])]])
    low, high = np.maximum(own[:-1, None], edges[None, :-1]), np.minimum(own[1:, None], edges[None, 1:])
    overlap = np.maximum(high - low, 0.0) / step
    seen = measured.measured.astype(float)
    share = seen @ overlap
    safe = np.maximum(share, 1e-12)
    y = (measured.intensity * seen) @ overlap / safe
    # a cell that is wider than a channel gives its whole noise to each of the channels it covers
    wide = np.minimum((own[1:] - own[:-1]) / step, 1.0)[:, None]
    sigma = np.sqrt((measured.sigma**2 * seen) @ (overlap * wide) / safe)
    good = share > 0.5
    return SqeMap(measured.q_rlu, channels, np.where(good, y, 0.0), np.where(good, sigma, 1.0), good)


def common_level(y: Array, sigma: Array, measured: npt.NDArray[np.bool_]) -> tuple[Array, Array]:
    """Return the median over columns in every channel (the lower of two middles), and the mean noise.

    With fewer than four columns in a channel its level is the least of them, but at most the median over
    channels of such least values: so a single spectrum keeps its peaks.
    """
    count = measured.sum(0)
    at = np.maximum(count - 1, 0) // 2
    rows = np.arange(y.shape[1])
    ordered = np.sort(np.where(measured, y, np.inf), 0)
    median = np.where(count > 0, ordered[at, rows], 0.0)
    least = np.sort(np.where(count > 0, ordered[0], np.inf))
    usual = float(least[max(int((count > 0).sum()) - 1, 0) // 2])
    level = np.where(count >= FEWEST_COLUMNS, median, np.where(count > 0, np.minimum(ordered[0], usual), 0.0))
    mean = np.where(measured, sigma, 0.0).sum(0) / np.maximum(count, 1)
    return level, np.where(count > 0, mean, 1.0)

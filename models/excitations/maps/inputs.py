"""What the network reads: columns in units of their noise, where they lie, and the background of all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.maps.container import SqeMap, averaged
from streamproc.models.excitations.maps.library import channels_of
from streamproc.models.excitations.maps.places import phases_of
from streamproc.models.excitations.spinmodel.case import SpinCase

from streamproc.errors import FrameFailed

__all__ = ["FEWEST_COLUMNS", "Layout", "Prepared", "layout_of", "prepare", "rebinned", "to_input"]

Array = npt.NDArray[np.float64]

FEWEST_COLUMNS = 4
"""Background common to all columns is told from magnons only with so many of them in a channel."""

_SOFT = 2.0
"""asinh(x / 2) of signal over noise: linear in the noise, logarithmic above."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things lie in the flat input of n columns, m channels, f phases.

    For each column m values, m flags (measured), f phases and a flag (there); then m background values and m flags.
    """

    columns: int
    channels: int
    phases: int

    @property
    def per_column(self) -> int:
        """Numbers of one column."""
        return 2 * self.channels + self.phases + 1

    @property
    def width(self) -> int:
        """Numbers of the whole input."""
        return self.columns * self.per_column + 2 * self.channels


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

    x: npt.NDArray[np.float32]
    coarse: SqeMap
    unit_meV: float
    coverage: float


def layout_of(case: SpinCase) -> Layout:
    """Return the layout of a model's input."""
    return Layout(case.file.q.columns, case.file.energy.channels, phases_of(case, np.zeros((1, 3))).shape[1])


def prepare(case: SpinCase, measured: SqeMap) -> Prepared:
    """Bring a map to the model's unit of energy, channels and number of columns.

    Raises
    ------
    FrameFailed
        Nothing of it lies in the model's energy window.
    """
    table = case.file.energy
    unit = _window_end(measured) / table.stop if table.scale_free else 1.0
    scaled = averaged(measured.scaled(1 / unit), table_columns(case))
    coarse = rebinned(scaled, channels_of(case))
    if not coarse.measured.any():
        raise FrameFailed(
            f"nothing of the map lies between {table.start:g} and {table.stop:g} meV, the model's window; "
            f"its energies go from {measured.energy_meV[0]:g} to {measured.energy_meV[-1]:g} meV"
        )
    there = coarse.measured.any(1)
    coarse = coarse.columns(there)
    x = to_input(case, coarse)
    return Prepared(x, coarse, unit, float(coarse.measured.mean()))


def table_columns(case: SpinCase) -> int:
    """Return how many columns the model takes."""
    return case.file.q.columns


def _window_end(measured: SqeMap) -> float:
    """Highest energy that was measured anywhere, to the end of its channel."""
    at = int(np.flatnonzero(measured.measured.any(0))[-1])
    return float(measured.energy_meV[at] + np.median(np.diff(measured.energy_meV)) / 2)


def rebinned(measured: SqeMap, channels: Array) -> SqeMap:
    """Average a map into equidistant channels; where they are finer than the map's, interpolate.

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
    sigma = np.sqrt((measured.sigma**2 * seen) @ (overlap * np.minimum(overlap, 1.0)) / safe**2)
    good = share > 0.5
    return SqeMap(measured.q_rlu, channels, np.where(good, y, 0.0), np.where(good, sigma, 1.0), good)


def to_input(case: SpinCase, coarse: SqeMap) -> npt.NDArray[np.float32]:
    """Return the flat input of a map on the model's channels."""
    layout = layout_of(case)
    n = len(coarse.q_rlu)
    columns = np.zeros((layout.columns, layout.per_column), np.float32)
    mask = coarse.measured.astype(np.float32)
    level, noise = common_level(coarse.intensity, coarse.sigma, coarse.measured)
    m = layout.channels
    columns[:n, :m] = np.arcsinh((coarse.intensity - level) / (_SOFT * coarse.sigma)) * mask
    columns[:n, m : 2 * m] = mask
    columns[:n, 2 * m : -1] = phases_of(case, coarse.q_rlu)
    columns[:n, -1] = 1.0
    any_seen = coarse.measured.any(0)
    background = np.arcsinh(level / (_SOFT * noise)) * any_seen
    return np.concatenate([columns.ravel(), background, any_seen]).astype(np.float32)


def common_level(y: Array, sigma: Array, measured: npt.NDArray[np.bool_]) -> tuple[Array, Array]:
    """Return the median over columns in every channel, and the median noise; the lower of two middles.

    With fewer than four columns in a channel its level is the least of them, but at most the median over channels of
    such least values: so a single spectrum keeps its peaks.
    """
    count = measured.sum(0)
    at = np.maximum(count - 1, 0) // 2
    rows = np.arange(y.shape[1])
    ordered = np.sort(np.where(measured, y, np.inf), 0)
    median = np.where(count > 0, ordered[at, rows], 0.0)
    least = np.sort(np.where(count > 0, ordered[0], np.inf))
    usual = float(least[max(int((count > 0).sum()) - 1, 0) // 2])
    level = np.where(count >= FEWEST_COLUMNS, median, np.where(count > 0, np.minimum(ordered[0], usual), 0.0))
    noise = np.where(count > 0, np.sort(np.where(measured, sigma, np.inf), 0)[at, rows], 1.0)
    return level, noise

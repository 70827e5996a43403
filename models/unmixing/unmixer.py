"""Unmixer: patterns come one by one; components, their number, activations and shifts so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree
from streamproc.models.unmixing.basis import Basis, Unmixed
from streamproc.models.unmixing.factorise import Options, activations_of, factorise
from streamproc.models.unmixing.floor import subtract_floor
from streamproc.models.unmixing.grid import Grid
from streamproc.models.unmixing.number import Candidate, Estimated, estimate_number
from streamproc.models.unmixing.rows import Rows
from streamproc.models.unmixing.settings import UnmixingSettings
from streamproc.models.unmixing.store import PatternStore

__all__ = ["NumberEstimate", "Unmixed", "Unmixer", "UnmixerSettings", "settings_on"]

Array = npt.NDArray[np.float64]

_COUNTS = 1000.0
"""Patterns are scaled to this maximum before the floor is found: its transform is not linear."""


_REFINING = 8
"""Rounds on all channels, begun with what was found on fewer."""


@dataclass(frozen=True, slots=True)
class UnmixerSettings:
    """How patterns are taken apart; the memory and the time that it may take.

    Attributes
    ----------
    reach : int
        Largest shift of a component from pattern to pattern (channels); 0: none.
    floor_width : int
        Half-width of the widest feature that is a peak and not the floor (channels); 0: no floor is
        subtracted.
    most_components : int
        Largest number tried.
    runs : int
        Factorisations per number that must agree.
    smoothness : float
        Neighbours on the map count as so many more measurements of a pattern's activations; 0: not at all.
    sum_to_one : bool
        Patterns are scaled to unit area and activations drawn to the sum 1.
    most_patterns : int
        Patterns kept; beyond, the most alike are joined.
    number_patterns, number_channels : int
        At most so many patterns and channels count in the estimate of the number.
    first, growth : int, float
        The first estimate comes after ``first`` patterns, the next when there are ``growth`` times as many.
    most_points : int
        Points whose activations are kept.
    seed : int
        Of everything random.
    """

    reach: int = 16
    floor_width: int = 30
    most_components: int = 8
    runs: int = 4
    smoothness: float = 0.0
    sum_to_one: bool = False
    most_patterns: int = 192
    number_patterns: int = 96
    number_channels: int = 320
    first: int = 8
    growth: float = 1.3
    most_points: int = 20_000
    seed: int = 0


def settings_on(grid: Grid, table: UnmixingSettings) -> UnmixerSettings:
    """Return an analysis's settings in the channels of its grid (even in ln q: shifts are strains)."""
    reach = min(round(table.strain_reach / grid.step), grid.points // 8)
    return UnmixerSettings(
        reach=reach, floor_width=int(table.floor_width * grid.points), most_components=table.most_components,
        smoothness=table.smoothness, sum_to_one=table.sum_to_one, most_patterns=table.most_patterns,
        seed=table.seed,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class NumberEstimate:
    """The number of components: value, range in question, reason, evidence per candidate.

    ``certain`` is False for 'cannot tell'; ``number`` then is the smaller of those in question.
    """

    number: int
    certain: bool
    at_least: int
    at_most: int
    reason: str
    candidates: tuple[Candidate, ...]


class Unmixer:
    """Online factorisation of patterns without references.

    The cost of a pattern is one small fit; all is estimated anew when there are ``growth`` times as many
    patterns, from at most ``most_patterns`` of them, so that time per pattern (amortised) and memory are
    bounded. The same patterns in the same order give the same bits, interrupted or not.

    Parameters
    ----------
    channels : int
        Length of a pattern.
    settings : UnmixerSettings
        Constraints and bounds.
    """

    def __init__(self, channels: int, settings: UnmixerSettings | None = None) -> None:
        self.channels = channels
        self.settings = settings or UnmixerSettings()
        s = self.settings
        weight = 0.3 if s.sum_to_one else 0.0
        self._options = Options(reach=s.reach, smoothness=s.smoothness, sum_weight=weight)
        self._store = PatternStore(channels, s.most_patterns)
        self._points = Rows(3 * s.most_components + 4)
        self._basis = Basis.empty(channels)
        self._added = self._estimates = 0
        self._estimate_at = s.first
        self._number = NumberEstimate(0, False, 1, s.most_components, "too few patterns yet", ())

    # -- reading ------------------------------------------------------------------------------------------

    @property
    def components(self) -> Array:
        """Components, each of unit area, shape (k, n); none before the first estimate."""
        return self._basis.components

    @property
    def identities(self) -> tuple[int, ...]:
        """A number from 1 to ``most_components`` for each, which it keeps as long as it is alike; rising."""
        return self._basis.identities

    @property
    def activations(self) -> Array:
        """Area of each component in each pattern so far, shape (m, k)."""
        return self._columns(0)

    @property
    def sigma(self) -> Array:
        """Standard uncertainty of the activations, shape (m, k)."""
        return self._columns(1)

    @property
    def shifts(self) -> Array:
        """Channels by which each component lies higher in each pattern than at first, shape (m, k)."""
        return self._columns(2)

    @property
    def residuals(self) -> Array:
        """Share of each squared pattern that is left over, shape (m,)."""
        return self._points.array[:, -4].astype(float)

    @property
    def number(self) -> NumberEstimate:
        """The number of components so far, with its evidence."""
        return self._number

    @property
    def estimates(self) -> int:
        """How often all was estimated."""
        return self._estimates

    def __len__(self) -> int:
        return self._added

    def _columns(self, which: int) -> Array:
        first = which * self.settings.most_components
        return self._points.array[:, first : first + len(self._basis.components)].astype(float)

    # -- working ------------------------------------------------------------------------------------------

    def add(self, pattern: npt.ArrayLike, place: Sequence[float] = ()) -> Unmixed:
        """Take up the next pattern.

        Parameters
        ----------
        pattern : array_like, shape (channels,)
            Intensities, not negative, floor included.
        place : sequence of float, up to 3
            Where on the map it was measured; used by the smoothness only.

        Returns
        -------
        Unmixed
            What is known of it now; later estimates change that (see :attr:`activations`).
        """
        y = self._without_floor(np.asarray(pattern, float))
        kept = self._added < self.settings.most_points
        one = self._basis.read(y, self._options)
        if kept:
            where = np.full(3, np.nan)
            where[: len(place[:3])] = place[:3]
            self._points.append(np.concatenate([self._row(one), where]))
        self._store.add(y, self._added if kept else -1)
        self._added += 1
        if self._added >= self._estimate_at:
            self.estimate()
            one = self._basis.read(y, self._options)
        return one

    def estimate(self) -> NumberEstimate:
        """Estimate number and components anew from the patterns kept, and all activations with them."""
        patterns, scale = self._scaled(self._store.patterns)
        self._estimate_at = max(self._added + 4, int(np.ceil(self._added * self.settings.growth)))
        if not patterns.any():
            return self._number
        coarse, rows = self._coarse(patterns)
        found = estimate_number(
            coarse, self._coarse_options(), self.settings.seed, most=self.settings.most_components,
            runs=self.settings.runs, neighbours=self._neighbours(rows),
        )  # fmt: skip
        before = self._basis
        # areas of the coarse patterns are smaller by the channels that were joined
        self._basis = before.succeeded(
            self._refined(patterns, found), found.spread * self._every(), float(np.median(scale)),
            self._options, self.settings.most_components,
        )  # fmt: skip
        self._estimates += 1
        self._number = NumberEstimate(
            found.number, found.certain, found.at_least, found.at_most, found.reason, found.candidates
        )
        self._renew_points(before)
        return self._number

    def _without_floor(self, y: Array) -> Array:
        if y.shape != (self.channels,):
            raise ValueError(f"a pattern of shape {y.shape}, expected ({self.channels},)")
        y = np.maximum(y, 0.0)
        top = float(y.max(initial=0.0))
        if top <= 0:
            return y
        if self.settings.floor_width > 0:
            y = subtract_floor(y * (_COUNTS / top), self.settings.floor_width) * (top / _COUNTS)
        if self.settings.sum_to_one and y.sum() > 0:
            y = y / y.sum()
        return y.astype(np.float32).astype(float)  # as the store will give it back

    def _scaled(self, patterns: Array) -> tuple[Array, Array]:
        """Patterns of equal weight, but for those that are weak against the others."""
        size = (patterns**2).sum(axis=1)
        scale = np.ones(len(patterns))
        if not self.settings.sum_to_one:
            scale = np.sqrt(size + float(np.median(size)) + 1e-300)
        return patterns / scale[:, None], scale

    def _coarse(self, patterns: Array) -> tuple[Array, npt.NDArray[np.int64]]:
        """Fewer patterns (those that differ most), fewer channels (neighbours joined)."""
        rows = _spread_out(patterns, self.settings.number_patterns)
        every = self._every()
        n = self.channels // every * every
        return np.ascontiguousarray(patterns[rows, :n].reshape(len(rows), -1, every).mean(axis=2)), rows

    def _every(self) -> int:
        return max(1, -(-self.channels // self.settings.number_channels))

    def _coarse_options(self) -> Options:
        o = self._options
        reach = -(-o.reach // self._every())
        return Options(reach, o.iterations, o.smoothness, o.sum_weight)

    def _neighbours(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64] | None:
        """Nearest patterns on the map, among ``rows`` of the store."""
        if self.settings.smoothness <= 0 or len(rows) < 6:
            return None
        points = np.array(self._store.points)[rows]
        places = self._points.array[np.maximum(points, 0), -3:].astype(float)
        used = np.isfinite(places).all(axis=0) & (np.ptp(places, axis=0) > 0)
        if not used.any() or (points < 0).any():
            return None
        places = places[:, used] / np.ptp(places[:, used], axis=0)
        return np.asarray(cKDTree(places).query(places, k=5)[1][:, 1:], np.int64)

    def _refined(self, patterns: Array, found: Estimated) -> Array:
        """Components on all channels, from all patterns kept, begun with those of the coarse estimate."""
        every = self._every()
        start = np.repeat(found.factors.components, every, axis=1) / every
        if start.shape[1] < self.channels:
            start = np.pad(start, ((0, 0), (0, self.channels - start.shape[1])))
        everything = np.arange(len(patterns))
        factors = factorise(
            patterns, found.number, np.random.default_rng(self.settings.seed),
            replace(self._options, iterations=_REFINING), start=start,
            weight=np.sqrt(self._store.weight), neighbours=self._neighbours(everything),
        )  # fmt: skip
        return factors.components

    def _renew_points(self, before: Basis) -> None:
        """Activations of all points by the new components: fitted to the patterns kept, else converted."""
        width, now = self.settings.most_components, self._basis
        rows = self._points.array.copy()
        k, old = len(now.components), len(before.components)
        if old:
            convert = activations_of(before.components, now.components, self._options)[0]
            was = rows.astype(float)
            rows[:, : 3 * width] = 0.0
            rows[:, :k] = was[:, :old] @ convert
            rows[:, width : width + k] = np.sqrt(was[:, width : width + old] ** 2 @ convert**2)
            for place, own in enumerate(now.identities):
                if own in before.identities:
                    rows[:, 2 * width + place] = was[:, 2 * width + before.identities.index(own)]
        for pattern, point in zip(self._store.patterns, self._store.points, strict=True):
            if point >= 0:
                rows[point, :-3] = self._row(now.read(pattern, self._options))
        self._points.replace_all(rows)

    def _row(self, one: Unmixed) -> Array:
        width = self.settings.most_components
        row = np.zeros(3 * width + 1)
        for place, values in enumerate((one.activations, one.sigma, one.shifts)):
            row[place * width : place * width + len(values)] = values
        row[-1] = one.residual
        return row

    # -- stored state -------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values (msgpack-able)."""
        number = asdict(self._number)
        number["candidates"] = [asdict(c) for c in self._number.candidates]
        return {
            "store": self._store.snapshot(), "points": self._points.snapshot(),
            "basis": self._basis.snapshot(), "added": self._added, "estimates": self._estimates,
            "estimate_at": self._estimate_at, "number": number,
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`snapshot` gave."""
        self._store.restore(state["store"])
        self._points.restore(state["points"])
        self._basis = Basis.restored(state["basis"], self.channels)
        self._added, self._estimate_at = int(state["added"]), int(state["estimate_at"])
        self._estimates = int(state["estimates"])
        number = dict(state["number"])
        number["candidates"] = tuple(Candidate(**c) for c in number["candidates"])
        self._number = NumberEstimate(**number)


def _spread_out(patterns: Array, most: int) -> npt.NDArray[np.int64]:
    """Rows that lie far apart, in rising order: each the farthest from those before (Gonzalez 1985)."""
    if len(patterns) <= most:
        return np.arange(len(patterns))
    unit = patterns / np.maximum(np.linalg.norm(patterns, axis=1, keepdims=True), 1e-300)
    chosen = [int(np.linalg.norm(patterns, axis=1).argmax())]
    nearest = 1 - unit @ unit[chosen[0]]
    while len(chosen) < most:
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, 1 - unit @ unit[chosen[-1]])
    return np.sort(np.array(chosen, np.int64))

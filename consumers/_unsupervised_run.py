"""One run of the phase map without references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from streamproc.consumers._data_flags import flags_said
from streamproc.consumers._judging import READING, FrameJudge, RunJudge
from streamproc.consumers._patterns import AxisKind, MeasuredPattern, log_q
from streamproc.models.mapping.so_far import PhaseMapSoFar
from streamproc.models.series.patterns import PatternWatch
from streamproc.models.series.watch import ChangePoint
from streamproc.models.unmixing.basis import Unmixed
from streamproc.models.unmixing.floor import noise_of, subtract_floor
from streamproc.models.unmixing.grid import Grid
from streamproc.models.unmixing.rows import Rows
from streamproc.models.unmixing.unmixer import Unmixer, settings_on

from streamproc.analysis import Estimate, Frame, FrameFailure, FrameResult, Provenance, RunResult
from streamproc.errors import FrameFailed
from streamproc.reduction.flags.reader import FrameReader
from streamproc.reduction.flags.watch import Judgement, judged_alone

if TYPE_CHECKING:
    from streamproc.consumers._unsupervised import UnsupervisedPhaseMap

__all__ = ["UnsupervisedRun"]

Array = npt.NDArray[np.float64]

_AXIS, _PATTERN, _KIND = "phase-map: axis", "phase-map: pattern", "phase-map: axis kind"
"""Keys under which the pattern is handed from the per-frame to the per-run half; no data key has a colon."""

_LEAST_SIGNAL = 5.0
_LEAST_COVERAGE = 0.9
_MOST_RESIDUAL = 0.3
_COUNTS = 1000.0
_WIDE = 5
"""Channels over which the highest peak is a mean: lines are wider than one of them, noise is not."""

_MODEL = "unmixing:1"


class UnsupervisedRun:
    """Components, map and change points of one run.

    Parameters
    ----------
    analysis : UnsupervisedPhaseMap
        Settings and calibration.
    reader : FrameReader or None
        How images become patterns and are judged; None where frames are patterns.
    axes : sequence of str
        Motors that the map is keyed by; none: the map is keyed by the number of the reading.
    series_key : str or None
        Motor or reading that change points are sought over.
    provenance : Provenance
        Hashes of all that.
    """

    def __init__(
        self, analysis: UnsupervisedPhaseMap, reader: FrameReader | None, axes: Sequence[str],
        series_key: str | None, provenance: Provenance,
    ) -> None:  # fmt: skip
        self.provenance = provenance
        self._flags = analysis.settings.data_flags
        run_dark = analysis.settings.reduction.from_run.dark
        self._frames = FrameJudge(analysis.source, self._flags, reader, run_dark)
        self._judge = RunJudge(self._flags)
        self._settings = analysis.settings.unmixing
        self._axes, self._series_key = tuple(axes), series_key
        self._grid: Grid | None = None
        self._kind: AxisKind = analysis.settings.axis_kind
        self._unmixer: Unmixer | None = None
        self._watch: PatternWatch | None = None
        self._map = PhaseMapSoFar(self._axes or ("seq_num",), self._settings.most_components)
        self._mapped = Rows(2, "<f8")  # seq_num, and which pattern of the unmixer each point of the map is
        self._answered = self._used = 0

    # -- per frame ----------------------------------------------------------------------------------------

    def process(self, frames: Sequence[Frame]) -> Sequence[FrameResult | FrameFailure]:
        """Reduce each frame to its pattern, judge it, and see whether there are peaks."""
        return [self._answer(frame) for frame in frames]

    def _answer(self, frame: Frame) -> FrameResult | FrameFailure:
        try:
            reading, pattern_of = self._frames.read(frame)
            pattern = pattern_of()
        except FrameFailed as error:
            return FrameFailure(frame.seq_num, error.message)
        values, smooth = self._described(pattern)
        reasons = (*judged_alone(reading, self._flags).bad_reasons, *smooth)
        handed = {_AXIS: pattern.axis, _PATTERN: pattern.intensity, _KIND: pattern.kind, READING: reading}
        readings = {**frame.readings, **handed}
        return FrameResult(frame.seq_num, values, not reasons, reasons, _MODEL, readings)

    def _described(self, pattern: MeasuredPattern) -> tuple[dict[str, float], tuple[str, ...]]:
        y = np.maximum(pattern.intensity, 0.0)
        top = float(y.max())
        width = max(int(self._settings.floor_width * y.size), 1)
        peaks = subtract_floor(y * (_COUNTS / top), width) * (top / _COUNTS)
        noise = max(noise_of(y / top) * top, 1e-9 * top)
        wide = np.convolve(peaks / top, np.full(_WIDE, 1 / _WIDE), "valid")
        signal = float(wide.max() - np.median(wide)) * top / (noise / _WIDE**0.5)
        values = {
            "intensity": float((y / top).mean()) * top,
            "peak_share": float((peaks / top).sum() / (y / top).sum()),
            "signal_to_noise": min(signal, 1e9),
        }
        if np.ptp(y) <= 1e-9 * top or signal < _LEAST_SIGNAL:
            return values, (f"no-crystalline: nothing stands {_LEAST_SIGNAL:g} sigma above a smooth floor",)
        return values, ()

    # -- per run ------------------------------------------------------------------------------------------

    def update(self, results: Sequence[FrameResult | FrameFailure]) -> Sequence[RunResult]:
        """Take each pattern apart; say components and map when they were estimated anew."""
        said: list[RunResult] = []
        for result in results:
            if isinstance(result, FrameResult):
                self._answered += 1
                judgement = self._judge.take(result)
                said += [flags_said(result.seq_num, judgement)] if judgement.reasons else []
                if judgement.bad:
                    said += self._left_out(result, judgement)
                elif result.in_domain:
                    said += self._take(result)
        return said

    def _left_out(self, result: FrameResult, judgement: Judgement) -> list[RunResult]:
        """Say that a bad reading is no point of the map."""
        area = float(np.maximum(np.asarray(result.readings[_PATTERN], float), 0.0).sum())
        return [self._point(result.seq_num, self._place(result), None, area, judgement.bad_reasons)]

    def _take(self, result: FrameResult) -> list[RunResult]:
        grid, axis = self._gridded(result.readings)
        y, coverage = grid.rebin(axis, np.maximum(np.asarray(result.readings[_PATTERN], float), 0.0))
        place = self._place(result)
        if coverage < _LEAST_COVERAGE or not y.any():
            reason = f"bad-frame: {coverage:.0%} of the axis of the run's first pattern was measured"
            return [self._point(result.seq_num, place, None, float(y.sum()), (reason,))]
        unmixer, watch = self._started(grid)
        before = unmixer.estimates
        one = unmixer.add(y, [place[a] for a in self._map.axes if np.isfinite(place[a])])
        self._used += 1
        if self._map.add(place, one.fractions, one.fraction_sigma):
            self._mapped.append([result.seq_num, len(unmixer) - 1])
        said = [self._point(result.seq_num, place, one, float(one.activations.sum()), ())]
        if unmixer.estimates != before:
            said += [self._components(unmixer), self._map_so_far(unmixer)]
        if watch is not None:
            value = _number(result.readings.get(self._series_key or ""))
            said += [_change(c) for c in watch.update(value, y)]
        return said

    def _gridded(self, readings: Mapping[str, Any]) -> tuple[Grid, Array]:
        """Return the run's grid (that of its first pattern) and a pattern's own axis."""
        axis = log_q(np.asarray(readings[_AXIS], float), readings[_KIND])
        if self._grid is None:
            self._grid, self._kind = Grid.of(axis, self._settings.points), readings[_KIND]
        return self._grid, axis

    def _started(self, grid: Grid) -> tuple[Unmixer, PatternWatch | None]:
        """Begin with the first pattern: only then is the axis known."""
        if self._unmixer is None:
            self._unmixer = Unmixer(grid.points, settings_on(grid, self._settings))
            self._watch = PatternWatch(self._series_key, grid.points) if self._series_key else None
        return self._unmixer, self._watch

    def _place(self, result: FrameResult) -> dict[str, float]:
        if not self._axes:
            return {"seq_num": float(result.seq_num)}
        return {axis: _number(result.readings.get(axis)) for axis in self._axes}

    # -- what is said -------------------------------------------------------------------------------------

    def _point(
        self,
        seq_num: int,
        place: Mapping[str, float],
        one: Unmixed | None,
        area: float,
        reasons: Sequence[str],
    ) -> RunResult:
        k, unmixer = self._settings.most_components, self._unmixer
        found = unmixer.identities if unmixer is not None else ()
        if one is not None and not found:
            reasons = ("too few patterns yet to say components",)
        elif one is not None and one.residual > _MOST_RESIDUAL:
            reasons = (f"unknown-material: {one.residual:.0%} of the pattern is left over",)
        sound, step = not reasons, self._grid.step if self._grid is not None else 0.0
        values: dict[str, Any] = {"seq_num": seq_num, "place": self._coordinates(place), "peak_area": area}
        nothing = Estimate(float("nan"), float("nan"), False, _MODEL)
        for j in range(1, k + 1):
            values[f"component_{j}"], values[f"strain_{j}"] = nothing, float("nan")
        if one is not None:
            for at, j in enumerate(found):
                share, sigma = float(one.fractions[at]), float(one.fraction_sigma[at])
                values[f"component_{j}"] = Estimate(share, sigma, sound, _MODEL)
                if share > max(0.05, 2 * sigma):  # a component that is hardly there has no position
                    values[f"strain_{j}"] = -float(one.shifts[at]) * step
        values |= {
            "residual": one.residual if one is not None else float("nan"), "components": len(found),
            "in_domain": sound, "reasons": "; ".join(reasons),
        }  # fmt: skip
        return RunResult("points", values)

    def _coordinates(self, place: Mapping[str, float]) -> Array:
        out = np.full(3, np.nan)
        values = [place[axis] for axis in self._map.axes]
        out[: len(values)] = values
        return out

    def _components(self, unmixer: Unmixer) -> RunResult:
        number, k = unmixer.number, self._settings.most_components
        curves, evidence = np.zeros((k, unmixer.channels)), np.full((3, k), np.nan)
        for j, curve in zip(unmixer.identities, unmixer.components, strict=True):
            curves[j - 1] = curve
        for c in number.candidates:
            evidence[:, c.number - 1] = c.residual, c.silhouette, c.gain
        return RunResult("components", {
            "points": self._used, "number": number.number, "certain": number.certain,
            "at_least": number.at_least, "at_most": number.at_most, "reason": number.reason,
            "axis": self._axis(), "curves": curves, "candidate_residual": evidence[0],
            "candidate_silhouette": evidence[1], "candidate_gain": evidence[2],
        })  # fmt: skip

    def _axis(self) -> Array:
        if self._grid is None:
            return np.zeros(self._settings.points)
        raised = np.exp(self._grid.axis)
        return raised if self._kind == "q_invA" else 2 * np.rad2deg(np.arcsin(np.minimum(raised, 1.0)))

    def _map_so_far(self, unmixer: Unmixer) -> RunResult:
        self._renew_map(unmixer)
        regions, m, k = self._map.regions(), self._settings.map_points, self._settings.most_components
        identity = np.array([*unmixer.identities, np.nan])
        newest = slice(max(len(self._map) - m, 0), None)
        count = len(regions.label[newest])

        def padded(values: npt.ArrayLike, *width: int) -> Array:
            out = np.full((m, *width), np.nan)
            out[:count] = np.asarray(values, float)
            return out

        places, shares = np.full((count, 3), np.nan), np.zeros((count, k))
        places[:, : len(self._map.axes)] = self._map.places[newest]
        for at, j in enumerate(unmixer.identities):
            shares[:, j - 1] = self._map.shares[newest, at]
        return RunResult("map", {
            "points": self._used, "regions": regions.count, "seq_nums": padded(self._mapped.array[newest, 0]),
            "places": padded(places, 3), "labels": padded(identity[regions.label[newest]]),
            "confidence": padded(regions.confidence[newest]), "shares": padded(shares, k),
        })  # fmt: skip

    def _renew_map(self, unmixer: Unmixer) -> None:
        """Give the points of the map the shares that they have by the components of now."""
        rows = self._mapped.array[:, 1].astype(int)
        activations, sigma = unmixer.activations, unmixer.sigma
        rows = np.minimum(rows, len(activations) - 1)
        shares = [Unmixed(activations[r], sigma[r], np.zeros(0), 0.0) for r in rows]
        width = (len(rows), activations.shape[1])
        self._map.set_shares(
            np.array([s.fractions for s in shares]).reshape(width),
            np.array([s.fraction_sigma for s in shares]).reshape(width),
        )

    def end(self) -> Sequence[RunResult]:
        """Estimate once more from all patterns, and say components, map, change points and a summary."""
        if not self._answered:
            return []
        said: list[RunResult] = []
        number, regions, changes = 0, 0, 0
        certain = False
        if self._unmixer is not None:
            count = self._unmixer.estimate()
            number, certain = count.number, count.certain
            last = self._map_so_far(self._unmixer)
            regions = int(last.values["regions"])
            said += [self._components(self._unmixer), last]
        if self._watch is not None:
            said += [_change(c) for c in self._watch.search()]
            changes = len(self._watch.change_points)
        summary = {
            "points": self._answered, "points_used": self._used, "components": number, "certain": certain,
            "regions": regions, "change_points": changes,
        }  # fmt: skip
        return [*said, RunResult("summary", summary)]

    # -- stored state -------------------------------------------------------------------------------------

    def snapshot(self) -> Mapping[str, Any]:
        """Return the state of the per-run half."""
        grid = None if self._grid is None else [self._grid.start, self._grid.stop]
        return {
            "grid": grid, "kind": self._kind, "answered": self._answered, "used": self._used,
            "unmixer": None if self._unmixer is None else self._unmixer.snapshot(),
            "watch": None if self._watch is None else self._watch.snapshot(),
            "map": self._map.snapshot(), "mapped": self._mapped.snapshot(), "judge": self._judge.snapshot(),
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`snapshot` gave."""
        self._answered, self._used, self._kind = int(state["answered"]), int(state["used"]), state["kind"]
        if state["grid"] is not None:
            self._grid = Grid(*(float(v) for v in state["grid"]), self._settings.points)
        if state["unmixer"] is not None and self._grid is not None:
            unmixer, watch = self._started(self._grid)
            unmixer.restore(state["unmixer"])
            if watch is not None and state["watch"] is not None:
                watch.restore(state["watch"])
        self._judge.restore(state["judge"])
        self._map.restore(state["map"])
        self._mapped.restore(state["mapped"])


def _number(value: Any) -> float:
    try:
        return float(np.asarray(value, float).reshape(()))
    except (TypeError, ValueError):
        return float("nan")


def _change(c: ChangePoint) -> RunResult:
    position = Estimate(c.value, c.sigma, c.significant, _MODEL, c.interval90)
    return RunResult("change_points", {
        "number": c.number, "series_key": c.series_key, "quantity": c.quantity, "position": position,
        "log10_bayes_factor": c.log10_bayes_factor, "kind": c.kind, "branch": c.branch,
        "significant": c.significant, "points": c.points,
        "begin": c.span[0] if c.span else float("nan"), "end": c.span[1] if c.span else float("nan"),
    })  # fmt: skip

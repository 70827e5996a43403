"""What a live view shows, folded from result documents: pure, tolerant of anything, and bounded.

Nothing here reads a clock, a file or a topic; the same documents give the same state.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streamproc.dashboard.reading import (
    Point,
    Quantity,
    count_of,
    events_of,
    motors_of,
    plan_grid,
    point_of,
    quantities_of,
)
from streamproc.dashboard.so_far import SoFar
from streamproc.results import is_shadow

__all__ = ["Board", "Ledger", "Point", "Quantity", "RunView", "header_latency_ms", "percentile"]

_MOST_STREAMS = 8
_COUNTS = ("expected", "done", "failed", "dropped")


@dataclass(frozen=True, slots=True)
class Ledger:
    """What became of the readings of a run; ``reasons`` are those of failed and dropped ones, with counts."""

    expected: int
    done: int
    failed: int
    dropped: int
    reasons: tuple[tuple[str, int], ...] = ()

    @property
    def complete(self) -> bool:
        """Every expected reading was answered."""
        return self.done == self.expected and not self.failed and not self.dropped


def header_latency_ms(headers: Sequence[tuple[str, bytes]]) -> float | None:
    """Return the latency (ms) that the service wrote into a result message's headers, if it did."""
    try:
        return next((float(value) for key, value in headers if key == "latency_ms"), None)
    except ValueError:
        return None


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Return a percentile (linear interpolation); None without values."""
    return float(np.percentile(values, percent)) if values else None


@dataclass(slots=True)
class RunView:
    """One result run as far as it is known.

    Attributes
    ----------
    uid, raw_uid : str
        Of the result run, and of the raw run it answers.
    about : dict
        ``analysis``, ``sample``, ``scan_id``, ``plan_name`` as the start document has them.
    shadow : bool
        The model is a shadow: its answers are to be looked at, not acted upon.
    expected : int or None
        How many answers are to come, where the raw run said so.
    motors : tuple of str
        Slow to fast, as the plan's dimensions.
    shape, extents
        Of a complete grid, as the plan gave them; None otherwise.
    quantities : tuple of Quantity
        In the order of the descriptor.
    points : OrderedDict
        Newest ``max_points`` answers by seq_num.
    count, flagged : int
        Answers seen in all, and those out of domain; a repeated answer counts once.
    latencies_ms : deque of float
        Of the newest answers.
    so_far : dict of str to SoFar
        By name, what its other streams say about the run so far.
    ledger : Ledger or None
        From the stop document.
    exit_status : str or None
        From the stop document; None while the run goes on.
    """

    uid: str
    raw_uid: str = ""
    about: dict[str, Any] = field(default_factory=dict)
    model: str = ""
    shadow: bool = False
    expected: int | None = None
    motors: tuple[str, ...] = ()
    shape: tuple[int, ...] | None = None
    extents: tuple[tuple[float, float], ...] | None = None
    quantities: tuple[Quantity, ...] = ()
    points: OrderedDict[int, Point] = field(default_factory=OrderedDict)
    count: int = 0
    flagged: int = 0
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=2000))
    so_far: dict[str, SoFar] = field(default_factory=dict)
    ledger: Ledger | None = None
    exit_status: str | None = None

    def estimates(self) -> tuple[Quantity, ...]:
        """Return the estimates of one kind: those in the unit of the first hinted one (or of the first)."""
        found = [q for q in self.quantities if q.estimate]
        first = next((q for q in found if q.hinted), found[0] if found else None)
        return tuple(q for q in found if first is not None and q.units == first.units)

    def converging(self) -> SoFar | None:
        """Return the newest stream that draws a dispersion through the run so far, once it has answered."""
        found = [s for s in self.so_far.values() if s.points and "dispersion_energy" in s.arrays]
        return found[-1] if found else None

    def alarms(self) -> list[str]:
        """Return the alarms that have risen in the run, in their own words."""
        stream = self.so_far.get("alarms")
        return [] if stream is None else [w["said"] for w in stream.words if "said" in w]

    def latency_ms(self, percent: float) -> float | None:
        """Return a percentile of the newest latencies (ms)."""
        return percentile(list(self.latencies_ms), percent)

    def newest(self, n: int) -> list[Point]:
        """Return the last ``n`` answers, newest first."""
        return [self.points[k] for _, k in zip(range(n), reversed(self.points), strict=False)]

    def grid(self) -> list[list[Point | None]] | None:
        """Return the answers on the grid of the two motors, slow motor down; None unless there are two."""
        if len(self.motors) != 2:
            return None
        rows, columns = self._axis(0), self._axis(1)
        if not rows.size or not columns.size:
            return []
        cells: list[list[Point | None]] = [[None] * columns.size for _ in range(rows.size)]
        for point in self.points.values():
            if all(map(math.isfinite, point.place)):
                row = int(np.abs(rows - point.place[0]).argmin())
                cells[row][int(np.abs(columns - point.place[1]).argmin())] = point
        return cells

    def _axis(self, motor: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the grid positions along one motor: the plan's, or those seen, joined when nearly equal."""
        if self.shape and self.extents and len(self.shape) == len(self.extents) == len(self.motors):
            return np.linspace(*self.extents[motor], self.shape[motor])
        seen = np.unique([p.place[motor] for p in self.points.values() if math.isfinite(p.place[motor])])
        if seen.size < 2:
            return seen
        # Readback noise is far below the step of a map that has some sqrt(n) steps along this axis.
        step = (seen[-1] - seen[0]) / (4 * math.sqrt(max(self.expected or 0, self.count)))
        return np.asarray(seen[np.concatenate([[True], np.diff(seen) > step])])


class Board:
    """All result runs of a topic, newest last.

    Parameters
    ----------
    max_runs, max_points : int
        Oldest runs beyond the first, oldest answers of a run beyond the second are forgotten.
    shadows : bool
        Whether result runs of a shadow model are shown too; nobody is to act upon them.
    """

    def __init__(self, max_runs: int = 16, max_points: int = 20_000, *, shadows: bool = False) -> None:
        self.runs: OrderedDict[str, RunView] = OrderedDict()
        self.refused = 0
        """Documents that could not be used."""
        self._max_runs = max_runs
        self._max_points = max_points
        self._shadows = shadows
        self._left_aside: OrderedDict[str, None] = OrderedDict()
        self._descriptors: OrderedDict[str, tuple[str, str]] = OrderedDict()

    def feed(
        self, name: str, doc: Any, latency_ms: float | None = None
    ) -> tuple[RunView, Point | None] | None:
        """Fold one document in; never raises.

        Returns
        -------
        (RunView, Point or None) or None
            The run it changed, and its newest answer when the document brought one.
        """
        try:
            return self._feed(name, doc, latency_ms)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, IndexError):
            self.refused += 1
            return None

    def _feed(self, name: str, doc: Any, latency_ms: float | None) -> tuple[RunView, Point | None] | None:
        if name == "start":
            return None if self._leaves_aside(doc) else (self._start(doc), None)
        if str(doc.get("run_start", "")) in self._left_aside:
            return None
        if name == "descriptor":
            return self._descriptor(doc), None
        if name == "stop":
            return self._stop(doc), None
        changed = None
        for event in [doc] if name == "event" else events_of(doc) if name == "event_page" else []:
            changed = self._event(event, latency_ms) or changed
        return changed

    def _leaves_aside(self, start: Mapping[str, Any]) -> bool:
        """Tell whether a run is a shadow's that is not shown, and remember it."""
        if self._shadows or not is_shadow(start):
            return False
        self._left_aside[str(start["uid"])] = None
        while len(self._left_aside) > 64 * self._max_runs:
            self._left_aside.popitem(last=False)
        return True

    def _run(self, uid: str) -> RunView:
        """Return the run's view, a bare one when its start was missed."""
        run = self.runs.get(uid)
        if run is None:
            run = self.runs[uid] = RunView(uid)
            while len(self.runs) > self._max_runs:
                self.runs.popitem(last=False)
        return run

    def _start(self, doc: Mapping[str, Any]) -> RunView:
        run = self._run(str(doc["uid"]))
        analysis = doc.get("streamproc")
        run.about = {k: doc[k] for k in ("sample", "scan_id", "plan_name") if k in doc}
        run.about["analysis"] = analysis.get("analysis", "?") if isinstance(analysis, Mapping) else "?"
        run.shadow = is_shadow(doc)
        run.raw_uid = str(doc.get("original_run_uid", ""))
        run.expected = count_of(doc.get("num_points"))
        hints = doc.get("hints")
        run.motors = motors_of(hints.get("dimensions") if isinstance(hints, Mapping) else None)
        run.shape, run.extents = plan_grid(doc.get("shape"), doc.get("extents"))
        return run

    def _descriptor(self, doc: Mapping[str, Any]) -> RunView:
        run = self._run(str(doc["run_start"]))
        stream = str(doc.get("name", "primary"))
        if stream == "primary":
            run.quantities = tuple(quantities_of(doc, run.motors))
        elif len(run.so_far) < _MOST_STREAMS:
            run.so_far[stream] = SoFar.of(doc)
        self._descriptors[str(doc["uid"])] = run.uid, stream
        while len(self._descriptors) > 4 * _MOST_STREAMS * self._max_runs:
            self._descriptors.popitem(last=False)
        return run

    def _event(self, doc: Mapping[str, Any], latency_ms: float | None) -> tuple[RunView, Point | None] | None:
        uid, stream = self._descriptors.get(str(doc["descriptor"]), ("", ""))
        run = self.runs.get(uid)
        if run is None:
            return None
        if stream != "primary":
            if stream in run.so_far:
                run.so_far[stream].add(doc)
            return run, None
        point = point_of(doc, run.quantities, run.motors, latency_ms)
        run.model = str(doc["data"].get("model", run.model))
        self._add(run, point)
        return run, point

    def _add(self, run: RunView, point: Point) -> None:
        if point.seq_num in run.points:
            run.points[point.seq_num] = point
            return
        run.points[point.seq_num] = point
        run.count += 1
        run.flagged += not point.in_domain
        if point.latency_ms is not None:
            run.latencies_ms.append(point.latency_ms)
        while len(run.points) > self._max_points:
            run.points.popitem(last=False)

    def _stop(self, doc: Mapping[str, Any]) -> RunView:
        run = self._run(str(doc["run_start"]))
        run.exit_status = str(doc.get("exit_status", "unknown"))
        ledgers = doc.get("ledger")
        entry = ledgers.get("primary") if isinstance(ledgers, Mapping) else None
        if isinstance(entry, Mapping):
            expected, done, failed, dropped = (int(entry.get(k, 0)) for k in _COUNTS)
            listed = [*entry.get("failed_reasons", ()), *entry.get("dropped_reasons", ())]
            reasons = tuple((str(r["reason"]), int(r["count"])) for r in listed)
            run.ledger = Ledger(expected, done, failed, dropped, reasons)
        return run

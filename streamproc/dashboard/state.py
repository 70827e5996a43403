"""What a live view shows, folded from result documents: pure, tolerant of anything, and bounded.

Nothing here reads a clock, a file or a topic; the same documents give the same state.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from streamproc.results import is_shadow

__all__ = ["Board", "Ledger", "Point", "Quantity", "RunView", "header_latency_ms", "percentile"]

_SIGMA, _LOW, _HIGH = "_sigma", "_lo90", "_hi90"
_MOST_CELLS = 1_000_000
_COUNTS = ("expected", "done", "failed", "dropped")


@dataclass(frozen=True, slots=True)
class Quantity:
    """Something that every result event tells: an estimate (with sigma) or a plain number."""

    name: str
    units: str
    estimate: bool
    hinted: bool


@dataclass(frozen=True, slots=True)
class Point:
    """One answer.

    Attributes
    ----------
    seq_num : int
        Number of the reading in the raw run.
    place : tuple of float
        Motor positions in the order of :attr:`RunView.motors`; NaN where unknown.
    values, sigmas : mapping of str to float
        By quantity; NaN where the model abstained.
    intervals : mapping of str to (float, float)
        90 % intervals of those quantities that have one.
    in_domain : bool
        The model may be believed.
    reasons : str
        Why not, or what to look at.
    latency_ms : float or None
        From the raw document's arrival at the broker to this answer's departure.
    """

    seq_num: int
    place: tuple[float, ...]
    values: Mapping[str, float]
    sigmas: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    in_domain: bool
    reasons: str
    latency_ms: float | None


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
    ledger: Ledger | None = None
    exit_status: str | None = None

    def estimates(self) -> tuple[Quantity, ...]:
        """Return the estimates of one kind: those in the unit of the first hinted one (or of the first)."""
        found = [q for q in self.quantities if q.estimate]
        first = next((q for q in found if q.hinted), found[0] if found else None)
        return tuple(q for q in found if first is not None and q.units == first.units)

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
        self._descriptors: OrderedDict[str, str] = OrderedDict()

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
        for event in [doc] if name == "event" else _events(doc) if name == "event_page" else []:
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
        run.expected = _count(doc.get("num_points"))
        hints = doc.get("hints")
        run.motors = _motors(hints.get("dimensions") if isinstance(hints, Mapping) else None)
        run.shape, run.extents = _plan_grid(doc.get("shape"), doc.get("extents"))
        return run

    def _descriptor(self, doc: Mapping[str, Any]) -> RunView:
        run = self._run(str(doc["run_start"]))
        if doc.get("name", "primary") == "primary":
            self._descriptors[str(doc["uid"])] = run.uid
            while len(self._descriptors) > 4 * self._max_runs:
                self._descriptors.popitem(last=False)
            run.quantities = tuple(_quantities(doc, run.motors))
        return run

    def _event(self, doc: Mapping[str, Any], latency_ms: float | None) -> tuple[RunView, Point] | None:
        run = self.runs.get(self._descriptors.get(str(doc["descriptor"]), ""))
        if run is None:
            return None
        data = doc["data"]
        estimates = [q.name for q in run.quantities if q.estimate]
        point = Point(
            seq_num=int(doc["seq_num"]),
            place=tuple(_number(data.get(m)) for m in run.motors),
            values={q.name: _number(data.get(q.name)) for q in run.quantities},
            sigmas={k: _number(data.get(k + _SIGMA)) for k in estimates},
            intervals={
                k: (_number(data[k + _LOW]), _number(data.get(k + _HIGH)))
                for k in estimates
                if k + _LOW in data
            },
            in_domain=bool(data.get("in_domain", True)),
            reasons=str(data.get("reasons", "")),
            latency_ms=latency_ms,
        )
        run.model = str(data.get("model", run.model))
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


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _count(value: Any) -> int | None:
    return int(value) if isinstance(value, int) and value > 0 else None


def _plan_grid(
    shape: Any, extents: Any
) -> tuple[tuple[int, ...], tuple[tuple[float, float], ...]] | tuple[None, None]:
    """Return the plan's grid, unless it is missing, senseless or too large to draw."""
    if not (isinstance(shape, list | tuple) and isinstance(extents, list | tuple)):
        return None, None
    ns = tuple(int(n) for n in shape)
    ends = tuple((float(low), float(high)) for low, high in extents)
    sound = min(ns, default=0) >= 1 and math.prod(ns) <= _MOST_CELLS
    return (ns, ends) if sound and all(math.isfinite(e) for pair in ends for e in pair) else (None, None)


def _motors(dimensions: Any) -> tuple[str, ...]:
    """Return the first field of each dimension; time is no motor."""
    motors = []
    for dimension in dimensions if isinstance(dimensions, list | tuple) else ():
        if isinstance(dimension, list | tuple) and dimension and isinstance(dimension[0], list | tuple):
            motors += [str(f) for f in dimension[0][:1] if f != "time"]
    return tuple(motors)


def _quantities(descriptor: Mapping[str, Any], motors: tuple[str, ...]) -> Iterator[Quantity]:
    """Yield the scalar numbers a stream tells, its uncertainties and motors left out."""
    keys: Mapping[str, Any] = descriptor["data_keys"]
    hinted = {
        f
        for h in (descriptor.get("hints") or {}).values()
        if isinstance(h, Mapping)
        for f in h.get("fields", ())
    }
    derived = {k + ending for k in keys if k + _SIGMA in keys for ending in (_SIGMA, _LOW, _HIGH)}
    for key, entry in keys.items():
        scalar = entry.get("dtype") == "number" and not entry.get("shape")
        if scalar and key not in derived and key not in motors:
            yield Quantity(key, str(entry.get("units") or ""), key + _SIGMA in keys, key in hinted)


def _events(page: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the events of an event_page."""
    for i, seq_num in enumerate(page["seq_num"]):
        data = {k: column[i] for k, column in page["data"].items()}
        yield {"descriptor": page["descriptor"], "seq_num": seq_num, "data": data}

"""Reading result documents for a live view: numbers, grids, quantities; tolerant of anything."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = [
    "Point",
    "Quantity",
    "count_of",
    "events_of",
    "motors_of",
    "number_of",
    "plan_grid",
    "point_of",
    "quantities_of",
]

_SIGMA, _LOW, _HIGH = "_sigma", "_lo90", "_hi90"
_MOST_CELLS = 1_000_000


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


def point_of(
    doc: Mapping[str, Any],
    quantities: tuple[Quantity, ...],
    motors: tuple[str, ...] = (),
    latency_ms: float | None = None,
    seq_num: Any = None,
) -> Point:
    """Return an event as an answer; ``seq_num`` where it is not the event's own."""
    data = doc["data"]
    estimates = [q.name for q in quantities if q.estimate]
    return Point(
        seq_num=int(doc["seq_num"] if seq_num is None else seq_num),
        place=tuple(number_of(data.get(m)) for m in motors),
        values={q.name: number_of(data.get(q.name)) for q in quantities},
        sigmas={k: number_of(data.get(k + _SIGMA)) for k in estimates},
        intervals={
            k: (number_of(data[k + _LOW]), number_of(data.get(k + _HIGH)))
            for k in estimates
            if k + _LOW in data
        },
        in_domain=bool(data.get("in_domain", True)),
        reasons=str(data.get("reasons", "")),
        latency_ms=latency_ms,
    )


def number_of(value: Any) -> float:
    """Return a number, NaN for anything else."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def count_of(value: Any) -> int | None:
    """Return a whole number above zero, None for anything else."""
    return int(value) if isinstance(value, int) and value > 0 else None


def plan_grid(
    shape: Any, extents: Any
) -> tuple[tuple[int, ...], tuple[tuple[float, float], ...]] | tuple[None, None]:
    """Return the plan's grid, unless it is missing, senseless or too large to draw."""
    if not (isinstance(shape, list | tuple) and isinstance(extents, list | tuple)):
        return None, None
    ns = tuple(int(n) for n in shape)
    ends = tuple((float(low), float(high)) for low, high in extents)
    sound = min(ns, default=0) >= 1 and math.prod(ns) <= _MOST_CELLS
    return (ns, ends) if sound and all(math.isfinite(e) for pair in ends for e in pair) else (None, None)


def motors_of(dimensions: Any) -> tuple[str, ...]:
    """Return the first field of each dimension; time is no motor."""
    motors = []
    for dimension in dimensions if isinstance(dimensions, list | tuple) else ():
        if isinstance(dimension, list | tuple) and dimension and isinstance(dimension[0], list | tuple):
            motors += [str(f) for f in dimension[0][:1] if f != "time"]
    return tuple(motors)


def quantities_of(descriptor: Mapping[str, Any], motors: tuple[str, ...]) -> Iterator[Quantity]:
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


def events_of(page: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the events of an event_page."""
    for i, seq_num in enumerate(page["seq_num"]):
        data = {k: column[i] for k, column in page["data"].items()}
        yield {"descriptor": page["descriptor"], "seq_num": seq_num, "data": data}

"""compare_tables: two answers to the same frames, point by point, in units of their uncertainty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.errors import ConfigurationError
from streamproc.export.table import ResultTable

__all__ = ["Comparison", "Differing", "QuantityComparison", "Timing", "compare_tables"]

_MOST_LISTED = 1000


@dataclass(frozen=True, slots=True)
class Timing:
    """What a model costs: reduction, inference and cross-check of one frame (ms), and frames a second."""

    frames: int
    median_ms: float
    p95_ms: float
    frames_per_s: float


@dataclass(frozen=True, slots=True)
class QuantityComparison:
    """One quantity over the points that both models answered and are in domain for.

    Attributes
    ----------
    name, units : str
        The quantity.
    points : int
        Points that count.
    mean_difference, rms_difference, largest_difference : float
        Of second minus first, in ``units``; NaN without points.
    median_sigma : float
        Median combined uncertainty (root of the sum of squares).
    beyond : int
        Points that differ by more than the threshold.
    largest_z : float
        Largest difference in combined uncertainties.
    at_seq_num : int or None
        Where that is.
    """

    name: str
    units: str
    points: int
    mean_difference: float
    rms_difference: float
    largest_difference: float
    median_sigma: float
    beyond: int
    largest_z: float
    at_seq_num: int | None


@dataclass(frozen=True, slots=True)
class Differing:
    """A point where the models differ beyond the threshold; motors as they stood."""

    seq_num: int
    quantity: str
    first: float
    second: float
    sigma: float
    z: float
    motors: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two models on the frames of one run.

    Attributes
    ----------
    run_uid : str
        The raw run.
    models : (str, str)
        First and second model.
    common, only_first, only_second : int
        Points that both answered, or only one of them.
    in_domain : mapping
        ``both``, ``only_first``, ``only_second``, ``neither``: of the common points.
    quantities : tuple of QuantityComparison
        In the order of the descriptor.
    differing : tuple of Differing
        The worst first, at most a thousand.
    differing_points : int
        Points at which any quantity differs beyond the threshold.
    threshold : float
        In combined uncertainties.
    timings : tuple of Timing
        First and second model's; empty where nothing was computed.
    notes : tuple of str
        What a reader must know.
    seq_nums : ndarray of int, shape (common,)
        The common points.
    z : mapping of str to ndarray of float, shape (common,)
        Differences by quantity, NaN where they do not count.
    values : mapping of str to (ndarray, ndarray, ndarray, ndarray)
        First and second values, first and second uncertainties.
    """

    run_uid: str
    models: tuple[str, str]
    common: int
    only_first: int
    only_second: int
    in_domain: Mapping[str, int]
    quantities: tuple[QuantityComparison, ...]
    differing: tuple[Differing, ...]
    differing_points: int
    threshold: float
    timings: tuple[Timing, ...] = ()
    notes: tuple[str, ...] = ()
    seq_nums: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64), repr=False)
    z: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict, repr=False)
    values: Mapping[str, tuple[npt.NDArray[np.float64], ...]] = field(default_factory=dict, repr=False)

    @property
    def share(self) -> float:
        """Share of the points in both domains at which the models differ beyond the threshold."""
        return self.differing_points / self.in_domain["both"] if self.in_domain["both"] else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return everything but the arrays as plain values."""
        left = {"seq_nums", "z", "values"}
        names = [name for name in self.__slots__ if name not in left]
        plain = {name: getattr(self, name) for name in names}
        for name in ("quantities", "differing", "timings"):
            plain[name] = [asdict(item) for item in plain[name]]
        return {**plain, "share": self.share}


def compare_tables(
    first: ResultTable,
    second: ResultTable,
    *,
    models: tuple[str, str],
    threshold: float = 3.0,
    timings: Sequence[Timing] = (),
) -> Comparison:
    """Compare two result runs of one raw run.

    Only points count for which both models say that they may be believed. The difference is divided by the
    root of the sum of the squared uncertainties. Errors that both models share (the frame's noise, the same
    training data) make the true scatter of the difference smaller, so this is a careful measure of agreement
    and no test of significance.

    Parameters
    ----------
    first, second : ResultTable
        Answers to the same run; quantities are compared that are estimates in both.
    models : (str, str)
        What they are called.
    threshold : float
        Differences beyond this many combined uncertainties are counted and listed.
    timings : sequence of Timing
        What each costs, where that was measured.

    Raises
    ------
    ConfigurationError
        They are of different raw runs, or have no quantity in common.
    """
    raw = [str(t.starts[0].get("original_run_uid", "")) for t in (first, second)]
    if raw[0] != raw[1]:
        raise ConfigurationError(f"results of two runs, {raw[0]} and {raw[1]}, cannot be compared")
    names = [c.of for c in first.columns if c.kind == "sigma" and f"{c.of}_sigma" in second.names]
    if not names:
        raise ConfigurationError(
            f"{models[0]} and {models[1]} have no quantity in common: "
            f"{', '.join(_estimates(first)) or 'none'} against {', '.join(_estimates(second)) or 'none'}"
        )
    numbers, at_first, at_second = np.intersect1d(
        first["seq_num"].values, second["seq_num"].values, return_indices=True
    )
    domains = (first["in_domain"].values[at_first], second["in_domain"].values[at_second])
    both = domains[0] & domains[1]
    z: dict[str, npt.NDArray[np.float64]] = {}
    values: dict[str, tuple[npt.NDArray[np.float64], ...]] = {}
    quantities = []
    for name in names:
        four = (
            first[name].values[at_first], second[name].values[at_second],
            first[f"{name}_sigma"].values[at_first], second[f"{name}_sigma"].values[at_second],
        )  # fmt: skip
        values[name], z[name] = four, _z(four, both)
        quantities.append(_quantity(name, first[name].units, numbers, four, z[name], threshold))
    differing = _differing(first, at_first, numbers, z, values, threshold)
    beyond = np.zeros(len(numbers), bool)
    for each in z.values():
        beyond |= np.abs(np.nan_to_num(each)) > threshold
    return Comparison(
        run_uid=raw[0],
        models=models,
        common=len(numbers),
        only_first=len(first) - len(numbers),
        only_second=len(second) - len(numbers),
        in_domain=_domains(*domains),
        quantities=tuple(quantities),
        differing=tuple(differing[:_MOST_LISTED]),
        differing_points=int(np.count_nonzero(beyond)),
        threshold=threshold,
        timings=tuple(timings),
        notes=tuple(dict.fromkeys((*first.notes, *second.notes))),
        seq_nums=numbers,
        z=z,
        values=values,
    )


def _estimates(table: ResultTable) -> list[str]:
    return [c.of for c in table.columns if c.kind == "sigma"]


def _domains(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> dict[str, int]:
    pairs = {
        "both": first & second, "only_first": first & ~second, "only_second": second & ~first,
        "neither": ~first & ~second,
    }  # fmt: skip
    return {name: int(np.count_nonzero(mask)) for name, mask in pairs.items()}


def _z(four: tuple[npt.NDArray[np.float64], ...], both: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return differences in combined uncertainties; where neither has an uncertainty, equal is 0."""
    difference, sigma = four[1] - four[0], np.hypot(four[2], four[3])
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(difference == 0, 0.0, difference / sigma)
    return np.where(both & np.isfinite(difference) & np.isfinite(sigma), z, np.nan)


def _quantity(
    name: str, units: str, numbers: npt.NDArray[np.int64], four: tuple[npt.NDArray[np.float64], ...],
    z: npt.NDArray[np.float64], threshold: float,
) -> QuantityComparison:  # fmt: skip
    counts = ~np.isnan(z)
    if not counts.any():
        nan = float("nan")
        return QuantityComparison(name, units, 0, nan, nan, nan, nan, 0, nan, None)
    difference = (four[1] - four[0])[counts]
    worst = int(np.nanargmax(np.abs(z)))
    return QuantityComparison(
        name=name,
        units=units,
        points=int(np.count_nonzero(counts)),
        mean_difference=float(difference.mean()),
        rms_difference=float(np.sqrt(np.mean(difference**2))),
        largest_difference=float(difference[np.argmax(np.abs(difference))]),
        median_sigma=float(np.median(np.hypot(four[2], four[3])[counts])),
        beyond=int(np.count_nonzero(np.abs(z[counts]) > threshold)),
        largest_z=float(z[worst]),
        at_seq_num=int(numbers[worst]),
    )


def _differing(
    first: ResultTable, at_first: npt.NDArray[Any], numbers: npt.NDArray[np.int64],
    z: Mapping[str, npt.NDArray[np.float64]], values: Mapping[str, tuple[npt.NDArray[np.float64], ...]],
    threshold: float,
) -> list[Differing]:  # fmt: skip
    motors = [c for c in first.columns if c.kind == "motor"]
    found = []
    for name, each in z.items():
        for row in np.flatnonzero(np.abs(np.nan_to_num(each)) > threshold):
            a, b, sigma_a, sigma_b = (float(v[row]) for v in values[name])
            place = {m.name: _plain(m.values[at_first[row]]) for m in motors}
            sigma = float(np.hypot(sigma_a, sigma_b))
            found.append(Differing(int(numbers[row]), name, a, b, sigma, float(each[row]), place))
    return sorted(found, key=lambda d: -abs(d.z))


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value

"""compare_tables: two answers to the same frames, point by point, in units of their uncertainty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from streamproc.comparison.comparison import Comparison, Differing, QuantityComparison, Timing
from streamproc.errors import ConfigurationError
from streamproc.export.table import ResultTable

__all__ = ["compare_tables"]

_MOST_LISTED = 1000


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

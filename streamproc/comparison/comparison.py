"""Comparison: what two models said of the same frames, and how it differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Comparison", "Differing", "QuantityComparison", "Timing"]


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

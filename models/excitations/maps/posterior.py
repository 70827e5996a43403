"""From the network's Gaussian to couplings in meV with calibrated errors, covariance and derived energies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.mapmodel.case import MapCase
from streamproc.models.excitations.mapmodel.errors import NotStable
from streamproc.models.excitations.maps.calibration import PlaceCalibration, places_of, widths_of, within
from streamproc.models.excitations.maps.kinds import physics_of

__all__ = ["Derived", "MapAnswer", "Number", "answer_of", "derived_of"]

Array = npt.NDArray[np.float64]

_STEP = 1e-4
_NORMAL_90 = 1.6449


@dataclass(frozen=True, slots=True)
class Number:
    """A value with its standard uncertainty and 90 % interval."""

    value: float
    sigma: float
    interval90: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class MapAnswer:
    """What the network says of a map.

    Attributes
    ----------
    numbers : dict of str to Number
        Free couplings (meV).
    derived : dict of str to Number
        Derived energies (meV).
    covariance : ndarray, shape (p, p)
        Of the free couplings (meV^2).
    free : ndarray, shape (p,)
        Their values in the model's own unit of energy.
    unit : ndarray, shape (p,)
        Their places in the prior.
    unit_covariance : ndarray, shape (p, p)
        Calibrated covariance of the places.
    distance : float
        How unusual the map looks to the network.
    unit_meV : float
        One unit of the model's energy.
    """

    numbers: dict[str, Number]
    derived: dict[str, Number]
    covariance: Array = field(repr=False)
    free: Array = field(repr=False)
    unit: Array = field(repr=False)
    unit_covariance: Array = field(repr=False)
    distance: float
    unit_meV: float


class Derived:
    """Derived energies of a model.

    Parameters
    ----------
    case : MapCase
        Model.
    """

    def __init__(self, case: MapCase) -> None:
        self.names = tuple(d.name for d in case.derived)
        self._case = case
        self._energies = physics_of(case).derived()

    def __call__(self, free: Array) -> Array:
        """Return the energies for values of the free parameters, in the model's unit; NaN without order."""
        try:
            return np.asarray(self._energies(self._case.parameters.values(free)))
        except NotStable:
            return np.full(len(self.names), np.nan)


def answer_of(
    case: MapCase, derived: Derived, outputs: Mapping[str, npt.NDArray[Any]], row: int,
    calibration: PlaceCalibration, unit_meV: float,
) -> MapAnswer:  # fmt: skip
    """Interpret one row of the network's outputs.

    Parameters
    ----------
    case : MapCase
        Model.
    derived : Derived
        Its derived energies.
    outputs : mapping
        ``mean`` (n, p), ``covariance`` and ``spread`` (n, p, p), ``distance`` (n,).
    row : int
        Which.
    calibration : PlaceCalibration
        Of the card.
    unit_meV : float
        One unit of the model's energy.
    """
    names = case.parameters.free
    own = {k: v[row : row + 1] for k, v in outputs.items()}
    width, (low, high) = widths_of(own, calibration.floor)[0], calibration.ends(own)
    raw = own["covariance"][0].astype(float) + own["spread"][0]
    correlation = raw / np.sqrt(np.outer(np.diag(raw), np.diag(raw)))
    scale = width * calibration.factor
    covariance = correlation * np.outer(scale, scale)
    at = places_of(own)[0]
    free = _values(case, at)
    slope = np.stack([_slope(lambda u: _values(case, u), at, k) for k in range(len(at))], 1)
    numbers = {
        n: _number(case, at, k, (low[0, k], high[0, k]), slope[k], covariance, unit_meV)
        for k, n in enumerate(names)
    }
    said = _derived_numbers(derived, case, at, covariance, calibration.wider, unit_meV)
    full = slope @ covariance @ slope.T * unit_meV**2
    spread = np.array([numbers[n].sigma for n in names]) / np.sqrt(np.maximum(np.diag(full), 1e-300))
    full = full * np.outer(spread, spread)
    return MapAnswer(numbers, said, full, free, at, covariance, float(outputs["distance"][row]), unit_meV)


def derived_of(derived: Derived, free: Array, covariance: Array, unit_meV: float) -> dict[str, Number]:
    """Return derived energies of a least-squares fit: free couplings and covariance in the model's unit."""
    value = derived(free)
    size = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    slope = np.zeros((len(value), len(free)))
    for k, s in enumerate(size):
        step = max(0.3 * float(s), 1e-7)
        for way in (step, -step):
            moved = np.array(free, dtype=float)
            moved[k] += way
            change = (derived(moved) - value) / way
            if np.isfinite(change).all():
                slope[:, k] = change
                break
    sigma = np.sqrt(np.einsum("ak,kl,al->a", slope, covariance, slope))
    return {
        n: _symmetric(float(v) * unit_meV, float(s) * unit_meV)
        for n, v, s in zip(derived.names, value, sigma, strict=True)
    }


def _symmetric(value: float, sigma: float) -> Number:
    return Number(value, sigma, (value - _NORMAL_90 * sigma, value + _NORMAL_90 * sigma))


def _values(case: MapCase, unit: Array) -> Array:
    return np.asarray(case.parameters.values_at(unit[None])[0])


def _slope(function: Any, at: Array, k: int) -> Array:
    step = np.zeros(len(at))
    step[k] = _STEP
    return np.asarray((function(at + step) - function(at - step)) / (2 * _STEP))


def _number(
    case: MapCase, at: Array, k: int, ways: tuple[float, float], slope: Array, covariance: Array,
    unit_meV: float,
) -> Number:  # fmt: skip
    """Own axis by its ends (a prior may be crooked, as that of D near zero), others by their slopes."""
    value = _values(case, at)[k]
    ends = []
    for way in ways:
        moved = at.copy()
        moved[k] = within(moved[k] + way)
        ends.append(float(_values(case, moved)[k]))
    others = slope.copy()
    others[k] = 0.0
    rest = _NORMAL_90 * np.sqrt(max(float(others @ covariance @ others), 0.0))
    low = value - np.hypot(value - min(ends), rest)
    high = value + np.hypot(max(ends) - value, rest)
    sigma = max(float(np.sqrt(slope @ covariance @ slope)), (high - low) / (2 * _NORMAL_90))
    return Number(float(value) * unit_meV, sigma * unit_meV, (float(low) * unit_meV, float(high) * unit_meV))


def _derived_numbers(
    derived: Derived, case: MapCase, at: Array, covariance: Array, wider: Array, unit_meV: float
) -> dict[str, Number]:
    """Derived energies by moving one standard deviation along each principal axis of the covariance."""
    inside = np.clip(at, 0.0, 1.0)
    value = derived(_values(case, inside))
    variance, axes = np.linalg.eigh(covariance)
    total = np.zeros(len(value))
    for v, axis in zip(variance, axes.T, strict=True):
        moves = [
            derived(_values(case, np.clip(inside + way * np.sqrt(max(v, 0.0)) * axis, 0.0, 1.0)))
            for way in (-1, 1)
        ]
        total += np.nanmax([np.zeros(len(value)), *((m - value) ** 2 for m in moves)], 0)
    stretch = float(np.max(wider))
    found = {}
    for name, v, s in zip(derived.names, value * unit_meV, np.sqrt(total) * unit_meV, strict=True):
        found[name] = Number(float(v), float(s), (float(v - stretch * s), float(v + stretch * s)))
    return found

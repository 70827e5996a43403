"""Where a fraction leaves zero: solubility limit, onset of a reaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from streamproc.models.series.curves import prepare_curves
from streamproc.models.series.evidence import log_evidence, log_evidence_smooth

__all__ = ["Onset", "find_onset"]

Array = npt.NDArray[np.float64]

_NU = 12.0
_PLACES = 240
_LEAST_SIDE = 3


@dataclass(frozen=True, slots=True)
class Onset:
    """Where a fraction leaves zero.

    Attributes
    ----------
    value, sigma : float
        Place and standard uncertainty, in the unit of x.
    interval90 : (float, float)
        Central 90 % of the posterior.
    log10_bayes_factor : float
        For an onset against a fraction that is zero, or smooth, throughout.
    present : {'above', 'below'}
        On which side of it the phase is there.
    """

    value: float
    sigma: float
    interval90: tuple[float, float]
    log10_bayes_factor: float
    present: Literal["above", "below"]


def find_onset(
    x: npt.ArrayLike, fraction: npt.ArrayLike, sigma: npt.ArrayLike | None = None, *, least_log10: float = 1.5
) -> Onset | None:
    """Find where a fraction leaves zero.

    A fraction that is zero up to a place and a line, or a parabola, through zero from there on is compared
    with one that is zero everywhere, and with one that is smooth and nowhere zero for long.

    Parameters
    ----------
    x : array_like, shape (n,)
        Composition, temperature, time; any order, repeated values allowed.
    fraction : array_like, shape (n,)
        Fraction of the phase.
    sigma : array_like, shape (n,), optional
        Standard uncertainties; a scatter beyond them enlarges them.
    least_log10 : float
        Least log10 of the Bayes factor.

    Returns
    -------
    Onset or None
        None where there is no significant onset.
    """
    column = None if sigma is None else np.asarray(sigma, float)[:, None]
    curves = prepare_curves(np.asarray(x, float), np.asarray(fraction, float)[:, None], column)
    if curves is None or curves.x.size < 2 * _LEAST_SIDE:
        return None
    unit = float(np.median(curves.sigma))
    y, weight = curves.y[:, 0] / unit, (unit / curves.sigma[:, 0]) ** 2
    wide = max(float(np.average(y**2, weights=weight)), 1.0)
    places = np.linspace(curves.x[_LEAST_SIDE - 1], curves.x[-_LEAST_SIDE], _PLACES)
    span = float(np.ptp(curves.x))
    smooth = log_evidence_smooth(2 * (curves.x - curves.x[0]) / span - 1, y, weight, wide, _NU)[0]
    zero = log_evidence(np.zeros((y.size, 1)), y, weight, wide, _NU)[0]
    logs = np.array([
        [_at((curves.x - at) / span * direction, y, weight, wide) for at in places]
        for direction in (1.0, -1.0)
    ])  # fmt: skip
    top = float(logs.max())
    if not np.isfinite(top):
        return None
    mean = top + np.log(np.exp(logs - top).mean())
    log10 = float((mean - np.logaddexp(smooth, zero)) / np.log(10))
    if log10 < least_log10:
        return None
    side = int(np.exp(logs - top).sum(axis=1).argmax())
    density = np.exp(logs[side] - logs[side].max())
    density /= density.sum()
    value = float(density @ places)
    deviation = float(np.sqrt(density @ (places - value) ** 2 + (places[1] - places[0]) ** 2 / 12))
    cumulated = np.cumsum(density)
    interval = (float(np.interp(0.05, cumulated, places)), float(np.interp(0.95, cumulated, places)))
    return Onset(value, deviation, interval, log10, "above" if side == 0 else "below")


def _at(u: Array, y: Array, weight: Array, wide: float) -> float:
    """Evidence of zero below u = 0 and a line or a parabola, rising at first, above."""
    risen = np.maximum(u, 0.0)
    there = risen > 0
    if there.sum() < _LEAST_SIDE or np.average(y[there], weights=weight[there]) <= 0:
        return -np.inf
    line = log_evidence(risen[:, None].copy(), y, weight, wide, _NU)[0]
    if there.sum() < 5:
        return float(line)
    bent = log_evidence(np.column_stack([risen, risen**2]), y, weight, wide, _NU)[0]
    return float(np.logaddexp(line, bent) - np.log(2))

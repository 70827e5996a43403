"""From a measured pattern to a model's input: checked, on the model's axis, normalised."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from streamproc.errors import FrameFailed
from streamproc.inference.card import Axis

__all__ = ["prepare", "to_model_axis"]

Array = npt.NDArray[np.float64]

_MAX_NEGATIVE = 0.2
"""Patterns whose negative part exceeds this share of the positive part are refused."""


def prepare(
    axis: npt.ArrayLike,
    intensity: npt.ArrayLike,
    model_axis: Axis,
    kind: Literal["two_theta_deg", "q_invA"] = "two_theta_deg",
    wavelength_A: float | None = None,
) -> tuple[npt.NDArray[np.float32], float]:
    """Bring a pattern onto the model's axis.

    A source finer than the model's grid is averaged over the grid's bins (area is kept), a coarser one is
    interpolated linearly; what was not measured stays zero.

    Parameters
    ----------
    axis : array_like, shape (m,)
        Strictly rising or falling 2theta (degrees) or Q (1/angstrom).
    intensity : array_like, shape (m,)
        Intensity per bin of equal exposure (counts, or the mean of an azimuthal average).
    model_axis : Axis
        The model's axis, from its card.
    kind : {'two_theta_deg', 'q_invA'}
        What ``axis`` is.
    wavelength_A : float, optional
        Wavelength of a 2theta axis where it is not the model's; the axis is converted through Q.

    Returns
    -------
    x : ndarray of float32, shape (n,)
        ``sqrt_max``: square roots over their maximum.
    coverage : float
        Share of the model's axis that was measured.

    Raises
    ------
    FrameFailed
        When the pattern is empty, not finite, mostly negative, or does not meet the axis.
    """
    source, y = _checked(axis, intensity)
    source = to_model_axis(source, model_axis, kind, wavelength_A)
    grid = np.linspace(model_axis.start, model_axis.stop, model_axis.n)
    values, measured = _rebin(source, np.maximum(y, 0.0), grid)
    root = np.sqrt(np.where(measured, values, 0.0))
    highest = float(root.max(initial=0.0))
    if not measured.any():
        raise FrameFailed(
            f"the pattern (2theta {source[0]:.2f} to {source[-1]:.2f} deg) does not meet the model's axis "
            f"({model_axis.start:g} to {model_axis.stop:g}); check the geometry and the wavelength"
        )
    if highest <= 0:
        raise FrameFailed("the pattern is empty on the model's axis: no intensity above zero")
    return np.asarray(root / highest, np.float32), float(measured.mean())


def _checked(axis: npt.ArrayLike, intensity: npt.ArrayLike) -> tuple[Array, Array]:
    """Refuse what is not a pattern; turn a falling axis round."""
    x, y = np.asarray(axis, float), np.asarray(intensity, float)
    if x.ndim != 1 or x.shape != y.shape or x.size < 16:
        raise FrameFailed(
            f"a pattern needs axis and intensity of one length >= 16, got {x.shape} and {y.shape}"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        bad = int((~np.isfinite(x) | ~np.isfinite(y)).sum())
        raise FrameFailed(f"{bad} of {x.size} points of the pattern are not finite; mask or drop them first")
    if x[0] > x[-1]:
        x, y = x[::-1], y[::-1]
    if not (np.diff(x) > 0).all():
        raise FrameFailed("the pattern's axis is not strictly rising or falling")
    peak = float(np.abs(y).max())
    y = y / peak if peak > 0 else y  # sums of saturated counters stay finite
    positive, negative = float(y[y > 0].sum()), float(-y[y < 0].sum())
    if negative > _MAX_NEGATIVE * positive or positive == 0:
        raise FrameFailed(
            f"the pattern is empty or mostly negative (negative points sum to "
            f"{negative / max(positive, 1e-300):.3g} of the positive ones, at most {_MAX_NEGATIVE:g}); "
            "check the dark and background subtraction"
        )
    return x, y


def to_model_axis(source: Array, model_axis: Axis, kind: str, wavelength_A: float | None) -> Array:
    """Return 2theta (degrees) at the model's wavelength; points beyond 180 degrees are left outside the axis.

    Parameters
    ----------
    source : ndarray, shape (m,)
        2theta (degrees) or Q (1/angstrom), as ``kind`` says.
    model_axis : Axis
        From the model's card.
    kind : {'two_theta_deg', 'q_invA'}
        What ``source`` is.
    wavelength_A : float or None
        Wavelength of a 2theta axis, where it is not the model's.
    """
    own = model_axis.wavelength_A
    if kind == "q_invA":
        sine = source * (own or 0.0) / (4 * np.pi)
    elif wavelength_A is None or own is None or abs(wavelength_A / own - 1) < 1e-6:
        return source
    else:
        sine = np.sin(np.deg2rad(source) / 2) * own / wavelength_A
    beyond = np.abs(sine) >= 1
    angle = np.rad2deg(2 * np.arcsin(np.clip(sine, -1, 1)))
    return np.where(beyond, 180 + np.abs(sine), angle)


def _rebin(source: Array, y: Array, grid: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Mean intensity in each grid bin, and whether the bin was measured."""
    step = float(grid[1] - grid[0])
    spacing = np.diff(source)
    typical = float(np.median(spacing))
    middle = (source[1:] + source[:-1]) / 2
    edges = np.concatenate([[source[0] - spacing[0] / 2], middle, [source[-1] + spacing[-1] / 2]])
    measured = (grid >= edges[0]) & (grid <= edges[-1])
    after = np.clip(np.searchsorted(source, grid), 1, source.size - 1)
    # a hole in the source (masked bins that were dropped) is not bridged
    measured &= spacing[after - 1] <= 2.5 * max(typical, step)
    if typical >= step:
        return np.interp(grid, source, y), measured
    total = np.concatenate([[0.0], np.cumsum(y * np.diff(edges))])
    low = np.clip(grid - step / 2, edges[0], edges[-1])
    high = np.clip(grid + step / 2, edges[0], edges[-1])
    width = np.maximum(high - low, 1e-12)
    return (np.interp(high, edges, total) - np.interp(low, edges, total)) / width, measured

"""Lines that no known phase explains: what the residual of the fit says about foreign material."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from streamproc.models.powder.fit.data import noise_of_root, smooth3
from streamproc.models.powder.fit.results import Refined

__all__ = ["Excess", "counting_variance", "excess_of"]

Array = npt.NDArray[np.float64]

_MODEL_ERROR = 0.08
"""Relative error of calculated lines (texture, grains, profile): what is on a known line proves little."""

_FAR_ERROR, _FAR_WIDTHS = 0.2, 4.0
"""What lies within four widths of a known line, or below a fifth of it, is not called clear."""

_NEAR_WIDTHS = 4.0
"""With the usual error, but carried four widths away: sees weak lines between known ones."""

_STANDS_OUT = 4.5
_LINES = 6
_CLEAR = 4.0
_LEAST_POINTS = 64
_LEAST_NOISE = 1e-5


@dataclass(frozen=True, slots=True)
class Excess:
    """Evidence for lines beside those of the known phases.

    Attributes
    ----------
    highest : float
        Significance (standard deviations) of the strongest unexplained line.
    lines : float
        Mean significance of the six strongest ones, at least five widths apart.
    share : float
        Intensity of unexplained lines over all intensity above the background.
    clear : tuple of float
        Significances of the four strongest lines that lie well apart from every known line.
    clear_count : int
        How many of the six strongest of those stand 4.5 standard deviations out.
    near : tuple of float
        Significances of the four strongest lines with the usual error of known lines, carried four widths to
        both sides.
    near_count : int
        How many of the six strongest of those stand 4.5 standard deviations out.
    deficit : float
        The same as the first of ``clear`` for lines that are missing: how badly the fit itself went.
    noise : float
        Standard deviation of a typical point over the highest one: how little the pattern can show.
    """

    highest: float
    lines: float
    share: float
    clear: tuple[float, float, float, float]
    clear_count: int
    near: tuple[float, float, float, float]
    near_count: int
    deficit: float
    noise: float

    def signals(self) -> dict[str, float]:
        """Return the figures on scales that suit a linear rule."""
        clear = {f"clear_{k}": float(np.log1p(v)) for k, v in enumerate(self.clear, start=1)}
        near = {f"near_{k}": float(np.log1p(v)) for k, v in enumerate(self.near, start=1)}
        return {
            "highest": float(np.log1p(self.highest)),
            "lines": float(np.log1p(self.lines)),
            "share": self.share,
            **clear,
            "clear_count": float(np.log1p(self.clear_count)),
            **near,
            "near_count": float(np.log1p(self.near_count)),
            "deficit": float(np.log1p(self.deficit)),
            "noise": float(np.log(max(self.noise, _LEAST_NOISE))),
        }


def excess_of(fit: Refined) -> Excess:
    """Look for lines in what a fit leaves over.

    Parameters
    ----------
    fit : Refined
        A fit of the known phases.

    Returns
    -------
    Excess
        A matched filter (Gaussian as wide as the instrument's lines) over the residual; slow errors of the
        background are taken off with a running median. All zero where hardly anything was measured.
    """
    y, calculated, background = fit.observed, fit.calculated, fit.background
    if y.size < _LEAST_POINTS:
        none = (0.0, 0.0, 0.0, 0.0)
        return Excess(0.0, 0.0, 0.0, none, 0, none, 0, 0.0, 1.0)
    width = _width_points(fit)
    residual = y - calculated
    residual = residual - _slow(residual, width)
    lines, variance = np.maximum(calculated - background, 0.0), counting_variance(fit)
    apart = max(3, round(5 * width))

    def filtered(error: float, widths: float) -> Array:
        return _filtered(residual, variance + (error * _smeared(lines, widths * width)) ** 2, width)

    z, far, near = (
        filtered(_MODEL_ERROR, 1.0),
        filtered(_FAR_ERROR, _FAR_WIDTHS),
        filtered(_MODEL_ERROR, _NEAR_WIDTHS),
    )
    found, beside, between = _peaks(z, apart), _positive(far, apart), _positive(near, apart)
    net = float(np.maximum(y - background, 0).sum())
    clear = np.where(z > _CLEAR, np.maximum(residual, 0.0), 0.0)
    share = float(clear.sum() / net) if net > 0 else 0.0
    return Excess(
        highest=max(0.0, found[0]),
        lines=float(np.mean(np.maximum(found, 0.0))),
        share=min(1.0, share),
        clear=(beside[0], beside[1], beside[2], beside[3]),
        clear_count=sum(v > _STANDS_OUT for v in beside),
        near=(between[0], between[1], between[2], between[3]),
        near_count=sum(v > _STANDS_OUT for v in between),
        deficit=max(0.0, float((-far).max())),
        noise=float(np.sqrt(variance.mean()) / max(float(y.max()), 1e-300)),
    )


def _filtered(residual: Array, variance: Array, width: float) -> Array:
    """Significance of a line at each point: a matched filter that weighs points by what is known of them."""
    weight, kernel = 1 / variance, _kernel(width)
    signal = np.convolve(residual * weight, kernel, "same")
    return np.asarray(signal / np.sqrt(np.convolve(weight, kernel**2, "same")))


def counting_variance(fit: Refined) -> Array:
    """Return the variance of each point: the calculated intensity times a gain read from its noise."""
    noise = noise_of_root(np.sqrt(np.maximum(fit.observed, 0.0)))
    return np.asarray(np.maximum(4 * smooth3(np.maximum(fit.calculated, 0.0)) * noise**2, 1e-10))


def _width_points(fit: Refined) -> float:
    """FWHM of the instrument's lines in points of the axis, two at least."""
    step = float(np.median(np.diff(fit.two_theta_deg)))
    fwhm = fit.instrument["fwhm_deg"].value if "fwhm_deg" in fit.instrument else float("nan")
    return float(np.clip(fwhm / step, 2.0, 40.0)) if np.isfinite(fwhm) else 4.0


def _kernel(width: float) -> Array:
    reach = max(2, int(np.ceil(1.5 * width)))
    x = np.arange(-reach, reach + 1)
    return np.asarray(np.exp(-4 * np.log(2) * (x / max(width, 1.0)) ** 2))


def _smeared(lines: Array, width: float) -> Array:
    """Largest calculated line within a width: shifts leave a residual beside a line, not only on it."""
    from scipy.ndimage import maximum_filter1d

    return np.asarray(maximum_filter1d(lines, 2 * max(1, round(width)) + 1, mode="nearest"))


def _slow(residual: Array, width: float) -> Array:
    """Running median over many widths: what the background's polynomial did not follow."""
    from scipy.ndimage import median_filter

    size = 2 * max(20, round(12 * width)) + 1
    return np.asarray(median_filter(residual, size=size, mode="nearest"))


def _positive(z: Array, apart: int) -> list[float]:
    return [max(v, 0.0) for v in _peaks(z, apart)]


def _peaks(z: Array, apart: int) -> list[float]:
    """Return the highest values of z, each over ``apart`` points from the others, by falling height."""
    left = z.copy()
    found = []
    for _ in range(_LINES):
        top = int(np.argmax(left))
        found.append(float(left[top]))
        left[max(0, top - apart) : top + apart + 1] = -np.inf
    return [v if np.isfinite(v) else 0.0 for v in found]

"""The classical fit: no network, many starts, number of modes by the Bayesian information criterion."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from streamproc.models.excitations.oscillators.fit import Fitted, bounds_for, fit
from streamproc.models.excitations.oscillators.forward import Forward
from streamproc.models.excitations.oscillators.parameters import MOST_MODES, Composition, Mode
from streamproc.models.excitations.oscillators.residuals import smoothed, strongest
from streamproc.models.excitations.oscillators.spectrum import Spectrum

__all__ = ["add_mode", "composition_for", "elastic_start", "leftover", "search"]

Array = npt.NDArray[np.float64]

_CANDIDATES = 3
_WIDTHS = (0.5, 3.0)
"""Starting widths, in resolution widths."""

_SHORT = 8
"""Steps after which the best start is chosen."""


def elastic_start(forward: Forward, data: Spectrum) -> tuple[float, float]:
    """Return first guesses of the elastic line's area and of the background."""
    y, e, fwhm = data.counts, data.energy, forward.resolution.fwhm
    background = float(max(np.quantile(y, 0.2), 0.0))
    near = np.abs(e) < np.abs(e).min() + 1.5 * fwhm
    line = forward.resolution(e[near])
    excess = float(((y[near] - background) * line).sum() / max((line * line).sum(), 1e-300))
    return max(excess, 0.0), background


def composition_for(forward: Forward, modes: int, zero_sigma: float, slope: bool) -> Composition:
    """Return what to fit: an elastic line where the axis sees one, a zero unless the axis is trusted.

    Where no elastic line shows the zero, its prior stays and widens the sigmas of the energies.
    """
    return Composition(modes, forward.sees_elastic, zero_sigma > 0, slope)


def search(
    forward: Forward, data: Spectrum, zero_sigma: float, *, slope: bool = False, most: int = MOST_MODES
) -> list[Fitted]:
    """Fit 0, 1, ... modes, each from several starts; stop when one more does not pay.

    Parameters
    ----------
    forward : Forward
        Model on the axis of the data.
    data : Spectrum
        What was measured.
    zero_sigma : float
        Prior of the zero; 0: the axis is trusted.
    slope : bool
        Linear background.
    most : int
        Most modes.

    Returns
    -------
    list of Fitted
        The best fit of each number of modes that was tried, from 0; the least ``bic`` is the answer.
    """
    elastic, background = elastic_start(forward, data)
    top = float(np.abs(data.counts).max())
    found: list[Fitted] = []
    for modes in range(most + 1):
        c = composition_for(forward, modes, zero_sigma, slope)
        bounds = bounds_for(forward, c, zero_sigma, top)
        if not found:
            starts = [c.vector([], elastic, 0.0, background)]
        else:
            starts = list(_more(forward, data, found[-1]))
        tried = [fit(forward, data, c, s, bounds, _SHORT) for s in starts]
        best = min(tried, key=lambda f: f.deviance)
        found.append(fit(forward, data, c, best.vector, bounds))
        if modes >= 2 and found[-1].bic > found[-2].bic > found[-3].bic:
            break
    return found


def leftover(
    forward: Forward, data: Spectrum, fitted: Fitted, *, both: bool = False, widths: float = 1.0
) -> tuple[float, float]:
    """Return where a peak as wide as the resolution is left over, and its significance (sigmas).

    Parameters
    ----------
    forward : Forward
        Model on the axis of the data.
    data : Spectrum
        What was measured.
    fitted : Fitted
        What explains it so far.
    both : bool
        Count dips as well.
    widths : float
        Of the peak, in resolution widths.
    """
    place, height = strongest(
        forward.smoother(widths), data.counts, fitted.spectrum, _variance(data, fitted.spectrum), both
    )
    return abs(float(forward.energy[place])), height


def add_mode(
    forward: Forward, data: Spectrum, fitted: Fitted, centre: float, width: float | None = None
) -> tuple[Composition, Array]:
    """Return a start with one mode more at ``centre``; its strength is what is left over there."""
    old, fwhm = fitted.composition, forward.resolution.fwhm
    c = Composition(old.modes + 1, old.elastic, old.zero, old.slope)
    centre, width = max(centre, 0.3 * fwhm), 0.5 * fwhm if width is None else width
    unit, _ = forward(Composition(1, False, False), np.array([centre, width, 1.0, 0.0]))
    weight = unit / _variance(data, fitted.spectrum)
    excess = data.counts - fitted.spectrum
    area = float((weight * excess).sum() / max((weight * unit).sum(), 1e-300))
    new = Mode(centre, width, max(area, data.one_count * fwhm))
    return c, np.concatenate([c.vector([*fitted.modes, new])[: 3 * c.modes], fitted.vector[3 * old.modes :]])


def _more(forward: Forward, data: Spectrum, fitted: Fitted) -> Iterator[Array]:
    """Starts with one mode more, where the fit leaves most over."""
    fwhm = forward.resolution.fwhm
    for width in _WIDTHS:
        smooth = _smoothed(forward, data, fitted, width)
        for centre in _peaks(forward, smooth, np.hypot(width, 1) * fwhm):
            yield add_mode(forward, data, fitted, centre, width * fwhm)[1]
    if fitted.composition.modes:
        yield _split(fitted, fwhm)


def _split(fitted: Fitted, fwhm: float) -> Array:
    """The widest mode as two."""
    modes, old = list(fitted.modes), fitted.composition
    wide = max(modes, key=lambda m: m.width)
    modes.remove(wide)
    apart = max(wide.width, fwhm) / 3
    for side in (-1, 1):
        centre = max(wide.energy + side * apart, 0.2 * fwhm)
        modes.append(Mode(centre, max(wide.width / 2, 0.3 * fwhm), wide.amplitude / 2))
    rows = [v for m in modes for v in (m.energy, m.width, m.amplitude)]
    return np.concatenate([rows, fitted.vector[3 * old.modes :]])


def _smoothed(forward: Forward, data: Spectrum, fitted: Fitted, widths: float) -> Array:
    """Residuals under a Gaussian of so many resolution widths, in sigmas."""
    variance = _variance(data, fitted.spectrum)
    return np.asarray(smoothed(forward.smoother(widths), data.counts, fitted.spectrum, variance))


def _peaks(forward: Forward, smooth: Array, apart: float) -> list[float]:
    """Where smoothed residuals are largest, gain side folded onto the loss side, apart from each other."""
    chosen: list[float] = []
    for k in np.argsort(-smooth, kind="stable"):
        centre = abs(float(forward.energy[k]))
        if all(abs(centre - c) > apart for c in chosen):
            chosen.append(centre)
        if len(chosen) == _CANDIDATES:
            break
    return chosen


def _variance(data: Spectrum, spectrum: Array) -> Array:
    return spectrum if data.variance is None else data.variance
